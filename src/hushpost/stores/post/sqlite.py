"""The store of a version 3 server in SQLite, on the same engine as the classic one.

Writing goes through one thread, reading through two; the event loop only hands over and takes back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from hushpost import sql
from hushpost.ids import AccountId, DeviceId, MailboxId, TokenHash
from hushpost.stores import rules
from hushpost.stores.base import (
    Account,
    Answer,
    Device,
    DeviceList,
    Envelope,
    Invitation,
    KeyState,
    KeyUpdate,
    NewAccount,
    Position,
    SealedSend,
    SealKeys,
    Stats,
    StoreLimits,
    Usage,
)
from hushpost.stores.engine import Engine
from hushpost.stores.post import backup, counting, enrolment, publishing, reading, upkeep
from hushpost.stores.post.partfiles import PartFiles
from hushpost.stores.post.parts import PostParts
from hushpost.stores.post.schema import POST
from hushpost.stores.post.tables import PostTables
from hushpost.stores.post.waking import Wakeups
from hushpost.stores.tables import DELETED_AT_ONCE

PARTS_FOLDER = "files"
"""Beside the database."""


class SqlitePost:
    """`base.PostOffice` and `base.Backups`; made by `open`. Used by one event loop."""

    @classmethod
    async def open(
        cls, path: Path, limits: StoreLimits | None = None, clock: Callable[[], float] = time.time
    ) -> SqlitePost:
        """Open or create the database, and finish the deletions that a crash interrupted.

        Raises:
            StoreUnusable: and the file is as it was (see `opening`).
        """
        limits = limits or StoreLimits()
        wakeups = Wakeups()
        loop = asyncio.get_running_loop()

        def stored(envelopes: list[tuple[bytes, int]]) -> None:
            if not wakeups.idle:
                loop.call_soon_threadsafe(wakeups.stored, envelopes)

        def make_tables(db: sql.Connection) -> PostTables:
            backup.become_a_store(db)
            sql.map_file(db)
            return PostTables(db, path.parent, limits, clock, stored)

        engine = await Engine.open(path, POST, make_tables)
        store = cls(engine, PostParts(engine, PartFiles(path.parent / PARTS_FOLDER)), wakeups, clock)
        try:
            await store._remove_what_was_left()
            await store.parts.recover()
        except BaseException:
            await store.close()
            raise
        return store

    def __init__(
        self, engine: Engine[PostTables], parts: PostParts, wakeups: Wakeups, clock: Callable[[], float]
    ) -> None:
        self.parts = parts
        self._engine = engine
        self._submit = engine.writer.submit
        self._query = engine.query
        self._expect = engine.tables.members.expect
        self._wakeups = wakeups
        self._clock = clock

    @property
    def epoch(self) -> bytes:
        return self._engine.epoch

    @property
    def failed(self) -> asyncio.Future[None]:
        return self._engine.failed

    async def close(self) -> None:
        await self._engine.close()
        self.parts.close()

    # Invitations

    async def invite(self, invitation: Invitation) -> None:
        rules.check_uses(invitation)
        await self._submit(lambda tables: enrolment.invite(tables, invitation))

    async def revoke(self, token_hash: TokenHash) -> bool:
        return await self._submit(lambda tables: enrolment.revoke(tables, token_hash))

    async def invitations(self) -> list[Invitation]:
        return await self._query(lambda db: reading.invitations(db, self._clock()))

    # Accounts

    async def enroll(self, account: NewAccount, invitation: TokenHash | None) -> None:
        rules.check_key_ids(account.one_time_keys, account.seal_key)
        await self._submit(lambda tables: enrolment.enroll(tables, account, invitation), grows=True)

    async def account(self, account_id: AccountId) -> Account | None:
        return await self._query(lambda db: reading.account(db, account_id))

    async def account_named(self, name: str) -> Account | None:
        return await self._query(lambda db: reading.account_named(db, name))

    async def accounts_by_name(self, prefix: str, after: str, limit: int) -> list[Account]:
        return await self._query(lambda db: reading.accounts_by_name(db, prefix, after, limit))

    async def manifests(self, account: AccountId, after: int, limit: int) -> list[bytes]:
        after = min(after, rules.MAX_NUMBER)
        return await self._query(lambda db: reading.manifests(db, account, after, limit))

    async def put_manifest(
        self, account: AccountId, version: int, manifest: bytes, devices: Sequence[DeviceId]
    ) -> None:
        await self._submit(
            lambda tables: enrolment.put_manifest(tables, account, version, manifest, devices), grows=True
        )

    async def recover(self, account: NewAccount, version: int) -> None:
        rules.check_key_ids(account.one_time_keys, account.seal_key)
        await self._submit(lambda tables: enrolment.recover(tables, account, version), grows=True)

    async def devices(self, account: AccountId) -> DeviceList:
        return await self._query(lambda db: reading.devices(db, account))

    async def device(self, device: DeviceId) -> Device | None:
        return await self._query(lambda db: reading.device(db, device))

    # Keys

    async def publish(self, device: DeviceId, update: KeyUpdate) -> KeyState:
        rules.check_key_ids(update.one_time_keys, update.seal_key)
        return await self._submit(lambda tables: publishing.publish(tables, device, update), grows=True)

    async def key_state(self, device: DeviceId) -> KeyState:
        return await self._query(lambda db: reading.key_state(db, device, self._clock()))

    async def seal_keys(self, account: AccountId) -> SealKeys:
        return await self._query(lambda db: reading.seal_keys(db, account))

    async def take_session_keys(
        self, account: AccountId, devices: Sequence[DeviceId]
    ) -> dict[DeviceId, bytes]:
        return await self._submit(lambda tables: publishing.take(tables, account, devices))

    async def fallback_keys(self, account: AccountId, devices: Sequence[DeviceId]) -> dict[DeviceId, bytes]:
        return await self._query(lambda db: reading.fallback_keys(db, account, devices))

    # Sealed post

    def append_sealed(self, send: SealedSend) -> Answer[tuple[int, ...]]:
        rules.check_sealed_shape(send)
        self._expect(send.account)
        return self._submit(lambda tables: tables.append_sealed(send), len(send.body), grows=True)

    async def position(self, mailbox: MailboxId) -> Position:
        return await self._query(lambda db: reading.position(db, mailbox))

    def subscribe(self, mailbox: MailboxId, wake: Callable[[int], None]) -> Callable[[], None]:
        return self._wakeups.subscribe(mailbox, wake)

    async def read(self, mailbox: MailboxId, *, after: int, max_count: int, max_bytes: int) -> list[Envelope]:
        after = min(after, rules.MAX_NUMBER)
        return await self._query(lambda db: reading.read(db, mailbox, after, max_count, max_bytes))

    async def usage(self, mailbox: MailboxId) -> Usage:
        return await self._query(lambda db: reading.usage(db, mailbox))

    async def ack(self, mailbox: MailboxId, sequences: Sequence[int]) -> None:
        possible = [sequence for sequence in sequences if 0 < sequence <= rules.MAX_NUMBER]
        for start in range(0, len(possible), DELETED_AT_ONCE):
            some = possible[start : start + DELETED_AT_ONCE]
            await self._submit(partial(PostTables.delete, mailbox=mailbox, sequences=some))

    async def ack_up_to(self, mailbox: MailboxId, sequence: int) -> None:
        bound = min(sequence, rules.MAX_NUMBER)
        more = True
        while more:
            more = await self._submit(partial(PostTables.delete_up_to, mailbox=mailbox, sequence=bound))

    # Upkeep

    async def account_usage(self, account: AccountId) -> dict[str, str]:
        return await self._query(lambda db: counting.account_usage(db, account))

    async def leave(self, account: AccountId) -> None:
        await self._submit(lambda tables: upkeep.leave(tables, account))
        await self._remove_what_was_left()

    async def _remove_what_was_left(self) -> None:
        more = True
        while more:
            more = await self._submit(upkeep.remove_some)

    async def tidy(self, seconds: int) -> None:
        up_to = await self._submit(lambda tables: upkeep.note_time(tables, seconds))
        more = True
        while more:
            more = await self._submit(partial(upkeep.expire_some, up_to=up_to))
        await self._remove_what_was_left()
        await self.parts.tidy()

    async def stats(self) -> Stats:
        return await self._query(lambda db: counting.stats(db, self._clock()))

    # Backups

    async def backup(self, path: Path, progress: Callable[[int, int], None]) -> None:
        loop = asyncio.get_running_loop()

        def tell(done: int, pages: int) -> None:
            loop.call_soon_threadsafe(progress, done, pages)

        await asyncio.to_thread(backup.back_up, self._engine.database.path, path, tell)
