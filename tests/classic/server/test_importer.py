"""Taking over an old server: everything, once, under its own ids, whatever interrupts it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from hushpost import sql
from hushpost.classic.server import importer
from hushpost.classic.server.importer import ImportReport, import_old_server
from hushpost.classic.server.oldserver import OldServer
from hushpost.errors import StoreError, StoreUnusable
from hushpost.ids import AccountId, MailboxId
from hushpost.stores.base import Account, Delivery, Send, StoreLimits
from hushpost.stores.blobfiles import FileBlobs
from hushpost.stores.sqlite import SqliteStore
from tests.classic.server import oldworld
from tests.classic.server.oldworld import (
    ALICE,
    BOB,
    CLIENTS,
    EXPECTED,
    LARGE_FILE,
    LAST_GIVEN,
    accounts,
    picture,
    waiting,
)

ROOT = Path(__file__).parents[3]
LIMITS = StoreLimits(min_free_bytes=0)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return oldworld.build(tmp_path / "old")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "new"
    folder.mkdir()
    return folder


@asynccontextmanager
async def opened(data: Path) -> AsyncIterator[tuple[SqliteStore, FileBlobs]]:
    blobs = FileBlobs(data / "blobs", 0)
    store = await SqliteStore.open(data / "server.db", blobs, LIMITS)
    try:
        yield store, blobs
    finally:
        await store.close()
        await blobs.close()


async def check_whole(data: Path) -> None:
    async with opened(data) as (store, blobs):
        assert await accounts(store) == [Account(AccountId(id_), name, key) for id_, name, key in CLIENTS]
        assert await waiting(store, blobs) == EXPECTED
        stored = Send((Delivery(MailboxId(BOB), ALICE + b"\3"),), b"new")
        assert await store.append(stored) == (LAST_GIVEN + 1,)
    kept = [path for path in (data / "blobs").rglob("*") if path.is_file()]
    assert len(kept) == 3, "one for each content above 64 KiB, and nothing else"


async def test_everything_arrives_under_its_own_ids(old: Path, data: Path) -> None:
    before = picture(old)
    told: list[tuple[int, int]] = []
    async with opened(data) as (store, blobs):
        report = await import_old_server(old, store, blobs, lambda done, of: told.append((done, of)))
    size = sum(len(content) for *_, content in EXPECTED)
    assert report == ImportReport(3, len(EXPECTED), size, False, missing=[11], left_out=[9])
    assert told == [(12, 12)]
    await check_whole(data)
    assert picture(old) == before


async def test_a_second_run_changes_nothing_even_after_messages_were_read(old: Path, data: Path) -> None:
    async with opened(data) as (store, blobs):
        await import_old_server(old, store, blobs)
        await store.ack_up_to(MailboxId(BOB), LAST_GIVEN)
        left = await waiting(store, blobs)
        assert {mailbox for _, mailbox, _, _ in left} == {MailboxId(id_) for id_, _, _ in CLIENTS} - {BOB}
        assert await import_old_server(old, store, blobs) == ImportReport(clients=3, resumed=True)
        assert await waiting(store, blobs) == left


class PowerCut(Exception):
    """What stands for the end of the process."""


class Fuse:
    """Passes calls on to a store or its blobs, and breaks before or after one of them."""

    def __init__(self, inner: object, calls: list[str], blows: Callable[[int], tuple[bool, bool]]) -> None:
        self._inner = inner
        self._calls = calls
        self._blows = blows

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any) -> Any:
            before, after = self._blows(len(self._calls))
            self._calls.append(name)
            if before:
                raise PowerCut
            result = await getattr(self._inner, name)(*arguments)
            if after:
                raise PowerCut
            return result

        return call


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
async def test_it_goes_on_wherever_it_was_interrupted(
    old: Path, tmp_path: Path, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "BATCH", 2)
    monkeypatch.setattr(importer, "PIECE", (len(LARGE_FILE) - 1) // 2)  # the last piece is one byte
    step, done = 0, False
    while not done:
        data = tmp_path / f"cut-at-{step}"
        data.mkdir()
        calls: list[str] = []

        def blows(call: int, step: int = step) -> tuple[bool, bool]:
            return call == step and not late, call == step and late

        async with opened(data) as (store, blobs):
            try:
                await import_old_server(old, Fuse(store, calls, blows), Fuse(blobs, calls, blows))
                done = True
            except PowerCut:
                assert len(calls) == step + 1
        async with opened(data) as (store, blobs):
            await import_old_server(old, store, blobs)
        await check_whole(data)
        step += 1
    assert {"begin_takeover", "take_over", "create", "write", "finish"} == set(calls)
    assert step > 15


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from hushpost.classic.server import importer
from hushpost import sql
from hushpost.stores.base import StoreLimits
from hushpost.stores.blobfiles import FileBlobs
from hushpost.stores.sqlite import SqliteStore

importer.BATCH = 2

def progress(done: int, total: int) -> None:
    if done == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

async def main() -> None:
    data = Path(sys.argv[2])
    blobs = FileBlobs(data / "blobs", 0)
    store = await SqliteStore.open(data / "server.db", blobs, StoreLimits(min_free_bytes=0))
    await importer.import_old_server(Path(sys.argv[1]), store, blobs, progress)

asyncio.run(main())
"""


@pytest.mark.parametrize("done", [2, 6, 12])
async def test_it_goes_on_after_kill_9(old: Path, data: Path, done: int) -> None:
    before = picture(old)
    command = [sys.executable, "-c", KILLED, str(old), str(data), str(done)]
    killed = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    async with opened(data) as (store, blobs):
        assert (await import_old_server(old, store, blobs)).resumed
    await check_whole(data)
    assert picture(old) == before


def write(server: sql.Connection) -> None:
    server.execute("DELETE FROM messages")


def test_the_old_server_cannot_change_under_it(old: Path) -> None:
    reader = OldServer.open(old)
    with closing(sql.connect(old / "server.db")) as server:
        server.set_busy_timeout(0)
        with pytest.raises(sql.Error, match="locked"):
            write(server)
        reader.close()
        write(server)


async def test_a_large_content_needs_little_memory(old: Path, data: Path) -> None:
    with (old / "files" / "MSG11").open("wb") as file:
        file.truncate(48 << 20)
    async with opened(data) as (store, blobs):
        tracemalloc.start()
        try:
            report = await import_old_server(old, store, blobs)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert report.size > 48 << 20
    assert peak < 8 << 20


async def refused(old: Path, data: Path, said: str) -> None:
    """The import is refused; the store stays empty and usable, the old folder as it is."""
    before = picture(old)
    async with opened(data) as (store, blobs):
        with pytest.raises(StoreUnusable, match=said) as caught:
            await import_old_server(old, store, blobs)
        assert await accounts(store) == []
        assert caught.value.exit_code == 7
    assert picture(old) == before


def overwrite(old: Path, offset: int, data: bytes) -> None:
    with (old / "server.db").open("r+b") as file:
        file.seek(offset)
        file.write(data)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing there": (lambda old: (old / "server.db").unlink(), "there is no .*server.db"),
    "not a database": (lambda old: (old / "server.db").write_text("hello"), "is not a database"),
    "a damaged page": (lambda old: overwrite(old, 4096, os.urandom(4096)), "damaged"),
    "a damaged page of a content": (
        lambda old: overwrite(old, (old / "server.db").stat().st_size - 4096, b"\xff" * 4096),
        "damaged",
    ),
    "cut short": (lambda old: os.truncate(old / "server.db", 8192), "damaged"),
    "another column": (lambda old: oldworld.change(old, "ALTER TABLE clients ADD extra"), "not the database"),
    "a missing table": (lambda old: oldworld.change(old, "DROP TABLE messages"), "not the database"),
    "write-ahead log": (lambda old: oldworld.change(old, "PRAGMA journal_mode=WAL"), "not the database"),
    "a log beside it": (lambda old: (old / "server.db-wal").write_bytes(b"log"), "not closed cleanly"),
    "a hot journal": (
        lambda old: (old / "server.db-journal").write_bytes(b"\xd9\xd5\x05\xf9 \xa1c\xd7"),
        "not closed cleanly",
    ),
    "a short id": (
        lambda old: oldworld.change(old, "UPDATE clients SET client_id = 'x' WHERE rowid = 1"),
        "dam",
    ),
    "a short key": (lambda old: oldworld.change(old, "UPDATE clients SET client_pk = x'00'"), "damaged"),
    "no key": (lambda old: oldworld.change(old, "UPDATE clients SET client_pk = NULL"), "damaged"),
    "a name in another encoding": (
        lambda old: oldworld.change(old, "UPDATE clients SET client_name = x'ff41' WHERE rowid = 1"),
        "damaged",
    ),
    "no files folder": (lambda old: (old / "files").rename(old / "elsewhere"), "no folder .*files"),
}


@pytest.mark.parametrize("kind", SPOILT)
async def test_what_is_no_old_server_in_order_is_refused_untouched(old: Path, data: Path, kind: str) -> None:
    spoil, said = SPOILT[kind]
    spoil(old)
    await refused(old, data, said)


async def test_a_server_that_is_writing_is_told_from_one_at_rest(old: Path, data: Path) -> None:
    with closing(sql.connect(old / "server.db")) as server:
        server.execute("BEGIN EXCLUSIVE")
        await refused(old, data, "in use")


async def test_our_own_database_is_not_an_old_one(data: Path, tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    async with opened(tmp_path / "ours"):
        pass
    await refused(tmp_path / "ours", data, "not the database of an old server")


@pytest.mark.parametrize("trap", ["link", "pipe", "folder"])
async def test_only_plain_files_are_contents(old: Path, data: Path, tmp_path: Path, trap: str) -> None:
    path = old / "files" / "MSG11"
    secret = tmp_path / "secret"
    secret.write_text("not theirs")
    set_trap: dict[str, Callable[[], object]] = {
        "link": lambda: path.symlink_to(secret),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
    }
    set_trap[trap]()
    async with opened(data) as (store, blobs):
        with pytest.raises(StoreUnusable, match="MSG11"):
            await import_old_server(old, store, blobs)
        path.rmdir() if trap == "folder" else path.unlink()
        await import_old_server(old, store, blobs)
    await check_whole(data)


async def test_a_store_in_use_is_not_filled(old: Path, data: Path, tmp_path: Path) -> None:
    async with opened(data) as (store, blobs):
        mine = Account(AccountId.random(), "mine", bytes(160))
        await store.register(mine, MailboxId(mine.id))
        with pytest.raises(StoreUnusable, match="contents already"):
            await import_old_server(old, store, blobs)
        assert await accounts(store) == [mine]


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO messages (from_client_id, to_client_id, message_type) VALUES (x'00', x'00', 1)",
        "INSERT INTO clients VALUES (zeroblob(16) || 'x', 'dave', zeroblob(160), NULL)",
        "UPDATE clients SET client_name = 'other' WHERE rowid = 1",
    ],
)
async def test_an_old_server_that_was_used_again_is_noticed(old: Path, data: Path, change: str) -> None:
    async with opened(data) as (store, blobs):
        await import_old_server(old, store, blobs)
        before = await waiting(store, blobs)
        oldworld.change(old, change)
        with pytest.raises(StoreError):
            await import_old_server(old, store, blobs)
        assert await waiting(store, blobs) == before


async def test_numbers_are_reserved_before_the_messages_come(old: Path, data: Path) -> None:
    """A server that runs between two halves of an import gives nobody a number of the old one."""
    async with opened(data) as (store, _):
        await store.begin_takeover([(Account(AccountId(ALICE), "alice", b""), MailboxId(ALICE))], LAST_GIVEN)
        assert await store.append(Send((Delivery(MailboxId(ALICE), b""),), b"")) == (LAST_GIVEN + 1,)
        with pytest.raises(StoreUnusable):
            await store.begin_takeover([], LAST_GIVEN + 1)
