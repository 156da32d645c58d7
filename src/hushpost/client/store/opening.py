"""The checks before a profile's database is used, and its creation.

Promise: a file that is refused has the same bytes as before. Everything in it is encrypted, its header too:
without the right key it cannot even be recognised, and a wrong key looks like damage.

Several processes open one profile at once. A lock on a file of its own lets one at a time create the
database or change its schema. The database file itself is only ever opened by SQLite: closing it by other
means would drop the locks that SQLite has on it in this process.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hushpost import sql
from hushpost.client.store import schema
from hushpost.crypto.primitives import Secret
from hushpost.errors import StoreUnusable

CHECK_WHOLE = 8 * 2**20
"""Bytes up to which the whole database is checked at every start (0.1 s); beyond, samples. What is read later
is authenticated page by page in any case."""

PATIENCE = 10.0
"""Seconds to wait for other processes of the profile that are just opening it."""

CHECKPOINT_PAGES = 1_000
"""SQLite's own default: the log is put away every 4 MiB, by whoever happens to commit."""


AWAY = "get the account back as a new device: hush --profile NEW recover, with your own link and the phrase"
"""The way out where a database is gone for good: any copy of it would be an old one."""

LITTLE = 2**20
"""Free bytes below which whatever SQLite complains of is the disk: an "I/O error" is shared memory that does
not fit."""

_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0"
"""Without the search index, which has tables of its own, and would be read whole to be sorted."""


class StoreKey(Secret):
    """What a profile's database is encrypted with. 32 random bytes, used as they are."""

    __slots__ = ()


def open_database(path: Path, key: StoreKey) -> sql.Connection:
    """Check it, create it if there is none, bring its schema up to date.

    Raises:
        StoreUnusable: and its bytes are what they were.
    """
    sql.check_library()
    with only_one(beside(path, ".lock"), path):
        try:
            if not _is_there(path):
                _create(path, key)
            _examine(path, key)
            return _connect(path, key)
        except sql.Error as error:
            raise explained(path, error) from error


def beside(path: Path, suffix: str) -> Path:
    """A file that belongs to the database, next to it."""
    return path.with_name(path.name + suffix)


@contextmanager
def only_one(lock: Path, path: Path) -> Iterator[None]:
    """Wait until no other process does the same; a process that dies lets go.

    Raises:
        StoreUnusable: it takes too long, or the folder cannot be written.
    """
    try:
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unreadable(path, error) from error
    deadline = time.monotonic() + PATIENCE
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise StoreUnusable(f"{path} is being opened by a process that hangs") from error
                time.sleep(0.02)
        yield
    finally:
        os.close(file)


def _is_there(path: Path) -> bool:
    try:
        size = path.stat().st_size if path.is_file() else -path.exists()
    except OSError as error:
        raise _unreadable(path, error) from error
    if size < 0:
        raise StoreUnusable(f"{path} is not a file")
    log = beside(path, "-wal")
    if not size and log.exists() and log.stat().st_size:
        raise StoreUnusable(
            f"{path} is missing, but its log {log.name} is there",
            hint="put the database back beside its log, or move the log away",
        )
    return size > 0


def _create(path: Path, key: StoreKey) -> None:
    """Build it under another name and rename it: it is whole from the start, or not there."""
    draft = beside(path, ".new")
    try:
        for leftover in (draft, beside(draft, "-journal"), beside(draft, "-wal"), beside(draft, "-shm")):
            leftover.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sql.connect(draft, key=key)) as connection:
            _set_up(connection)
            connection.execute(f"PRAGMA application_id={schema.APPLICATION_ID}")
            sql.migrate(connection, schema.STEPS)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        draft.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, sql.Error) as error:
        raise StoreUnusable(
            f"{path} cannot be created: {error}", hint="check the folder and its disk"
        ) from error


def _examine(path: Path, key: StoreKey) -> None:
    """Read through it on a connection that cannot write."""
    with closing(sql.connect(path, "ro", key=key)) as connection:
        connection.set_busy_timeout(PATIENCE)
        try:
            found = connection.execute("PRAGMA application_id").fetchone()[0]
            tables = connection.execute(_TABLES).fetchall()
        except sql.Error as error:
            if sql.code_of(error) is sql.Code.NOT_A_DATABASE:
                raise _not_ours(path) from error
            raise
        if not tables:  # SQLite takes a file of a few bytes for an empty database
            raise _not_ours(path)
        if found != schema.APPLICATION_ID:
            raise StoreUnusable(f"{path} belongs to another program")
        if sql.version_of(connection) > schema.VERSION:
            raise newer(path)
        if path.stat().st_size <= CHECK_WHOLE:
            if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise _damaged(path)
            return
        for (table,) in tables:
            for order in ("ASC", "DESC"):
                connection.execute(f'SELECT * FROM "{table}" ORDER BY 1 {order} LIMIT 1').fetchall()


def _not_ours(path: Path) -> StoreUnusable:
    """It does not open with the key. Perhaps it is not encrypted at all?"""
    try:
        with closing(sql.connect(path, "ro", immutable=True)) as connection:
            if connection.execute("SELECT 1 FROM sqlite_schema").fetchone() is not None:
                return StoreUnusable(f"{path} belongs to another program")
    except sql.Error:
        pass
    return StoreUnusable(
        f"{path} does not open with this profile's key: it is damaged, or belongs to another profile",
        hint=f"put database and key file back together as they were; or {AWAY}",
    )


def _connect(path: Path, key: StoreKey) -> sql.Connection:
    connection = sql.connect(path, key=key)
    try:
        connection.set_busy_timeout(PATIENCE)
        # Can it be written? A transaction with a write in it, that is rolled back, tells.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA user_version={sql.version_of(connection)}")
        connection.execute("ROLLBACK")
        _set_up(connection)
        sql.migrate(connection, schema.STEPS)
        connection.set_busy_timeout(sql.RUNNING_PATIENCE)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sql.Connection) -> None:
    """Durable, and nothing deleted stays readable in the file.

    `cipher_memory_security` stays off: it locks and wipes SQLite's memory, of which small machines may lock
    little; the same keys and texts stand in Python's, which nothing wipes.
    """
    sql.make_durable(connection)
    connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    connection.execute("PRAGMA secure_delete=ON")
    if connection.execute("PRAGMA secure_delete").fetchone()[0] != 1:
        raise StoreUnusable("SQLite refuses to overwrite what is deleted")


def _unreadable(path: Path, error: OSError) -> StoreUnusable:
    hint = {
        errno.ENOSPC: "make room on this disk and repeat the command",
        errno.EROFS: "its disk is mounted read-only: a profile is written whenever it is used",
    }.get(error.errno or 0, "check its permissions")
    return StoreUnusable(f"{path} cannot be opened: {os.strerror(error.errno or 0)}", hint=hint)


def _damaged(path: Path) -> StoreUnusable:
    return StoreUnusable(f"{path} is damaged", hint=AWAY)


def newer(path: Path) -> StoreUnusable:
    """A schema with steps that we do not know."""
    return StoreUnusable(
        f"{path} was written by a newer Hushpost", hint="install that version or a newer one"
    )


def explained(path: Path, error: Exception) -> StoreUnusable:
    """What SQLite says at the opening, as one sentence."""
    code = sql.code_of(error)
    if code is sql.Code.BUSY:
        return StoreUnusable(f"{path} is locked by another program", hint="close it there")
    if os.statvfs(path.parent).f_flag & os.ST_RDONLY:
        return _unreadable(path, OSError(errno.EROFS, ""))
    if code is sql.Code.FULL or shutil.disk_usage(path.parent).free < LITTLE:
        return _unreadable(path, OSError(errno.ENOSPC, ""))
    if code in (sql.Code.READONLY, sql.Code.CANNOT_OPEN):
        return StoreUnusable(f"{path} cannot be opened for writing", hint="check permissions and owner")
    if code in (sql.Code.CORRUPT, sql.Code.NOT_A_DATABASE):
        return _damaged(path)
    return StoreUnusable(f"{path} cannot be opened: {error}")
