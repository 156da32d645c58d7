"""A refused database keeps its bytes; a new one is whole or not there; without the key it is noise."""

from __future__ import annotations

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
from hushpost.client.store import Store, StoreKey, opening, schema
from hushpost.errors import ExitCode, StoreUnusable
from tests.client.store.conftest import KEY


@pytest.fixture
def filled(path: Path) -> Path:
    """A closed database with some rows."""
    with Store.open(path, KEY) as store, store.transaction() as t:
        for number in range(300):
            t.events.add(b"a secret payload" * 20, number)
    return path


def digests(path: Path) -> dict[str, str]:
    """Of the database and its log; the other files are for processes to meet, and hold nothing."""
    return {
        entry.name: hashlib.sha256(entry.read_bytes()).hexdigest()
        for entry in path.parent.iterdir()
        if entry.is_file() and not entry.name.endswith((".lock", "-shm"))
    }


def refused(path: Path, saying: str, key: StoreKey = KEY) -> StoreUnusable:
    """Opening must fail with this sentence and leave the bytes alone, twice in a row."""
    before = digests(path)
    for _ in range(2):
        with pytest.raises(StoreUnusable, match=saying) as refusal:
            Store.open(path, key)
        assert before.items() <= digests(path).items()
    assert refusal.value.exit_code is ExitCode.STORE_UNUSABLE
    return refusal.value


class TestForeign:
    def test_another_key(self, filled: Path, capfd: pytest.CaptureFixture[str]) -> None:
        refusal = refused(filled, "does not open with this profile's key", StoreKey.random())
        assert "key file" in refusal.hint
        assert capfd.readouterr() == ("", ""), "the library below has nothing to say of its own"

    def test_another_key_while_the_log_is_full(self, path: Path) -> None:
        """What a crash left in the log must not be put away under a key that is not its own."""
        run_python(
            "import os, sys; from pathlib import Path; from hushpost.client.store import Store, StoreKey\n"
            "store = Store.open(Path(sys.argv[1]), StoreKey(bytes(range(32))))\n"
            "with store.transaction() as t: t.events.add(b'kept', 1)\n"
            "os._exit(0)",
            path,
        )
        assert opening.beside(path, "-wal").stat().st_size > 0
        refused(path, "does not open", StoreKey.random())
        with Store.open(path, KEY) as store, store.reading() as t:
            assert [event.payload for event in t.events.after(0)] == [b"kept"]

    @pytest.mark.parametrize("content", [b"x", b"not a database at all" * 500, bytes(4096), os.urandom(8192)])
    def test_something_else(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        refused(path, "does not open")

    def test_another_programs_database(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE clients (x)")
        refused(path, "belongs to another program")

    def test_another_programs_database_under_our_key(self, filled: Path) -> None:
        change(filled, "PRAGMA application_id=7")
        refused(filled, "belongs to another program")

    def test_a_newer_version(self, filled: Path) -> None:
        change(filled, f"PRAGMA user_version={schema.VERSION + 1}")
        refused(filled, "newer Hushpost")

    def test_a_log_without_its_database(self, path: Path) -> None:
        opening.beside(path, "-wal").write_bytes(b"something")
        refused(path, "missing")

    def test_a_folder(self, path: Path) -> None:
        path.mkdir()
        refused(path, "not a file")

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(StoreUnusable, match="cannot be opened"):
            Store.open(tmp_path / "missing" / "profile.db", KEY)


class TestDamaged:
    @pytest.mark.parametrize("whole", [True, False], ids=["small", "large"])
    @pytest.mark.parametrize("harm", ["header", "one bit", "cut", "pages"])
    def test_by(self, filled: Path, monkeypatch: pytest.MonkeyPatch, harm: str, whole: bool) -> None:
        if not whole:
            monkeypatch.setattr(opening, "CHECK_WHOLE", 0)
        content = bytearray(filled.read_bytes())
        if harm == "header":
            content[:100] = bytes(100)
        elif harm == "one bit":
            content[5000] ^= 1
        elif harm == "cut":
            del content[len(content) // 2 // 4096 * 4096 :]
        else:
            content[4096:] = os.urandom(len(content) - 4096)
        filled.write_bytes(content)
        assert "hush --profile NEW recover" in refused(filled, "damaged").hint

    def test_where_only_a_later_look_finds_it(self, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing false is ever read: each page is authenticated. `check` looks at all of them."""
        monkeypatch.setattr(opening, "CHECK_WHOLE", 0)
        content = bytearray(filled.read_bytes())
        with Store.open(filled, KEY) as store:
            assert store.check()
        found = []
        for page in range(2, len(content) // 4096):
            harmed = content.copy()
            harmed[page * 4096 + 77] ^= 1
            filled.write_bytes(harmed)
            try:
                with Store.open(filled, KEY) as store:
                    found.append(store.check())
            except StoreUnusable:
                continue
        assert found
        assert not any(found)


class TestDisk:
    """What SQLite calls an I/O error is told by what the disk is like."""

    def test_full(self, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        usage = shutil.disk_usage(filled.parent)._replace(free=4096)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        told = opening.explained(filled, sqlite3.OperationalError("disk I/O error"))
        assert "No space left" in str(told)
        assert "make room" in told.hint

    def test_read_only(self, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        flags = list(os.statvfs(filled.parent))
        flags[8] |= os.ST_RDONLY
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(flags))
        assert "mounted read-only" in opening.explained(filled, sqlite3.OperationalError("readonly")).hint

    def test_neither(self, filled: Path) -> None:
        assert "disk I/O error" in str(opening.explained(filled, sqlite3.OperationalError("disk I/O error")))


class TestInaccessible:
    @pytest.mark.parametrize("mode", [0o000, 0o444])
    def test_permissions(self, filled: Path, mode: int) -> None:
        """In a process without root's privileges, whoever runs the tests."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o777)
            path = Path(shutil.copy(filled, folder))
            path.chmod(mode)
            before = path.stat().st_size
            assert "cannot be opened" in run_python(AS_NOBODY, path).stdout
            assert path.stat().st_size == before

    def test_locked_by_another_program(self, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(opening, "PATIENCE", 0.05)
        with holding(filled, "PRAGMA locking_mode=EXCLUSIVE", "BEGIN EXCLUSIVE"):
            refused(filled, "locked by another program")

    def test_while_another_process_opens_it_and_hangs(
        self, filled: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(opening, "PATIENCE", 0.05)
        with opening.only_one(opening.beside(filled, ".lock"), filled):
            refused(filled, "hangs")
        Store.open(filled, KEY).close()


class TestCreating:
    def test_without_the_key_it_is_noise(self, filled: Path) -> None:
        content = filled.read_bytes()
        assert b"SQLite" not in content
        assert b"CREATE TABLE" not in content
        assert b"secret payload" not in content
        assert len(set(content[:4096])) > 200

    def test_for_nobody_else_to_read(self, path: Path) -> None:
        before = os.umask(0)
        try:
            with Store.open(path, KEY) as store, store.transaction() as t:
                t.events.add(b"", 0)
                modes = {entry.name: entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()}
        finally:
            os.umask(before)
        assert modes == dict.fromkeys(modes, 0o600)
        assert set(modes) >= {"profile.db", "profile.db-wal", "profile.db-shm", "profile.db.lock"}

    @pytest.mark.parametrize(
        "leftover", ["profile.db", "profile.db.new", "profile.db.new-wal", "profile.db-wal"]
    )
    def test_after_a_crash_while_creating(self, path: Path, leftover: str) -> None:
        path.with_name(leftover).write_bytes(b"half a database" if ".new" in leftover else b"")
        Store.open(path, KEY).close()
        assert sorted(entry.name for entry in path.parent.iterdir()) == ["profile.db", "profile.db.lock"]

    def test_settings_are_read_back(self, path: Path) -> None:
        with closing(opening.open_database(path, KEY)) as connection:
            wanted = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "foreign_keys": 1}
            read = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted}
        assert read == wanted

    def test_that_fails_half_way_leaves_no_database(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = (*schema.STEPS, sql.Step("broken", ("CREATE nonsense",)))
        monkeypatch.setattr(schema, "STEPS", broken)
        with pytest.raises(StoreUnusable, match="cannot be created"):
            Store.open(path, KEY)
        assert not path.exists()

    def test_by_several_processes_at_once(self, path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from hushpost.client.store import Store, StoreKey\n"
            "with Store.open(Path(sys.argv[1]), StoreKey(bytes(range(32)))) as store:\n"
            "    with store.transaction() as t: t.events.add(b'', 1)"
        )
        running = [subprocess.Popen([sys.executable, "-c", program, str(path)]) for _ in range(4)]
        assert [process.wait() for process in running] == [0] * 4
        with Store.open(path, KEY) as store, store.reading() as t:
            assert t.events.newest() == 4


class TestMigrating:
    def test_a_later_step_is_taken_at_the_next_opening(
        self, filled: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        later = sql.Step("later", ("CREATE TABLE later (x INTEGER) STRICT",))
        monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, later))
        monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
        with Store.open(filled, KEY) as store, store.transaction() as t:
            assert t.events.newest() == 300

    def test_a_process_that_is_too_old_by_now_writes_no_more(self, filled: Path) -> None:
        with Store.open(filled, KEY) as store:
            change(filled, f"PRAGMA user_version={schema.VERSION + 1}")
            with pytest.raises(StoreUnusable, match="newer Hushpost"), store.transaction() as t:
                t.events.add(b"", 0)


def change(path: Path, *statements: str) -> None:
    with closing(sql.connect(path, key=KEY)) as connection:
        for statement in statements:
            connection.execute(statement)


AS_NOBODY = """
import os, sys
from pathlib import Path
from hushpost.client.store import Store, StoreKey
from hushpost.errors import StoreUnusable
if not os.geteuid():
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    Store.open(Path(sys.argv[1]), StoreKey(bytes(range(32))))
except StoreUnusable as refusal:
    print(refusal)
"""


def run_python(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], check=True, capture_output=True, text=True
    )


@contextmanager
def holding(path: Path, *statements: str) -> Iterator[None]:
    """Another process that has done this to the database and sits there."""
    program = (
        "import sys; from pathlib import Path; from hushpost import sql\n"
        "db = sql.connect(Path(sys.argv[1]), key=bytes(range(32)))\n"
        "for statement in sys.argv[2:]: db.execute(statement)\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(path), *statements]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        yield
        other.communicate()
