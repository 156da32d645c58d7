"""Every refusal leaves the database as it was, to the byte; creation is all or nothing."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from hushpost import sql
from hushpost.errors import ExitCode, StoreUnusable
from hushpost.ids import AccountId, MailboxId
from hushpost.stores import opening
from hushpost.stores.base import Account, Delivery, Send
from hushpost.stores.memory import MemoryBlobs
from hushpost.stores.migrations import CLASSIC, Schema
from hushpost.stores.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.db"


@pytest.fixture
def filled(path: Path) -> Path:
    """A closed database of ours with some rows."""

    async def fill() -> None:
        store = await SqliteStore.open(path, MemoryBlobs())
        box = MailboxId.random()
        await store.register(Account(AccountId.random(), "name", b"key"), box)
        for _ in range(300):
            await store.append(Send((Delivery(box, b"h"),), b"body" * 100))
        await store.close()

    asyncio.run(fill())
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refused(path: Path, saying: str) -> StoreUnusable:
    """Opening must fail with this sentence and leave the bytes alone, twice in a row."""
    before = digest(path) if path.is_file() else None
    for _ in range(2):
        with pytest.raises(StoreUnusable, match=saying) as refusal:
            opening.open_database(path, CLASSIC)
        assert before == (digest(path) if path.is_file() else None)
    assert refusal.value.exit_code is ExitCode.STORE_UNUSABLE
    return refusal.value


class TestForeign:
    @pytest.mark.parametrize(
        "content", [b"x", b"not a database at all" * 100, bytes(4096), b"SQLite format 3\0"]
    )
    def test_not_a_database(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        refused(path, "not a database")
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]

    def test_another_programs_database(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE clients (x)")
        refused(path, "belongs to another program")
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]

    def test_the_old_servers_database(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as old:
            old.execute("CREATE TABLE clients (client_id TEXT PRIMARY KEY, client_name TEXT UNIQUE)")
            old.execute("CREATE TABLE messages (message_id INTEGER PRIMARY KEY AUTOINCREMENT)")
        assert "hush classic import DIR" in refused(path, "old server").hint

    def test_a_newer_version(self, filled: Path) -> None:
        with closing(sql.connect(filled)) as connection:
            connection.execute(f"PRAGMA user_version={CLASSIC.version + 1}")
        refused(filled, "newer Hushpost")

    def test_a_newer_version_that_only_the_log_tells(self, filled: Path) -> None:
        """A newer server was killed right after its migration: the file's header does not know yet."""
        run_python(
            "import os, sys; from pathlib import Path; from hushpost import sql\n"
            "db = sql.connect(Path(sys.argv[1])); sql.make_durable(db)\n"
            "db.execute('PRAGMA user_version=99'); os._exit(0)",
            filled,
        )
        assert opening.beside(filled, "-wal").stat().st_size > 0
        refused(filled, "newer Hushpost")

    def test_a_log_without_its_database(self, path: Path) -> None:
        opening.beside(path, "-wal").write_bytes(b"something")
        refused(path, "missing")


class TestDamaged:
    def test_a_page_overwritten(self, filled: Path) -> None:
        content = bytearray(filled.read_bytes())
        for page in range(2, len(content) // 4096):
            content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
        filled.write_bytes(content)
        refused(filled, "damaged")

    def test_cut_off(self, filled: Path) -> None:
        os.truncate(filled, filled.stat().st_size // 2 // 4096 * 4096)
        refused(filled, "damaged")

    @pytest.mark.parametrize("harm", ["cut", "schema", "last rows"])
    def test_in_a_database_too_large_to_be_read_whole(
        self, filled: Path, monkeypatch: pytest.MonkeyPatch, harm: str
    ) -> None:
        monkeypatch.setattr(opening, "CHECK_WHOLE", 0)
        content = bytearray(filled.read_bytes())
        if harm == "cut":
            del content[len(content) // 2 // 4096 * 4096 :]
        elif harm == "schema":
            content[100:200] = b"\xff" * 100
        else:
            content[4096:] = b"\xff" * (len(content) - 4096)
        filled.write_bytes(content)
        refused(filled, "damaged")


class TestInaccessible:
    def test_a_folder(self, path: Path) -> None:
        path.mkdir()
        refused(path, "not a file")

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        refused(tmp_path / "missing" / "server.db", "cannot be read")

    def test_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        refused(tmp_path / "file" / "server.db", "cannot be read")

    @pytest.mark.parametrize(
        ("mode", "saying"), [(0o000, "cannot be read"), (0o444, "cannot be opened for writing")]
    )
    def test_permissions(self, filled: Path, mode: int, saying: str) -> None:
        """In a process without root's privileges, whoever runs the tests."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o777)  # so that the lock file is no problem, only the database is
            path = Path(shutil.copy(filled, folder))
            path.chmod(mode)
            before = digest(path) if mode or not os.geteuid() else None
            done = run_python(AS_NOBODY, path)
            assert saying in done.stdout
            path.chmod(0o600)
            assert before in (digest(path), None)


AS_NOBODY = """
import os, sys
from pathlib import Path
from hushpost.errors import StoreUnusable
from hushpost.stores import opening
from hushpost.stores.migrations import CLASSIC
if not os.geteuid():
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    opening.open_database(Path(sys.argv[1]), CLASSIC)
except StoreUnusable as refusal:
    print(refusal)
"""


def run_python(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], check=True, capture_output=True, text=True
    )


class TestLocked:
    @pytest.fixture(autouse=True)
    def hurried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sql, "OPENING_PATIENCE", 0.01)

    def test_by_another_server(self, filled: Path) -> None:
        first = opening.open_database(filled, CLASSIC)
        refused(filled, "another Hushpost server")
        first.close()
        opening.open_database(filled, CLASSIC).close()

    def test_by_another_program(self, filled: Path) -> None:
        with holding(filled, "BEGIN IMMEDIATE"):
            refused(filled, "locked by another program")

    def test_by_another_program_that_lets_nobody_read(self, filled: Path) -> None:
        with holding(filled, "PRAGMA locking_mode=EXCLUSIVE", "BEGIN EXCLUSIVE"):
            refused(filled, "locked by another program")


@contextmanager
def holding(path: Path, *statements: str) -> Iterator[None]:
    """Another process that has done this to the database and sits there."""
    program = (
        "import sys; from pathlib import Path; from hushpost import sql\n"
        "db = sql.connect(Path(sys.argv[1]))\n"
        "for statement in sys.argv[2:]: db.execute(statement)\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(path), *statements]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        yield
        other.communicate()


class TestCreating:
    def test_whole_from_the_start(self, path: Path) -> None:
        """What is needed to recognise it is in the file itself, not only in its log."""
        database = opening.open_database(path, CLASSIC)
        content = path.read_bytes()
        assert int.from_bytes(content[68:72], "big") == CLASSIC.kind
        assert int.from_bytes(content[60:64], "big") == CLASSIC.version
        assert b"CREATE TABLE envelope" in content
        database.close()

    def test_for_nobody_else_to_read(self, path: Path) -> None:
        database = opening.open_database(path, CLASSIC)
        modes = {entry.name: entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()}
        assert modes == dict.fromkeys(modes, 0o600)
        assert set(modes) >= {"server.db", "server.db-wal", "server.db.lock"}
        database.close()

    @pytest.mark.parametrize("leftover", ["server.db", "server.db.new", "server.db.new-wal", "server.db-wal"])
    def test_after_a_crash_while_creating(self, path: Path, leftover: str) -> None:
        content = b"half a database" if ".new" in leftover else b""
        path.with_name(leftover).write_bytes(content)
        opening.open_database(path, CLASSIC).close()
        assert sorted(entry.name for entry in path.parent.iterdir()) == ["server.db", "server.db.lock"]

    def test_what_makes_an_answer_durable_is_read_back(self, path: Path) -> None:
        connection = opening.open_database(path, CLASSIC).connection
        read = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("synchronous", "journal_mode")
        }
        assert read == {"synchronous": 2, "journal_mode": "wal"}
        connection.close()

    def test_an_sqlite_that_ignores_it_is_refused(self, path: Path) -> None:
        """A database in memory has no log, whatever one sets."""
        with (
            closing(sql.connect(Path("x"), "memory")) as connection,
            pytest.raises(StoreUnusable, match="journal"),
        ):
            sql.make_durable(connection)

    def test_an_sqlite_with_the_known_bug_is_refused(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sql, "OLDEST_LIBRARY", (99, 0, 0))
        refused(path, "can corrupt databases")
        assert not path.exists()

    def test_that_fails_half_way_leaves_no_database(self, path: Path) -> None:
        with pytest.raises(StoreUnusable, match="cannot be created"):
            opening.open_database(path, Schema(CLASSIC.kind, ()))
        assert not path.exists()


class TestMigrating:
    STEPS = (
        *CLASSIC.steps,
        sql.Step("a first", ("CREATE TABLE two (x)", "INSERT INTO two VALUES (2)")),
        sql.Step("a second", ("CREATE TABLE three (x)", "INSERT INTO nowhere VALUES (3)")),
    )

    def test_each_step_is_taken_once(self, filled: Path) -> None:
        with closing(sql.connect(filled)) as connection:
            for _ in range(2):
                sql.migrate(connection, self.STEPS[:-1])
            assert sql.version_of(connection) == CLASSIC.version + 1
            assert connection.execute("SELECT count(*) FROM envelope").fetchone() == (300,)
            assert connection.execute("SELECT * FROM two").fetchall() == [(2,)]

    def test_a_step_is_whole_or_not_at_all(self, filled: Path) -> None:
        with closing(sql.connect(filled)) as connection:
            with pytest.raises(sql.Error, match="nowhere"):
                sql.migrate(connection, self.STEPS)
            assert sql.version_of(connection) == CLASSIC.version + 1
            assert not connection.execute("SELECT * FROM sqlite_schema WHERE name = 'three'").fetchall()

    def test_an_older_version_is_brought_up_to_date(self, filled: Path) -> None:
        newer = Schema(CLASSIC.kind, self.STEPS[:-1])
        opening.open_database(filled, newer).close()
        assert int.from_bytes(filled.read_bytes()[60:64], "big") == newer.version == CLASSIC.version + 1
