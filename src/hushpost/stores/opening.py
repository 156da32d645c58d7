"""The checks before a database is used, and its creation.

Promise: a file that is refused has the same bytes as before, whatever is wrong with it. So everything
is looked at first without SQLite, then through a connection that cannot write.

A new database is built under another name and renamed: under its own name it is whole from the start,
and a crash in between leaves nothing that the next start could misread.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hushpost import sql
from hushpost.errors import StoreUnusable
from hushpost.stores.migrations import Kind, Schema

T = TypeVar("T")

CHECK_WHOLE = 64 * 2**20
"""Bytes up to which the whole database is checked at every start (a quarter of a second); beyond, samples."""

_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class OpenDatabase:
    """A database that passed, and the lock that keeps other servers away from it."""

    path: Path
    connection: sql.Connection
    lock: int

    def close(self) -> None:
        """Let go of both; SQLite puts its log away by itself."""
        self.connection.close()
        os.close(self.lock)


def beside(path: Path, suffix: str) -> Path:
    """A file that belongs to the database, next to it."""
    return path.with_name(path.name + suffix)


def open_database(path: Path, schema: Schema) -> OpenDatabase:
    """Check it, create it if there is none, bring its schema up to date.

    Raises:
        StoreUnusable: and its bytes are what they were.
    """
    sql.check_library()
    if not beside(path, ".lock").exists():
        # Beside another program's database we leave nothing, not even a lock file. Otherwise the lock
        # comes first: closing a database file drops the locks that SQLite has on it in this process.
        _inspect(path, schema)
    lock = _lock(path)
    try:
        _inspect(path, schema)
        if not _size(path):
            _create(path, schema)
        _guarded(path, lambda: _examine(path, schema))
        return OpenDatabase(path, _guarded(path, lambda: _connect(path, schema)), lock)
    except BaseException:
        os.close(lock)
        raise


def _size(path: Path) -> int:
    """Bytes of the file; 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise _unreadable(path, error) from error


_BACK = "put a backup in its place, or choose another data folder; this file is left as it is"


def _inspect(path: Path, schema: Schema) -> None:
    """Look at the file's header, without SQLite: whose is it, and is it older than we are?"""
    if path.exists() and not path.is_file():
        raise StoreUnusable(f"{path} is not a file", hint="choose another data folder")
    if not _size(path):
        log = beside(path, "-wal")
        if _size(log):
            raise StoreUnusable(
                f"{path} is missing, but its log {log.name} is there",
                hint="put the database back beside its log, or move the log away",
            )
        return
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise StoreUnusable(f"{path} is not a database", hint=_BACK)
    kind = int.from_bytes(header[68:72], "big")
    if kind != schema.kind:
        _refuse_foreign(path, kind)
    _check_version(path, int.from_bytes(header[60:64], "big"), schema)


def _unreadable(path: Path, error: OSError) -> StoreUnusable:
    return StoreUnusable(
        f"{path} cannot be read: {os.strerror(error.errno or 0)}", hint="check its permissions"
    )


def _refuse_foreign(path: Path, kind: int) -> None:
    if kind in set(Kind):
        raise StoreUnusable(
            f"{path} is a database of {Kind(kind)}, which has another place here",
            hint="put it back under its own name, or choose another data folder",
        )

    def tables() -> set[str]:
        with closing(sql.connect(path, "ro", immutable=True)) as connection:
            rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            return {str(name) for (name,) in rows}

    if {"clients", "messages"} <= _guarded(path, tables):
        raise StoreUnusable(
            f"{path} is the database of an old server",
            hint="run 'hush classic import DIR' to take it over into another folder",
        )
    raise StoreUnusable(f"{path} belongs to another program", hint="choose another data folder")


def _check_version(path: Path, version: int, schema: Schema) -> None:
    if version > schema.version:
        raise StoreUnusable(
            f"{path} was written by a newer Hushpost", hint="install that version or a newer one"
        )


def _lock(path: Path) -> int:
    """Keep other servers away, by a lock that ends with the process however it ends.

    It is on a file of its own, since the database file is SQLite's to lock.
    """
    try:
        lock = os.open(beside(path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StoreUnusable(f"another Hushpost server is using {path}", hint="stop it first") from error
    return lock


def _create(path: Path, schema: Schema) -> None:
    draft = beside(path, ".new")
    try:
        for leftover in (draft, beside(draft, "-journal"), beside(draft, "-wal"), beside(draft, "-shm")):
            leftover.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sql.connect(draft)) as connection:
            sql.make_durable(connection)
            schema.found(connection)
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


def _examine(path: Path, schema: Schema) -> None:
    """Read through it on a connection that cannot write."""
    with closing(sql.connect(path, "ro")) as connection:
        _check_version(path, sql.version_of(connection), schema)
        if _size(path) <= CHECK_WHOLE:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise StoreUnusable(f"{path} is damaged", hint=_BACK)
        for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            for order in ("ASC", "DESC"):
                connection.execute(f'SELECT * FROM "{table}" ORDER BY 1 {order} LIMIT 1').fetchall()  # noqa: S608


def _connect(path: Path, schema: Schema) -> sql.Connection:
    connection = sql.connect(path)
    try:
        # Can it be written, and does nobody else hold it? A transaction that is rolled back tells; one
        # without a write in it would not, since SQLite begins it on a file that can only be read, too.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA user_version={sql.version_of(connection)}")
        connection.execute("ROLLBACK")
        sql.make_durable(connection)
        if sql.version_of(connection) < schema.version:
            sql.migrate(connection, schema.steps)
            # The header in the file itself must tell the version: it is what older programs look at.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except BaseException:
        connection.close()
        raise
    return connection


def _guarded(path: Path, action: Callable[[], T]) -> T:
    try:
        return action()
    except sql.Error as error:
        raise _explained(path, error) from error


def _explained(path: Path, error: Exception) -> StoreUnusable:
    code = sql.code_of(error)
    if code is sql.Code.BUSY:
        return StoreUnusable(f"{path} is locked by another program", hint="close it there")
    if code in (sql.Code.READONLY, sql.Code.CANNOT_OPEN):
        return StoreUnusable(f"{path} cannot be opened for writing", hint="check permissions and owner")
    if code is sql.Code.NOT_A_DATABASE:
        return StoreUnusable(f"{path} is not a database", hint=_BACK)
    if code is sql.Code.CORRUPT:
        return StoreUnusable(f"{path} is damaged", hint=_BACK)
    return StoreUnusable(f"{path} cannot be opened: {error}", hint="check its disk, and the system's log")
