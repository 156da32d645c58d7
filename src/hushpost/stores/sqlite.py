"""The store of one server: accounts and envelopes in SQLite, large contents beside it.

Writing goes through one thread (`writer`), reading through two (`reading`); the event loop only hands
over and takes back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from hushpost import sql
from hushpost.ids import AccountId, MailboxId
from hushpost.stores import reading, rules
from hushpost.stores.base import Account, Blobs, DirectoryExtent, Envelope, Extent, Send, StoreLimits, Usage
from hushpost.stores.engine import Engine
from hushpost.stores.migrations import CLASSIC
from hushpost.stores.room import disk_room
from hushpost.stores.tables import DELETED_AT_ONCE, Deleted, Tables

_MAX_NUMBER = 2**63 - 1


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
        engine = await Engine.open(path, CLASSIC, lambda db: Tables(db, path.parent, limits, clock))
        store = cls(engine, blobs, limits)
        try:
            await blobs.sweep(await engine.readers.run(reading.attachments))
        except BaseException:
            await store.close()
            raise
        return store

    def __init__(self, engine: Engine[Tables], blobs: Blobs, limits: StoreLimits) -> None:
        self._engine = engine
        self._writer = engine.writer
        self._query = engine.query
        self._blobs = blobs
        self._limits = limits
        self._discarding: set[asyncio.Task[None]] = set()

    @property
    def epoch(self) -> bytes:
        return self._engine.epoch

    @property
    def failed(self) -> asyncio.Future[None]:
        return self._engine.failed

    async def close(self) -> None:
        """As promised in `base`; a second time is harmless."""
        await self._engine.close()
        if self._discarding:
            await asyncio.wait(self._discarding)

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
            rules.check_disk(disk_room(self._engine.database.path.parent), self._limits.min_free_bytes, size)

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
