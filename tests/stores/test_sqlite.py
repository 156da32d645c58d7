"""What only the database can get wrong: reopening, a database that is full or failing, callers that leave."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from hushpost import sql
from hushpost.errors import BlobMissing, StoreFailed, StoreFull
from hushpost.ids import AccountId, BlobId, MailboxId
from hushpost.stores import checkpoints, opening, seen, tables
from hushpost.stores.base import Account, Delivery, Send, StoreLimits, Usage
from hushpost.stores.sqlite import SqliteStore

from .conftest import World, close_world, open_world

Worlds = Callable[..., Awaitable[World]]

MIB = 1 << 20


@pytest.fixture
def kind() -> str:
    return "sqlite"


async def test_m1_m2_m4_everything_is_there_after_reopening(worlds: Worlds) -> None:
    world = await worlds()
    box, again = await world.mailbox(), world.fresh_id()
    attachment = await world.blob()
    await world.put(box, b"kept", envelope=again, attachment=attachment)
    before = await world.store.read(box, after=0, max_count=9, max_bytes=99)
    await close_world(world)
    reopened = await worlds()
    assert await reopened.store.read(box, after=0, max_count=9, max_bytes=99) == before
    assert reopened.store.epoch == world.store.epoch
    assert await reopened.put(box, b"kept", envelope=again, attachment=attachment) == 1
    assert await reopened.blobs.read_into(attachment.blob, 0, memoryview(bytearray(9))) == 7


async def test_m3_a_deleted_newest_number_is_not_reused_after_reopening(worlds: Worlds) -> None:
    world = await worlds()
    box = await world.mailbox()
    for _ in range(3):
        await world.put(box)
    await world.store.ack_up_to(box, 3)
    await close_world(world)
    reopened = await worlds()
    assert await reopened.put(box) == 4


async def test_m4_every_store_has_an_epoch_of_its_own(tmp_path: Path) -> None:
    epochs = set()
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        world = await open_world("sqlite", tmp_path / name)
        epochs.add(world.store.epoch)
        await close_world(world)
    assert len(epochs) == 2


async def test_b4_opening_sweeps(worlds: Worlds) -> None:
    world = await worlds()
    kept, lost, begun = await world.blob(), await world.blob(), BlobId.random()
    await world.put(await world.mailbox(), attachment=kept)
    await world.blobs.create(begun)
    await close_world(world)
    reopened = await worlds()
    assert await reopened.blobs.read_into(kept.blob, 0, memoryview(bytearray(9))) == 7
    with pytest.raises(BlobMissing):
        await reopened.blobs.read_into(lost.blob, 0, memoryview(bytearray(9)))
    assert await reopened.blobs.sweep({kept.blob}) == 0


async def test_closing_finishes_what_was_begun(worlds: Worlds) -> None:
    world = await worlds()
    box = await world.mailbox()
    answers = [world.store.append(Send((Delivery(box, b""),), b"")) for _ in range(600)]
    await world.store.close()
    assert [answer.result() for answer in answers] == [(k + 1,) for k in range(600)]
    await world.store.close()


async def test_m6_whoever_leaves_while_acknowledging_leaves_no_attachment(worlds: Worlds) -> None:
    world = await worlds()
    box, attachment = await world.mailbox(), await world.blob()
    await world.put(box, attachment=attachment)
    leaving = asyncio.ensure_future(world.store.ack(box, [1]))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await world.store.close()
    assert await world.blobs.sweep({attachment.blob}) == 0
    with pytest.raises(BlobMissing):
        await world.blobs.read_into(attachment.blob, 0, memoryview(bytearray(9)))


def connection_of(world: World) -> sql.Connection:
    """The writer's own; between two operations a test may use it."""
    assert isinstance(world.store, SqliteStore)
    return world.store._engine.database.connection


async def test_m7_a_full_database(worlds: Worlds) -> None:
    world = await worlds()
    box = await world.mailbox()
    (pages,) = connection_of(world).execute("PRAGMA page_count").fetchone()
    connection_of(world).execute(f"PRAGMA max_page_count={pages + 12}")
    sends = [Send((Delivery(box, b""),), bytes(9_000)) for _ in range(10)]
    answers = await asyncio.gather(*map(world.store.append, sends), return_exceptions=True)
    assert all(isinstance(answer, StoreFull) for answer in answers)
    answers = []
    for _ in range(10):
        answers += await asyncio.gather(world.store.append(sends[0]), return_exceptions=True)
    stored = sum(isinstance(answer, tuple) for answer in answers)
    assert 0 < stored < 10
    assert all(isinstance(answer, StoreFull) for answer in answers[stored:])
    assert await world.store.usage(box) == Usage(stored, stored * 9_000)
    assert await world.waiting(box) == list(range(1, stored + 1))
    # What makes room is done although its batch is refused.
    refused, done = await asyncio.gather(
        world.store.append(Send((Delivery(box, b""),), bytes(90_000))),
        world.store.ack(box, [1]),
        return_exceptions=True,
    )
    assert isinstance(refused, StoreFull)
    assert done is None
    assert await world.put(box, bytes(9_000)) == stored + 1
    assert await world.waiting(box) == list(range(2, stored + 2))
    assert not world.store.failed.done()


async def test_m7_the_reserve_of_the_disk(worlds: Worlds) -> None:
    world = await worlds()
    box = await world.mailbox()
    await world.put(box)
    await close_world(world)
    world = await worlds(min_free_bytes=1 << 60)
    with pytest.raises(StoreFull):
        await world.put(box)
    with pytest.raises(StoreFull):
        await world.mailbox()
    with pytest.raises(StoreFull):
        await world.store.admit(box, 1)
    assert await world.waiting(box) == [1]
    await world.store.ack(box, [1])
    assert await world.waiting(box) == []


async def test_one_impossible_operation_harms_no_other_of_its_batch(worlds: Worlds) -> None:
    world = await worlds()
    box = await world.mailbox()
    send = Send((Delivery(box, b""),), b"")
    impossible = world.store.register(
        Account(AccountId.random(), "half a character \ud800", b""), MailboxId.random()
    )
    answers = await asyncio.gather(
        world.store.append(send), impossible, world.store.append(send), return_exceptions=True
    )
    assert answers[0] == (1,)
    assert isinstance(answers[1], UnicodeEncodeError)
    assert answers[2] == (2,)
    assert await world.waiting(box) == [1, 2]


async def test_records_of_old_ids_go(worlds: Worlds) -> None:
    world = await worlds()
    box = await world.mailbox()
    old = [world.fresh_id() for _ in range(seen.FORGOTTEN_AT_ONCE + 10)]
    await asyncio.gather(*(world.put(box, b"", envelope=envelope) for envelope in old))
    world.now += 31 * 86_400 + 1
    kept = world.fresh_id()
    for _ in range(3):
        await world.put(box, b"", envelope=kept)
        await world.put(box, b"")
    rows = connection_of(world).execute("SELECT id FROM seen").fetchall()
    assert rows == [(kept,)]


async def test_the_log_does_not_grow_without_end(worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "ROWS_BETWEEN", 50)
    world = await worlds()
    box = await world.mailbox()
    assert isinstance(world.store, SqliteStore)
    log = opening.beside(world.store._engine.database.path, "-wal")
    for _ in range(40):
        await asyncio.gather(*(world.put(box, bytes(5_000)) for _ in range(20)))
    assert 0 < log.stat().st_size < 3_000_000  # 4 MB were written, and 40 times the indexes
    assert (await world.store.usage(box)).count == 800


async def test_the_mailboxes_that_are_remembered_are_bounded(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAILBOXES_CACHED", 2)
    world = await worlds()
    boxes = [await world.mailbox() for _ in range(5)]
    for _ in range(2):
        await asyncio.gather(*(world.put(box) for box in boxes))
    assert [await world.store.usage(box) for box in boxes] == [Usage(2, 10)] * 5


FAILING_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from hushpost.errors import StoreFailed
from hushpost.ids import AccountId, MailboxId
from hushpost.stores.base import Account, Delivery, Send
from hushpost.stores.memory import MemoryBlobs
from hushpost.stores.sqlite import SqliteStore

async def main(path):
    store = await SqliteStore.open(path, MemoryBlobs())
    box = MailboxId(bytes(16))
    await store.register(Account(AccountId.random(), "name", b""), box)
    # The kernel refuses to write beyond this: EFBIG, which is an I/O error to SQLite.
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    send = Send((Delivery(box, b""),), bytes(1000))
    stored = 0
    try:
        while True:
            await store.append(send)
            stored += 1
    except StoreFailed:
        pass
    later = [store.append(send), asyncio.ensure_future(store.ack(box, [1]))]
    for attempt in later:
        try:
            await attempt
        except StoreFailed:
            continue
        raise AssertionError("answered after a failure")
    assert isinstance(store.failed.exception(), StoreFailed)
    await store.close()
    print(stored)

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_failing_disk_ends_the_store_and_loses_nothing(worlds: Worlds, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FAILING_DISK, str(tmp_path / "server.db")]
    done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
    stored = int(done.stdout)
    world = await worlds()
    assert stored > 10
    assert (await world.waiting(MailboxId(bytes(16))))[:stored] == list(range(1, stored + 1))


async def test_a_database_that_cannot_be_read_any_more_has_failed(worlds: Worlds, tmp_path: Path) -> None:
    world = await worlds()
    box = await world.mailbox()
    await asyncio.gather(*(world.put(box, bytes(1_000)) for _ in range(200)))
    await close_world(world)
    world = await worlds()
    with (tmp_path / "server.db").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(StoreFailed):
        await world.waiting(box)
    assert isinstance(world.store.failed.exception(), StoreFailed)
    with pytest.raises(StoreFailed):
        await world.put(box)


async def test_readers_cannot_write(worlds: Worlds, tmp_path: Path) -> None:
    await worlds()
    with (
        closing(sql.connect(tmp_path / "server.db", "ro")) as reader,
        pytest.raises(sql.Error, match="readonly"),
    ):
        reader.execute("DELETE FROM envelope")


async def test_an_empty_mailbox_beside_many_envelopes_is_answered_by_two_lookups(worlds: Worlds) -> None:
    """No table is walked: the plan of the query that polls uses indexes only."""
    world = await worlds(min_free_bytes=StoreLimits().min_free_bytes)
    plan = connection_of(world).execute(
        "EXPLAIN QUERY PLAN SELECT number, count, size, (SELECT max(sequence) FROM envelope"
        " WHERE mailbox = number) FROM mailbox WHERE id = ?",
        (bytes(16),),
    )
    assert not [row for row in plan.fetchall() if "SCAN" in row[3] and "CONSTANT" not in row[3]]


class SmallDisk:
    """What `statvfs` says of a disk on which there is nothing but this folder."""

    f_frsize = 4096

    def __init__(self, folder: Path, size: int) -> None:
        used = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
        self.f_bavail = max(0, size - used) // self.f_frsize


async def test_m7_what_deletions_free_inside_the_database_is_room(
    worlds: Worlds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file never shrinks, so a disk that only messages have filled must not stay full for ever."""
    world = await worlds(min_free_bytes=16 * MIB)
    box = await world.mailbox()
    monkeypatch.setattr(os, "statvfs", lambda folder: SmallDisk(Path(folder), 128 * MIB))

    async def fill() -> int:
        for count in range(4_000):
            try:
                await world.put(box, bytes(60_000))
            except StoreFull:
                return count
        return 4_000

    first = await fill()
    assert 100 < first < 4_000
    for _ in range(3):
        await world.store.ack_up_to(box, 1 << 40)
        assert await fill() > first // 2
