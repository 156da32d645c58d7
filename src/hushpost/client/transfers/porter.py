"""A profile's files: begun, carried by one process at a time, gone on with, cancelled, listed.

What breaks on the way and may be mended by time is tried again, with waits that grow, as long as something
moves; after `patience` without that it is left for later. What time does not mend is noted with its reason.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import msgspec

from hushpost.client.clock import Backoff
from hushpost.client.context import Context
from hushpost.client.profiles import ProfileFiles
from hushpost.client.refusals import RetryLater
from hushpost.client.store import Automatic, Offered, Tables, Upload
from hushpost.client.threads import stoppable
from hushpost.client.transfers.claims import Claim, is_claimed
from hushpost.client.transfers.listing import received, running, sent
from hushpost.client.transfers.progress import Meter, Report, silent
from hushpost.client.transfers.receiving import Fetcher
from hushpost.client.transfers.sending import Sender
from hushpost.client.values import Direction, Progress, Transfer, TransferState
from hushpost.errors import (
    Blocked,
    HushpostError,
    OldCopy,
    ProfileError,
    ServerUntrusted,
    StoreFull,
    Unreachable,
    UsageError,
)
from hushpost.ids import AccountId, MessageId

PATIENCE = 60.0
"""Seconds without a byte moving, after which a transfer is left for later: a server restarts in less."""

_LATER = (Unreachable, RetryLater, StoreFull)
"""What time mends."""

_NOBODYS_FAULT = (Blocked, OldCopy, ProfileError, ServerUntrusted, BrokenPipeError)
"""What the user has to put right first, or whoever was told of the progress has left; the transfer waits."""


@dataclass(frozen=True, slots=True)
class Job:
    """A transfer to be carried.

    Attributes:
        carry: goes on with it, from wherever it stands.
        failed: notes that time will not mend it; None: nothing is noted.
        patience: seconds without a byte moving after which it is left for later.
    """

    message: MessageId
    size: int | None
    carry: Callable[[Meter], Awaitable[None]]
    failed: Callable[[Exception], Awaitable[None]] | None
    patience: float


class Porter:
    """One process's part in the transfers of a profile."""

    def __init__(self, ctx: Context, files: ProfileFiles, patience: float = PATIENCE) -> None:
        self._ctx = ctx
        self._locks = files.transfers
        self._patience = patience
        self._sender = Sender(ctx, files.spools)
        self._fetcher = Fetcher(ctx)
        self._running: dict[MessageId, asyncio.Task[None]] = {}

    # --- beginning

    async def send(
        self, contact: AccountId, source: Path | IO[bytes], name: str, caption: str, report: Report = silent
    ) -> Transfer:
        """See `Client.send_file`."""
        if isinstance(source, Path):
            upload = await self._sender.note_file(contact, source, name, caption)
            return await self._send(upload, report)
        upload = await self._sender.note_pipe(contact, name, caption)

        async def spool() -> None:
            await self._sender.spool(upload, source, Meter(upload.message, None, report))

        await self._run(upload.message, spool, partial(self._sender.failed, upload))
        return await self._send(upload, report)

    async def receive(self, message: MessageId, target: str, report: Report = silent) -> Transfer:
        """See `Client.receive_file`."""
        download = await self._find_download(message)
        if download.state is TransferState.DONE and download.released:
            raise UsageError("this file was fetched before", hint=f"it was put to {download.final}")
        return await self._receive(download, target, report)

    async def stream(self, message: MessageId, handle: int, report: Report = silent) -> Transfer:
        """See `Client.stream_file`."""
        download = await self._find_download(message)
        streamer = await self._fetcher.streamer(download, handle)
        return await self._carry(Job(message, download.size, streamer.run, None, self._patience), report)

    # --- going on

    async def resume(self, report: Report = silent) -> list[Transfer]:
        """Everything that waits or has failed, one after the other; what another process carries is left.

        Raises:
            Unreachable: there is no connection.
        """
        again = {TransferState.WAITING, TransferState.FAILED}
        waiting = [each for each in await self.every() if each.state in again]
        done = [await self._resume_one(each, report) for each in waiting]
        for download in await self._ctx.db.reading(_unreleased):
            with contextlib.suppress(StoreFull, RetryLater):
                await self._fetcher.release(download)
        return done

    async def _resume_one(self, transfer: Transfer, report: Report) -> Transfer:
        try:
            if transfer.direction is Direction.SENT:
                return await self._send(await self._find_upload(transfer.id), report)
            download = await self._find_download(transfer.id)
            return await self._receive(download, download.target, report)
        except Unreachable:
            raise
        except (HushpostError, OSError) as error:
            found = await self.get(transfer.id)
            return found if found.why else msgspec.structs.replace(found, why=str(error))

    async def fetch_unasked(self, report: Report = silent) -> list[Transfer]:
        """What is to be fetched without being asked for, as far as it works at the moment."""
        done: list[Transfer] = []
        for download in await self._ctx.db.reading(_unasked):
            try:
                done.append(await self._receive(download, download.target, report, patience=0))
            except Unreachable:  # nobody asked for it: nobody is to wait for it
                break
            except (HushpostError, OSError):
                continue
        return done

    async def wish(self, wish: Automatic) -> None:
        """What is fetched unasked from now on."""
        await self._ctx.change(lambda t: t.downloads.fetch_unasked(wish))

    async def cancel(self, message: MessageId) -> Transfer:
        """See `Client.cancel`."""
        running = self._running.get(message)
        if running is not None:
            running.cancel()
            await asyncio.wait([running])
        _check_open((await self.get(message)).state)
        async with self._claimed(message):
            upload = await self._ctx.db.reading(lambda t: t.uploads.get(message))
            with contextlib.suppress(*_LATER):  # then the server keeps it until it expires
                if upload is not None:
                    await self._sender.give_up(upload)
                else:
                    await self._fetcher.give_up(await self._find_download(message))
        return await self.get(message)

    # --- looking

    async def every(self) -> list[Transfer]:
        """All of them, the oldest first."""

        def work(t: Tables) -> list[Transfer]:
            found = [sent(*each) for each in t.uploads.every()]
            found += (received(*each) for each in t.downloads.every())
            return sorted(found, key=lambda each: each.since)

        found = await self._ctx.db.reading(work)
        return await asyncio.to_thread(self._with_running, found)

    async def get(self, message: MessageId) -> Transfer:
        """One of them.

        Raises:
            UsageError: there is none of this id.
        """
        for each in await self.every():
            if each.id == message:
                return each
        raise UsageError("there is no file with this id", hint="see hush files list")

    def _with_running(self, found: list[Transfer]) -> list[Transfer]:
        return [running(each) if is_claimed(self._locks, each.id) else each for each in found]

    async def _find_upload(self, message: MessageId) -> Upload:
        upload = await self._ctx.db.reading(lambda t: t.uploads.get(message))
        if upload is None:
            raise UsageError("there is no file with this id")
        return upload

    async def _find_download(self, message: MessageId) -> Offered:
        found = await self._ctx.db.reading(lambda t: t.downloads.called(message))
        if len(found) != 1:
            raise UsageError(
                "several people offer a file under this id" if found else "nobody offers a file with this id",
                hint="see hush files list",
            )
        return found[0]

    # --- carrying

    async def _send(self, upload: Upload, report: Report) -> Transfer:
        async def carry(meter: Meter) -> None:
            await self._sender.carry(await self._find_upload(upload.message), meter)

        failed = partial(self._sender.failed, upload)
        job = Job(upload.message, upload.attempt.size, carry, failed, self._patience)
        return await self._carry(job, report)

    async def _receive(
        self, download: Offered, target: str, report: Report, *, patience: float | None = None
    ) -> Transfer:
        async def carry(meter: Meter) -> None:
            await self._fetcher.carry(await self._find_download(download.message), target, meter)

        async def failed(error: Exception) -> None:
            if not isinstance(error, UsageError):  # the place was wrong, and nothing was begun
                await self._fetcher.failed(download, error)

        job = Job(
            download.message, download.size, carry, failed, self._patience if patience is None else patience
        )
        return await self._carry(job, report)

    async def _carry(self, job: Job, report: Report) -> Transfer:
        await self._run(job.message, lambda: self._persist(job, report), job.failed)
        return await self.get(job.message)

    async def _persist(self, job: Job, report: Report) -> None:
        """Again and again, as long as something moves."""
        loop, backoff, most = asyncio.get_running_loop(), Backoff(), 0
        patient_until = loop.time() + job.patience
        last = Progress(job.message, 0, job.size)

        def watched(progress: Progress) -> None:
            nonlocal most, patient_until, last
            last = progress
            if progress.carried > most:
                most, patient_until = progress.carried, loop.time() + job.patience
                backoff.succeeded()
            report(progress)

        while True:
            try:
                return await job.carry(Meter(job.message, job.size, watched))
            except _LATER as error:
                wait = backoff.failed(0.0 if isinstance(error, Unreachable) else error.retry_after)
                if loop.time() + wait > patient_until:
                    raise
                report(Progress(last.id, last.carried, last.size, held_up=str(error)))
            await self._ctx.clock.sleep(wait)

    async def _run(
        self,
        message: MessageId,
        work: Callable[[], Awaitable[None]],
        failed: Callable[[Exception], Awaitable[None]] | None,
    ) -> None:
        """In a task that `cancel` can end; cancelled by that, it comes back as if nothing had been wrong."""

        async def guarded() -> None:
            async with self._claimed(message):
                try:
                    await work()
                except (HushpostError, OSError) as error:
                    if failed is not None and not isinstance(error, (*_LATER, *_NOBODYS_FAULT)):
                        await failed(error)
                    raise

        task = asyncio.ensure_future(guarded())
        self._running[message] = task
        try:
            await asyncio.wait([task])
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            del self._running[message]
        if not task.cancelled():
            task.result()

    @asynccontextmanager
    async def _claimed(self, message: MessageId) -> AsyncIterator[None]:
        claim = Claim(self._locks, message)
        try:
            if not await stoppable(lambda _: claim.take()):  # else it might be taken behind our back
                raise UsageError("another process carries this file already", hint="wait, or end it there")
            yield
        finally:
            await asyncio.to_thread(claim.release)


def _check_open(state: TransferState) -> None:
    """Raises UsageError: this transfer has ended for good."""
    if state is TransferState.DONE:
        raise UsageError("this file is through already", hint="see hush files list")
    if state is TransferState.CANCELLED:
        raise UsageError("this file was cancelled before")


def _unreleased(t: Tables) -> list[Offered]:
    """What has ended here, and the server was not told."""
    ended = {TransferState.DONE, TransferState.CANCELLED}
    return [each for each, _ in t.downloads.every() if each.state in ended and not each.released]


def _unasked(t: Tables) -> list[Offered]:
    return [each for each, _ in t.downloads.every() if each.automatic and each.state is TransferState.WAITING]
