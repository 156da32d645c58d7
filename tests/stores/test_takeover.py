"""The promises of `base.Takeover`, and that a database from before it stays usable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from hushpost import sql
from hushpost.errors import IdTaken, NameTaken, StoreFull, StoreUnusable, UnknownMailbox
from hushpost.ids import AccountId, BlobId, MailboxId
from hushpost.stores.base import Account, Attachment, Delivery, Envelope, Send, StoreLimits, Usage
from hushpost.stores.blobfiles import FileBlobs
from hushpost.stores.migrations import CLASSIC
from hushpost.stores.sqlite import SqliteStore

ANN, BEN = (AccountId(letter * 16) for letter in (b"a", b"b"))
ACCOUNTS = [(Account(id_, name, b"key"), MailboxId(id_)) for id_, name in ((BEN, "ben"), (ANN, "ann"))]
LAST = 100
ROOMY = StoreLimits(min_free_bytes=0)


@asynccontextmanager
async def opened(folder: Path, limits: StoreLimits = ROOMY) -> AsyncIterator[SqliteStore]:
    blobs = FileBlobs(folder / "blobs", 0)
    store = await SqliteStore.open(folder / "server.db", blobs, limits)
    try:
        yield store
    finally:
        await store.close()
        await blobs.close()


def envelope(number: int, body: bytes = b"body", attachment: Attachment | None = None) -> Envelope:
    return Envelope(number, b"header", body, attachment=attachment)


async def waiting(store: SqliteStore, who: AccountId) -> list[Envelope]:
    return await store.read(MailboxId(who), after=0, max_count=100, max_bytes=10**6)


async def test_the_position_is_stored_with_the_envelopes(tmp_path: Path) -> None:
    blob = Attachment(BlobId.random(), 1000)
    async with opened(tmp_path) as store:
        assert await store.begin_takeover(ACCOUNTS, LAST) == 0
        await store.take_over([(MailboxId(ANN), envelope(3)), (MailboxId(BEN), envelope(4))], 5)
        await store.take_over([(MailboxId(ANN), envelope(9, b"", blob))], 20)
        await store.take_over([], 30)
    async with opened(tmp_path) as store:
        assert await store.begin_takeover(ACCOUNTS, LAST) == 30
        assert await waiting(store, ANN) == [envelope(3), envelope(9, b"", blob)]
        assert await waiting(store, BEN) == [envelope(4)]
        assert await store.usage(MailboxId(ANN)) == Usage(2, 2 * 6 + 4 + 1000)
        extent = await store.accounts_extent()
        pages = await store.accounts_page(0, extent.last, 10)
        assert [account for _, account in pages] == [account for account, _ in ACCOUNTS]


async def test_later_numbers_are_above_all_of_the_old_ones(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.begin_takeover(ACCOUNTS, LAST)
        assert await store.append(Send((Delivery(MailboxId(ANN), b""),), b"")) == (LAST + 1,)
    async with opened(tmp_path) as store:
        assert await store.append(Send((Delivery(MailboxId(ANN), b""),), b"")) == (LAST + 2,)
        await store.take_over([(MailboxId(ANN), envelope(7))], 7)
        assert [each.sequence for each in await waiting(store, ANN)] == [7, LAST + 1, LAST + 2]


async def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        first, second = ACCOUNTS
        twin = (Account(ANN, "ben", b""), MailboxId(ANN))
        with pytest.raises(NameTaken):
            await store.begin_takeover([first, twin], LAST)
        with pytest.raises(IdTaken):
            await store.begin_takeover([second, (Account(ANN, "other", b""), MailboxId(ANN))], LAST)
        assert (await store.accounts_extent()).count == 0
        await store.begin_takeover(ACCOUNTS, LAST)
        with pytest.raises(UnknownMailbox):
            await store.take_over([(MailboxId(ANN), envelope(1)), (MailboxId.random(), envelope(2))], 2)
        assert await waiting(store, ANN) == []
        assert await store.begin_takeover(ACCOUNTS, LAST) == 0
        for accounts, last in ((ACCOUNTS, LAST + 1), ([*ACCOUNTS, (Account(BEN, "x", b""), first[1])], LAST)):
            with pytest.raises(StoreUnusable):
                await store.begin_takeover(accounts, last)


async def test_quotas_do_not_apply_but_the_disk_does(tmp_path: Path) -> None:
    async with opened(tmp_path, StoreLimits(1, 1, 1, min_free_bytes=0)) as store:
        await store.begin_takeover(ACCOUNTS, LAST)
        await store.take_over([(MailboxId(ANN), envelope(number)) for number in (1, 2, 3)], 3)
        with pytest.raises(StoreFull):
            await store.append(Send((Delivery(MailboxId(ANN), b""),), b""))
    async with opened(tmp_path, StoreLimits(min_free_bytes=1 << 60)) as store:
        with pytest.raises(StoreFull):
            await store.take_over([(MailboxId(ANN), envelope(4))], 4)
        assert await store.begin_takeover(ACCOUNTS, LAST) == 3


async def test_a_database_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.register(*ACCOUNTS[0])
        number = (await store.append(Send((Delivery(MailboxId(BEN), b"h"),), b"kept")))[0]
    with closing(sql.connect(tmp_path / "server.db")) as database:
        database.execute("DROP TABLE takeover")
        database.execute("PRAGMA user_version=1")
    async with opened(tmp_path) as store:
        assert [each.body for each in await waiting(store, BEN)] == [b"kept"]
        assert number == 1
        with pytest.raises(StoreUnusable, match="contents already"):
            await store.begin_takeover([], LAST)
    with closing(sql.connect(tmp_path / "server.db", "ro")) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (CLASSIC.version,)
