"""A file on its way in: to its own name, or to a pipe; and again after whatever broke it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hushpost.client import journal
from hushpost.client.context import Context
from hushpost.client.store import Arrived, Offered, Stamp, Tables
from hushpost.client.threads import stoppable
from hushpost.client.transfers.dialing import crew
from hushpost.client.transfers.downloading import Downloader, Streamer
from hushpost.client.transfers.finishing import discard, finish_file, finish_folder, was_finished
from hushpost.client.transfers.naming import Place, chosen_place, partial_in
from hushpost.client.transfers.offers import end
from hushpost.client.transfers.partial import PartialFile, check_room
from hushpost.client.transfers.progress import Meter
from hushpost.client.values import Direction, TransferEnded, TransferState
from hushpost.crypto.offer import FileOffer
from hushpost.errors import UnknownBlob, UsageError
from hushpost.wire.messages import BlobReleased, ReleaseBlob


@dataclass(frozen=True, slots=True)
class Opened:
    """A partial file, and which parts are in it."""

    file: PartialFile
    arrived: Arrived


class Fetcher:
    """Downloads of one profile."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    async def carry(self, download: Offered, target: str, meter: Meter) -> None:
        """Fetch it, put it under its name, and tell the server that it is needed no more.

        Args:
            target: a folder, or a name that is not taken.

        Raises:
            UsageError: nothing was changed. NoRoom: nothing was written; when resumed, it goes there.
            FileError, UnsafeFolder: it is not what was offered, or nothing that one should keep.
            Unreachable, RetryLater: later, perhaps.
            OSError: the disk failed.
        """
        offer = await self._offer(download)
        if not await self._was_finished(download):
            place = await asyncio.to_thread(chosen_place, target)
            await self._ctx.change(lambda t: t.downloads.aimed(download, place.target))
            opened = await self._opened(download, place, offer)
            try:
                await Downloader(self._ctx, download, offer, opened.file, opened.arrived).run(meter)
            finally:
                await asyncio.to_thread(opened.file.close)
            finish = finish_folder if download.is_folder else finish_file

            def note(final: str, stamp: Stamp) -> None:
                self._ctx.db.change_soon(lambda t: t.downloads.finishing(download, final, stamp)).result()

            await stoppable(partial(finish, opened.file.path, place, offer.name, note))
        await self._ended(download, TransferState.DONE)
        await self.release(download)

    async def streamer(self, download: Offered, handle: int) -> Streamer:
        """Writes it to a pipe. Nothing is noted and nothing released: nobody knows what becomes of it there.

        Raises:
            UsageError: the server does not have it any more.
        """
        return Streamer(self._ctx, await self._offer(download), handle)

    async def give_up(self, download: Offered) -> None:
        """The user does not want it: what is here of it goes, and the server may delete it.

        What has its name already is the user's: then it was fetched.

        Raises:
            HushpostError: the server was not told.
        """
        is_here = await self._was_finished(download)
        if download.partial:
            await asyncio.to_thread(discard, Path(download.partial))
        await self._ended(download, TransferState.DONE if is_here else TransferState.CANCELLED)
        await self.release(download)

    async def release(self, download: Offered) -> None:
        """Tell the server that we need it no more. It is asked again until it was told.

        Raises:
            HushpostError: it was not.
        """
        offer = await self._ctx.db.reading(lambda t: t.downloads.offer(download.contact, download.message))
        if offer is None:
            return
        request = ReleaseBlob(0, bytes(offer.blob), [bytes(offer.release)])
        try:
            async with crew(self._ctx, 1) as hands:
                await hands.one(lambda carrier: carrier.ask(request, BlobReleased))
        except UnknownBlob:
            pass  # it is gone: so it should be
        await self._ctx.change(lambda t: t.downloads.released(download))

    async def failed(self, download: Offered, error: Exception) -> None:
        """Note why it does not go on; resuming it is possible all the same."""
        await self._ended(download, TransferState.FAILED, str(error))

    # --- inside

    async def _offer(self, download: Offered) -> FileOffer:
        offer = await self._ctx.db.reading(lambda t: t.downloads.offer(download.contact, download.message))
        if offer is None:
            raise UsageError("this file was fetched or refused: the server does not have it any more")
        return offer

    async def _was_finished(self, download: Offered) -> bool:
        if not download.final:
            return False
        places = Path(download.partial), Path(download.final)
        return await asyncio.to_thread(was_finished, *places, download.stamp)

    async def _opened(self, download: Offered, place: Place, offer: FileOffer) -> Opened:
        """The partial file of before, if it is in this folder; or a new one, and that of before is gone."""
        folder = place.folder
        known = Path(download.partial) if download.partial else None
        packed = offer.size if download.is_folder else 0
        if known is not None and known.parent == folder:
            file = await asyncio.to_thread(PartialFile.reopen, known, offer.size)
            if file is not None:
                arrived = await self._ctx.change(lambda t: t.downloads.continued(download))
                have = arrived.synced | arrived.written.keys()
                left = sum(part.true for part in offer.layout.parts() if part.index not in have)
                await asyncio.to_thread(check_room, folder, left + packed)
                return Opened(file, arrived)
        await asyncio.to_thread(check_room, folder, offer.size + packed)
        if known is not None:  # while it is still known where it is
            await asyncio.to_thread(discard, known)
        path = partial_in(folder)
        places = place.target, os.fspath(path)
        await self._ctx.change(lambda t: t.downloads.begun(download, *places))
        return Opened(await asyncio.to_thread(PartialFile.create, path, offer.size), Arrived())

    async def _ended(self, download: Offered, state: TransferState, why: str = "") -> None:
        about = download.message, download.contact, Direction.RECEIVED, state, why
        now = self._ctx.clock.now()

        def work(t: Tables) -> None:
            t.downloads.stands(download, state, why)
            end(t, TransferEnded(journal.UNNUMBERED, now, *about))

        await self._ctx.change(work)
