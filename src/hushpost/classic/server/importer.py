"""Taking over an old server: its clients and waiting messages, under their own ids and in their order.

It goes on where it was interrupted, even by kill -9: the accounts and the reserved numbers come in one
transaction, then the messages in the order of their ids, and each batch is stored together with its
position. What a large content that was under way leaves behind goes when the store is opened next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import msgspec

from hushpost.classic.payloads import STREAM_ABOVE, ClientId
from hushpost.classic.server.oldserver import MISSING, Content, OldMessage, OldServer
from hushpost.errors import StoreUnusable
from hushpost.ids import AccountId, BlobId, MailboxId
from hushpost.stores.base import Account, Attachment, Blobs, Envelope, Takeover

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

BATCH = 128
"""Messages stored at once: 8 MiB at most, since larger contents are streamed."""

PIECE = 1 << 20

Progress = Callable[[int, int], None]
"""Called after each batch: messages dealt with, and messages in all, of this run."""


class ImportReport(msgspec.Struct):
    """What one run has done. An interrupted import is told by several.

    Attributes:
        clients: in the old database, and now in ours.
        messages: taken over by this run, with `size` bytes of content.
        resumed: an earlier run had begun.
        missing: ids of the messages whose file was gone; they say `-Missing-` now, as before.
        left_out: ids of messages to nobody: their recipient is not in the old database.
    """

    clients: int = 0
    messages: int = 0
    size: int = 0
    resumed: bool = False
    missing: list[int] = []
    left_out: list[int] = []


async def import_old_server(
    source: Path, store: Takeover, blobs: Blobs, progress: Progress = lambda _done, _all: None
) -> ImportReport:
    """Take over the old server whose `server.db` and `files/` are in the folder `source`.

    Nothing is written there. May be interrupted at any point, and be called again.

    Raises:
        StoreUnusable: `source` is no old server's, damaged or in use; or the store is not empty.
        StoreFull, StoreFailed: of the store. What was stored until then stays.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="hush-import")
    loop = asyncio.get_running_loop()
    try:
        old = await loop.run_in_executor(thread, OldServer.open, source)
        try:
            return await _Import(old, thread, store, blobs).run(progress)
        finally:
            await loop.run_in_executor(thread, old.close)
    finally:
        thread.shutdown(wait=False)


class _Import:
    """One run. Everything that blocks happens in one thread, one thing after the other."""

    def __init__(self, old: OldServer, thread: ThreadPoolExecutor, store: Takeover, blobs: Blobs) -> None:
        self._old = old
        self._thread = thread
        self._store = store
        self._blobs = blobs
        self._report = ImportReport()
        self._recipients: set[ClientId] = set()

    async def run(self, progress: Progress) -> ImportReport:
        report = self._report
        clients = await self._blocking(self._old.clients)
        report.clients = len(clients)
        self._recipients = {client.client_id for client in clients}
        accounts = [
            (
                Account(AccountId(client.client_id), client.name, client.public_key),
                MailboxId(client.client_id),
            )
            for client in clients
        ]
        last = await self._blocking(self._old.last_number)
        position = await self._store.begin_takeover(accounts, last)
        report.resumed = position > 0
        total = await self._blocking(self._old.count, position)
        done = 0
        while messages := await self._blocking(self._old.messages, position, BATCH):
            position = await self._store_batch(messages)
            done += len(messages)
            progress(done, total)
        return report

    async def _store_batch(self, messages: list[OldMessage]) -> int:
        batch: list[tuple[MailboxId, Envelope]] = []
        for message in messages:
            if message.recipient not in self._recipients:
                self._report.left_out.append(message.number)
                continue
            envelope = await self._envelope(message)
            batch.append((MailboxId(message.recipient), envelope))
            if envelope.attachment:  # so that a large content is not copied again after an interruption
                await self._store.take_over(batch, message.number)
                batch = []
        await self._store.take_over(batch, messages[-1].number)
        return messages[-1].number

    async def _envelope(self, message: OldMessage) -> Envelope:
        header = message.sender + bytes((message.message_type,))
        with ExitStack() as stack:
            content = await self._blocking(stack.enter_context, self._old.content(message))
            try:
                body, attachment = await self._take(message, content)
            finally:
                await self._blocking(stack.close)
        self._report.messages += 1
        self._report.size += attachment.size if attachment else len(body)
        return Envelope(message.number, header, body, attachment=attachment)

    async def _take(self, message: OldMessage, content: Content | None) -> tuple[bytes, Attachment | None]:
        if content is None:
            self._report.missing.append(message.number)
            return MISSING, None
        if content.size <= STREAM_ABOVE:
            return await self._blocking(_exactly, content, content.size), None
        blob = BlobId.random()
        await self._blobs.create(blob, content.size)
        for offset in range(0, content.size, PIECE):
            piece = await self._blocking(_exactly, content, min(PIECE, content.size - offset))
            await self._blobs.write(blob, offset, memoryview(piece))
        await self._blobs.finish(blob, content.size)
        return b"", Attachment(blob, content.size)

    async def _blocking(self, action: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, action, *arguments)


def _exactly(content: Content, size: int) -> bytes:
    pieces: list[bytes] = []
    missing = size
    while missing:
        piece = content.read(missing)
        if not piece:
            raise StoreUnusable("a file of the old server became shorter while it was read")
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)
