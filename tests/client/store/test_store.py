"""Transactions: all or nothing, one at a time across processes; what is deleted is gone from the files."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hushpost import sql
from hushpost.client.store import Store, StoreThread, Tables
from hushpost.crypto.olm import SessionHash
from hushpost.errors import StoreFailed, StoreUnusable
from hushpost.ids import DeviceId
from tests.client.store.conftest import KEY
from tests.client.store.pages import readable
from tests.client.store.test_history import ALICE, text

BOBS = DeviceId(b"b" * 16)
FIRST = SessionHash(b"1" * 16)


def payloads(store: Store) -> list[bytes]:
    with store.reading() as t:
        return [event.payload for event in t.events.after(0, 10_000)]


class TestTransactions:
    def test_all_or_nothing(self, store: Store) -> None:
        def half() -> None:
            with store.transaction() as t:
                t.events.add(b"one", 1)
                t.olm.keep(b"pickle")
                raise KeyError

        with pytest.raises(KeyError):
            half()
        assert payloads(store) == []
        with store.transaction() as t:
            assert t.olm.pickle() is None
            t.events.add(b"two", 2)
        assert payloads(store) == [b"two"]

    def test_nothing_is_done_outside_of_one(self, store: Store) -> None:
        with store.transaction() as t:
            kept = t
        with pytest.raises(RuntimeError, match="outside"):
            kept.events.newest()
        with pytest.raises(RuntimeError, match="outside"):
            kept.olm.keep(b"")

    def test_nothing_is_written_while_reading(self, store: Store) -> None:
        with store.reading() as t, pytest.raises(RuntimeError, match="for reading"):
            t.events.add(b"", 1)
        assert payloads(store) == []

    def test_one_inside_of_another_is_a_mistake_and_ends_both(self, store: Store) -> None:
        def nested() -> None:
            with store.transaction() as t:
                t.events.add(b"", 1)
                with store.transaction():
                    pass

        with pytest.raises(RuntimeError, match="inside of another"):
            nested()
        assert payloads(store) == []

    def test_reading_sees_one_state(self, store: Store, path: Path) -> None:
        with Store.open(path, KEY) as other:
            with store.reading() as t:
                assert t.events.newest() == 0
                with other.transaction() as theirs:
                    theirs.events.add(b"new", 1)
                assert t.events.newest() == 0
            assert payloads(store) == [b"new"]

    def test_changes_of_others_are_noticed(self, store: Store, path: Path) -> None:
        with Store.open(path, KEY) as other:
            before = store.data_version()
            with store.transaction() as t:
                t.events.add(b"ours", 1)
            assert store.data_version() == before
            with other.transaction() as t:
                t.events.add(b"theirs", 1)
            assert store.data_version() != before

    def test_a_lock_that_is_held_for_long(
        self, store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sql, "RUNNING_PATIENCE", 0.05)
        with (
            Store.open(path, KEY) as other,
            store.transaction(),
            pytest.raises(StoreUnusable, match="locked by another"),
            other.transaction(),
        ):
            pass

    def test_a_note_does_not_wait_for_the_disk_and_whatever_follows_does(self, store: Store) -> None:
        def waits() -> int:
            return int(store._connection.execute("PRAGMA synchronous").fetchone()[0])

        with store.note() as t:
            t.events.add(b"noted", 1)
            assert waits() == 1
        with store.transaction() as t:
            assert waits() == 2
        with pytest.raises(KeyError), store.note():
            raise KeyError
        assert waits() == 2
        assert payloads(store) == [b"noted"]

    def test_a_disk_that_fails(self, store: Store, path: Path) -> None:
        """Damage that comes while the database is open is not read as if it were data."""
        with store.transaction() as t:
            for number in range(3_000):
                t.events.add(bytes(500), number)
        assert store.purge()
        content = bytearray(path.read_bytes())
        store.close()
        with Store.open(path, KEY) as opened:
            content[8192:] = os.urandom(len(content) - 8192)
            path.write_bytes(content)
            with pytest.raises(StoreFailed), opened.transaction() as t:
                t.events.after(0, 10_000)
            assert not opened.check()


WRITER = """
import sys
from pathlib import Path
from hushpost.client.store import Store, StoreKey
store = Store.open(Path(sys.argv[1]), StoreKey(bytes(range(32))))
for round in range(int(sys.argv[3])):
    with store.transaction() as t:
        seen = t.events.newest()
        pickle = t.olm.pickle() or b"0"
        t.olm.keep(str(int(pickle) + 1).encode())
        assert t.events.add(sys.argv[2].encode(), round) == seen + 1
store.close()
"""

VICTIM = """
import sys
from pathlib import Path
from hushpost.client.store import Store, StoreKey
store = Store.open(Path(sys.argv[1]), StoreKey(bytes(range(32))))
number = 0
while True:
    with store.transaction() as t:
        t.olm.keep(b"%d" % number)
        for half in range(20):
            t.events.add(b"%d" % number, half)
        if number == 5:
            print("inside", flush=True)
            sys.stdin.read()
    number += 1
"""


NOTER = """
import os, signal, sys
from pathlib import Path
from hushpost.client.store import Store, StoreKey
store = Store.open(Path(sys.argv[1]), StoreKey(bytes(range(32))))
with store.note() as t:
    t.events.add(b"noted", 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


class TestProcesses:
    def test_two_never_use_one_state_twice(self, path: Path) -> None:
        """The rule for ratchets: read, changed and kept under one lock, from the reading on."""
        Store.open(path, KEY).close()
        running = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, "100"])
            for name in ("a", "b", "c")
        ]
        assert [process.wait() for process in running] == [0, 0, 0]
        with Store.open(path, KEY) as store:
            with store.reading() as t:
                assert t.olm.pickle() == b"300"
            assert sorted(payloads(store)) == [b"a"] * 100 + [b"b"] * 100 + [b"c"] * 100

    def test_one_that_is_killed_within_a_transaction_leaves_nothing_of_it(self, path: Path) -> None:
        command = [sys.executable, "-c", VICTIM, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as victim:
            assert victim.stdout is not None
            assert victim.stdout.readline() == b"inside\n"
            victim.send_signal(signal.SIGKILL)
            victim.wait()
        with Store.open(path, KEY) as store:
            with store.transaction() as t:
                assert t.olm.pickle() == b"4"
            assert payloads(store) == [b"%d" % number for number in range(5) for _ in range(20)]

    def test_a_note_outlives_the_process_that_made_it(self, path: Path) -> None:
        ended = subprocess.run([sys.executable, "-c", NOTER, str(path)], check=False)
        assert ended.returncode == -signal.SIGKILL
        with Store.open(path, KEY) as store:
            assert payloads(store) == [b"noted"]


class TestPurge:
    """With the key in hand, every byte of the files is looked at, valid or not."""

    SECRET = b"a ratchet that must be forgotten" * 8

    def test_the_helper_sees_what_is_there(self, store: Store, path: Path) -> None:
        with store.transaction() as t:
            t.sessions.add(BOBS, FIRST, self.SECRET, 1)
        assert self.SECRET in readable(path, KEY)

    @pytest.mark.parametrize("how", ["replaced", "deleted", "account", "long"])
    def test_what_was_deleted_is_in_no_file(self, store: Store, path: Path, how: str) -> None:
        secret = self.SECRET * (100 if how == "long" else 1)
        with store.transaction() as t:
            if how == "account":
                t.olm.keep(secret)
            else:
                t.sessions.add(BOBS, FIRST, secret, 1)
        assert store.purge(), "the secret reaches the database file, too"
        assert self.SECRET in readable(path, KEY)
        with store.transaction() as t:
            session = t.sessions.active(BOBS)
            if how == "account":
                t.olm.keep(b"another")
            elif how == "replaced" and session:
                t.sessions.encrypted(session, b"another")
            else:
                t.sessions.forget(BOBS)
        assert store.purge_due()
        assert store.purge()
        assert not store.purge_due()
        assert self.SECRET not in readable(path, KEY)

    def test_it_is_due_until_it_was_done(self, path: Path) -> None:
        """Also in the next life of the process."""
        with Store.open(path, KEY) as store, store.transaction() as t:
            t.sessions.add(BOBS, FIRST, self.SECRET, 1)
        with Store.open(path, KEY) as store:
            assert store.purge_due()
            assert store.purge()
        with Store.open(path, KEY) as store:
            assert not store.purge_due()

    def test_not_while_somebody_reads(self, store: Store, path: Path) -> None:
        with store.transaction() as t:
            t.sessions.add(BOBS, FIRST, self.SECRET, 1)
        with Store.open(path, KEY) as other:
            with other.reading() as t:
                t.events.newest()
                with store.transaction() as ours:
                    ours.sessions.forget(BOBS)
                assert not store.purge(patience=0.05)
                assert store.purge_due()
            assert store.purge(patience=1)
        assert self.SECRET not in readable(path, KEY)

    def test_not_if_another_process_deletes_meanwhile(self, store: Store, path: Path) -> None:
        """What it put away was not yet what the other one has deleted: it goes round again."""
        with store.transaction() as t:
            t.sessions.add(BOBS, FIRST, self.SECRET, 1)
        assert store.purge()
        with Store.open(path, KEY) as other:

            class Interrupted(Store):
                rounds = 0

                def _purged(self, version: int) -> bool:
                    self.rounds += 1
                    if self.rounds == 1:
                        with other.transaction() as t:
                            t.sessions.forget(BOBS)
                    return super()._purged(version)

            with Interrupted.open(path, KEY) as interrupted:
                assert interrupted.purge()
                assert interrupted.rounds == 2
                assert self.SECRET not in readable(path, KEY)

    def test_it_waits_for_a_reader_that_is_nearly_done(self, store: Store, path: Path) -> None:
        inside, done = threading.Event(), threading.Event()

        def read() -> None:
            with Store.open(path, KEY) as other, other.reading() as t:
                t.events.newest()
                inside.set()
                done.wait(0.2)

        with store.transaction() as t:
            t.sessions.add(BOBS, FIRST, self.SECRET, 1)
        reader = threading.Thread(target=read)
        reader.start()
        inside.wait()
        with store.transaction() as t:
            t.sessions.forget(BOBS)
        assert store.purge(patience=10)
        reader.join()

    def test_a_deleted_text_is_not_in_the_search_index(self, store: Store, path: Path) -> None:
        with store.transaction() as t:
            t.history.add(text(b"m", "unforgettable words", contact=ALICE), BOBS, b"")
        assert store.purge()
        assert b"unforgettable" in readable(path, KEY)
        with store.transaction() as t:
            t.history.forget(ALICE)
        assert store.purge()
        assert b"unforgettable" not in readable(path, KEY)


class TestThread:
    async def test_transactions_do_not_block_the_loop(self, path: Path) -> None:
        store = await StoreThread.open(path, KEY)

        def add(t: Tables) -> int:
            return t.events.add(b"x", 1)

        numbers = await asyncio.gather(*(store.transaction(add) for _ in range(20)))
        assert sorted(numbers) == list(range(1, 21))
        assert await store.reading(lambda t: t.events.newest()) == 20
        assert await store.data_version() == await store.data_version()
        assert await store.purge()
        await store.close()

    async def test_what_goes_wrong_comes_back(self, path: Path) -> None:
        store = await StoreThread.open(path, KEY)
        with pytest.raises(ZeroDivisionError):
            await store.transaction(lambda t: t.events.add(b"", 1) // 0)
        assert await store.reading(lambda t: t.events.newest()) == 0
        await store.close()

    async def test_a_database_that_does_not_open(self, tmp_path: Path) -> None:
        with pytest.raises(StoreUnusable):
            await StoreThread.open(tmp_path / "missing" / "profile.db", KEY)
