"""A file on its way out: noted, sealed, brought to the server, offered; and again after whatever broke it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

from hushpost.client import journal
from hushpost.client.context import Context
from hushpost.client.store import NO_STAMP, Attempt, SourceKind, Tables, Upload
from hushpost.client.transfers.dialing import crew
from hushpost.client.transfers.folders import FolderSource
from hushpost.client.transfers.naming import told_name
from hushpost.client.transfers.offers import check_words, end, post_offer
from hushpost.client.transfers.pipes import Pipe, Spooler, check_spool, drop_spool
from hushpost.client.transfers.progress import Meter
from hushpost.client.transfers.sealed import FreshParts, PartSource, Records, SpooledParts
from hushpost.client.transfers.sources import FileSource, Source, kind_of
from hushpost.client.transfers.uploading import ForeignPart, Uploader
from hushpost.client.values import Direction, TransferEnded, TransferState
from hushpost.client.writing import check_recipient
from hushpost.crypto.filelayout import FileLayout
from hushpost.errors import HushpostError, UnknownBlob, UsageError
from hushpost.ids import AccountId, MessageId
from hushpost.wire.messages import BlobReleased, ReleaseBlob


@dataclass(frozen=True, slots=True)
class Found:
    """Something that can be sent."""

    kind: SourceKind
    path: Path
    attempt: Attempt
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """What its message says of it."""

    name: str
    caption: str


class Sender:
    """Uploads of one profile.

    Args:
        spools: the folder in which what came from pipes is kept, sealed.
    """

    def __init__(self, ctx: Context, spools: Path) -> None:
        self._ctx = ctx
        self._spools = spools

    async def note_file(self, contact: AccountId, path: Path, name: str, caption: str) -> Upload:
        """Begin an upload; it is durable when this returns.

        Raises:
            UsageError, Blocked, OSError: nothing was begun.
        """
        found = await asyncio.to_thread(_looked_at, path)
        name = name or told_name(found.path)
        return await self._note(contact, found, Words(name, caption))

    async def note_pipe(self, contact: AccountId, name: str, caption: str) -> Upload:
        """The same for what will be piped in.

        Raises:
            UsageError, Blocked: nothing was begun.
        """
        pipe = Found(SourceKind.PIPE, Path(), Attempt.new(NO_STAMP, None))
        return await self._note(contact, pipe, Words(name, caption))

    async def _note(self, contact: AccountId, found: Found, words: Words) -> Upload:
        check_words(words.name, words.caption)
        now, message = self._ctx.clock.now(), MessageId.random()
        upload = Upload(
            message, contact, found.kind, found.path, words.name, words.caption, now, found.attempt
        )
        upload = replace(upload, why=found.remark)

        def work(t: Tables) -> None:
            check_recipient(t, contact)
            t.uploads.add(upload)

        await self._ctx.change(work)
        return upload

    async def spool(self, upload: Upload, file: IO[bytes], meter: Meter) -> Upload:
        """Read a pipe to its end. From then on the upload can be resumed.

        Raises:
            PipeLost, UsageError, OSError: it cannot be sent; nothing of it is left.
        """
        folder = self._spool_of(upload)
        meter.starts(0, None)
        records, pipe = Records(self._ctx.db, upload.attempt), Pipe(file)
        spooler = Spooler(folder, upload.attempt, records, meter.moved)
        reading = asyncio.get_running_loop().run_in_executor(None, spooler.spool, pipe)
        try:
            size = await asyncio.shield(reading)
        except BaseException:
            pipe.stop()
            await asyncio.wait([reading])
            reading.exception()
            await asyncio.to_thread(drop_spool, folder)
            raise
        await self._ctx.change(lambda t: t.uploads.ended_at(upload.message, size))
        return replace(upload, attempt=upload.attempt.ended(size))

    async def carry(self, upload: Upload, meter: Meter) -> None:
        """Bring it to the server, and offer it.

        Raises:
            SourceChanged, PipeLost: it was given up.
            Unreachable, RetryLater, StoreFull: later, perhaps.
            HushpostError, OSError: nothing but another decision helps.
        """
        if upload.kind is SourceKind.PIPE:
            folder = self._spool_of(upload)
            await asyncio.to_thread(check_spool, folder, upload.attempt.size)
            parts = SpooledParts(folder, Records(self._ctx.db, upload.attempt))
            await self._bring(upload, parts, meter)
            await asyncio.to_thread(drop_spool, folder)
            return
        source = await asyncio.to_thread(_opened, upload.kind, upload.source)
        try:
            if source.stamp != upload.attempt.stamp:
                upload = await self._again(upload, source, meter)
            try:
                await self._bring(upload, self._fresh(source, upload), meter)
            except ForeignPart:
                upload = await self._again(upload, source, meter)
                await self._bring(upload, self._fresh(source, upload), meter)
        finally:
            await asyncio.to_thread(source.close)

    async def give_up(self, upload: Upload) -> None:
        """Nobody wants it any more: what the server has of it may go. It would by itself, after a day.

        Raises:
            HushpostError: the server was not told.
        """
        about = upload.message, upload.contact, Direction.SENT, TransferState.CANCELLED
        now = self._ctx.clock.now()

        def work(t: Tables) -> None:
            t.uploads.stands(upload.message, TransferState.CANCELLED)
            end(t, TransferEnded(journal.UNNUMBERED, now, *about))

        await self._ctx.change(work)
        await asyncio.to_thread(drop_spool, self._spool_of(upload))
        await self._release(upload.attempt)

    async def failed(self, upload: Upload, error: Exception) -> None:
        """Note why it does not go on; resuming it is possible all the same."""
        why, now = str(error), self._ctx.clock.now()
        about = upload.message, upload.contact, Direction.SENT, TransferState.FAILED, why

        def work(t: Tables) -> None:
            t.uploads.stands(upload.message, TransferState.FAILED, why)
            end(t, TransferEnded(journal.UNNUMBERED, now, *about))

        await self._ctx.change(work)

    # --- inside

    async def _bring(self, upload: Upload, parts: PartSource, meter: Meter) -> None:
        size = upload.attempt.size or 0
        digest = await Uploader(self._ctx, upload, parts, meter).run(FileLayout(size))
        await self._ctx.change(partial(post_offer, ctx=self._ctx, upload=upload, size=size, digest=digest))
        self._ctx.outbox.ring(upload.contact)

    async def _again(self, upload: Upload, source: Source, meter: Meter) -> Upload:
        """From the start, under new keys: two states of a file never meet in one blob."""
        attempt = Attempt.new(source.stamp, source.size)
        await self._ctx.change(lambda t: t.uploads.again(upload.message, attempt))
        meter.starts(0, source.size, restarted=True)
        with contextlib.suppress(HushpostError):  # it costs room until it expires, and nothing else
            await self._release(upload.attempt)
        return replace(upload, attempt=attempt)

    async def _release(self, attempt: Attempt) -> None:
        """Nobody will be told of it: the server need not keep it, nor count it against us."""
        request = ReleaseBlob(0, bytes(attempt.blob), [bytes(attempt.release)])
        async with crew(self._ctx, 1) as hands:
            with contextlib.suppress(UnknownBlob):  # it has nothing of it
                await hands.one(lambda carrier: carrier.ask(request, BlobReleased))

    def _fresh(self, source: Source, upload: Upload) -> FreshParts:
        return FreshParts(source, upload.attempt, Records(self._ctx.db, upload.attempt))

    def _spool_of(self, upload: Upload) -> Path:
        return self._spools / str(upload.attempt.blob)


def _looked_at(path: Path) -> Found:
    """Raises UsageError: it cannot be sent."""
    path = path.resolve()
    kind = kind_of(path)
    source = _opened(kind, path)
    source.close()
    left_out = source.left_out if isinstance(source, FolderSource) else 0
    remark = f"left out, since nobody would unpack them: {left_out} links or devices" if left_out else ""
    return Found(kind, path, Attempt.new(source.stamp, source.size), remark)


def _opened(kind: SourceKind, path: Path) -> Source:
    """As it is now. Blocks.

    Raises:
        UsageError: it is not what it was, or cannot be read.
    """
    try:
        return FolderSource(path) if kind is SourceKind.FOLDER else FileSource(path)
    except OSError as error:
        what = error.filename or path
        raise UsageError(f"{what} cannot be read: {error.strerror}", hint="check its permissions") from None
