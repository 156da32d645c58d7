"""The store of one server: accounts and envelopes in SQLite, large contents beside it.

Writing goes through one thread (`writer`), reading through two (`reading`); the event loop only hands
over and takes back.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from hushpost import sql
from hushpost.errors import StoreFailed
from hushpost.ids import AccountId, MailboxId
from hushpost.stores import opening, reading, rules
from hushpost.stores.ballast import Ballast
from hushpost.stores.base import Account, Blobs, DirectoryExtent, Envelope, Extent, Send, StoreLimits, Usage
from hushpost.stores.checkpoints import Checkpoints
from hushpost.stores.reading import Readers
from hushpost.stores.tables import DELETED_AT_ONCE, Deleted, Tables
from hushpost.stores.writer import Writer

T = TypeVar("T")

_MAX_NUMBER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Parts:
    """What has to be opened, where it may block, before there can be a store."""

    database: opening.OpenDatabase
    epoch: bytes
    tables: Tables
    ballast: Ballast
    checkpoints: Checkpoints
    readers: Readers


def _open_parts(path: Path, limits: StoreLimits, clock: Callable[[], float]) -> _Parts:
    database = opening.open_database(path)
    database.connection.set_busy_timeout(sql.RUNNING_PATIENCE)
    ballast = Ballast(opening.beside(path, ".ballast"))
    ballast.refill()
    return _Parts(
        database,
        reading.epoch(database.connection),
        Tables(database.connection, path.parent, limits, clock),
        ballast,
        Checkpoints(path, database.connection),
        Readers(path),
    )


class SqliteStore:
    """`base.Store` in an SQLite database; made by `open`. Used by one event loop."""

    @classmethod
    async def open(
        cls,
        path: Path,
        blobs: Blobs,
        limits: StoreLimits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> SqliteStore:
        """Open or create the database, and sweep away contents that nothing refers to.

        Raises:
            StoreUnusable: and the file is as it was (see `opening`).
        """
        limits = limits or StoreLimits()

        parts = await asyncio.to_thread(_open_parts, path, limits, clock)
        store = cls(parts, blobs, limits)
        try:
            await blobs.sweep(await parts.readers.run(reading.attachments))
        except BaseException:
            await store.close()
            raise
        return store

    def __init__(self, parts: _Parts, blobs: Blobs, limits: StoreLimits) -> None:
        self._parts = parts
        self._readers = parts.readers
        self._writer = Writer(parts.tables, parts.ballast, parts.checkpoints)
        self._blobs = blobs
        self._limits = limits
        self._discarding: set[asyncio.Task[None]] = set()

    @property
    def epoch(self) -> bytes:
        return self._parts.epoch

    @property
    def failed(self) -> asyncio.Future[None]:
        return self._writer.failed

    async def close(self) -> None:
        """As promised in `base`; a second time is harmless."""
        writing = self._writer.stop()
        if writing is None:
            return

        def run() -> None:
            writing.join()
            self._parts.checkpoints.close()
            self._parts.readers.close()
            # Last, so that SQLite empties the log into the database and removes it.
            self._parts.database.close()

        await asyncio.to_thread(run)
        if self._discarding:
            await asyncio.wait(self._discarding)

    async def _query(self, query: Callable[[sql.Connection], T]) -> T:
        """Read. A database that cannot be read any more is a failed one, for writing too."""
        try:
            return await self._readers.run(query)
        except StoreFailed as failure:
            if failure.__cause__ is not None:  # not just closed
                self._writer.fail(failure)
            raise

    # The directory

    async def register(self, account: Account, mailbox: MailboxId) -> None:
        await self._writer.submit(lambda tables: tables.register(account, mailbox), grows=True)

    async def account(self, account_id: AccountId) -> Account | None:
        return await self._query(lambda db: reading.account(db, account_id))

    async def accounts_extent(self) -> DirectoryExtent:
        return await self._query(reading.accounts_extent)

    async def accounts_page(self, after: int, up_to: int, limit: int) -> list[tuple[int, Account]]:
        return await self._query(lambda db: reading.accounts_page(db, after, up_to, limit))

    # Mailboxes

    def append(self, send: Send) -> asyncio.Future[tuple[int, ...]]:
        rules.check_shape(send)
        return self._writer.submit(lambda tables: tables.append(send), len(send.body), grows=True)

    async def admit(self, mailbox: MailboxId, size: int) -> None:
        def query(db: sql.Connection) -> None:
            rules.check_mailbox(self._limits, reading.usage(db, mailbox), size)
            rules.check_total(self._limits, reading.total_size(db), size)
            disk = os.statvfs(self._parts.database.path.parent)
            rules.check_disk(disk.f_bavail * disk.f_frsize, self._limits.min_free_bytes, size)

        await self._query(query)

    async def extent(self, mailbox: MailboxId, *, max_size: int, overhead: int) -> Extent:
        return await self._query(lambda db: reading.extent(db, mailbox, max_size, overhead))

    async def read(self, mailbox: MailboxId, *, after: int, max_count: int, max_bytes: int) -> list[Envelope]:
        after = min(after, _MAX_NUMBER)
        return await self._query(lambda db: reading.read(db, mailbox, after, max_count, max_bytes))

    async def usage(self, mailbox: MailboxId) -> Usage:
        return await self._query(lambda db: reading.usage(db, mailbox))

    async def ack(self, mailbox: MailboxId, sequences: Sequence[int]) -> None:
        possible = [sequence for sequence in sequences if 0 < sequence <= _MAX_NUMBER]
        for start in range(0, len(possible), DELETED_AT_ONCE):
            some = tuple(possible[start : start + DELETED_AT_ONCE])
            await self._delete(partial(Tables.delete, mailbox=mailbox, sequences=some))

    async def ack_up_to(self, mailbox: MailboxId, sequence: int) -> None:
        bound = min(sequence, _MAX_NUMBER)
        more = True
        while more:
            more = await self._delete(partial(Tables.delete_up_to, mailbox=mailbox, sequence=bound))

    async def _delete(self, action: Callable[[Tables], Deleted]) -> bool:
        """Delete durably, then discard the attachments, even if the caller is cancelled meanwhile."""
        deletion = self._writer.submit(action)
        try:
            deleted = await asyncio.shield(deletion)
        except asyncio.CancelledError:
            deletion.add_done_callback(self._discard_later)
            raise
        if deleted.attachments:
            await self._blobs.discard(deleted.attachments)
        return deleted.more

    def _discard_later(self, deletion: asyncio.Future[Deleted]) -> None:
        if deletion.exception() is None:
            task = asyncio.get_running_loop().create_task(self._discard(deletion.result()))
            self._discarding.add(task)
            task.add_done_callback(self._discarding.discard)

    async def _discard(self, deleted: Deleted) -> None:
        await self._blobs.discard(deleted.attachments)

    # Takeover

    async def begin_takeover(self, accounts: Sequence[tuple[Account, MailboxId]], last_sequence: int) -> int:
        return await self._writer.submit(
            lambda tables: tables.begin_takeover(accounts, last_sequence), grows=True
        )

    async def take_over(self, envelopes: Sequence[tuple[MailboxId, Envelope]], up_to: int) -> None:
        size = sum(len(envelope.body) for _, envelope in envelopes)
        await self._writer.submit(lambda tables: tables.take_over(envelopes, up_to), size, grows=True)
