"""Copies of a running database, and what becomes of one that is opened.

Every piece is copied within one read transaction, so that it is one moment's database; in the log's mode
that holds up no writer. A copy says that it is one; whoever opens it first makes another store of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from hushpost import sql
from hushpost.errors import StoreUnusable
from hushpost.stores.opening import beside

PIECE = 256
"""Pages (1 MiB) between two calls of `progress`."""


def back_up(database: Path, path: Path, progress: Callable[[int, int], None]) -> None:
    """`Backups.backup`, in a thread. `progress` is called in that thread."""
    if path.exists():
        raise StoreUnusable(f"{path} exists already", hint="name a new file, or move this one away")
    draft = beside(path, ".part")
    try:
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with closing(sql.connect(database, "ro")) as source, closing(sql.connect(draft)) as copy:
            source.set_busy_timeout(sql.RUNNING_PATIENCE)
            source.execute("BEGIN")
            source.execute("SELECT 1 FROM store").fetchall()
            source.backup(copy, pages=PIECE, progress=lambda _, left, of: progress(of - left, of))
            copy.execute("PRAGMA journal_mode=DELETE").fetchall()
            copy.execute("PRAGMA synchronous=FULL")
            copy.execute("UPDATE store SET is_backup = 1")
        _reveal(draft, path)
    except FileExistsError as error:
        raise StoreUnusable(f"{path} exists already", hint="name a new file") from error
    except (OSError, sql.Error) as error:
        raise _unwritable(path, error) from error
    finally:
        for leftover in (draft, beside(draft, "-journal"), beside(draft, "-wal"), beside(draft, "-shm")):
            leftover.unlink(missing_ok=True)


def _reveal(draft: Path, path: Path) -> None:
    """Give it its name, but not to another file's cost; durably."""
    file = os.open(draft, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
    path.hardlink_to(draft)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _unwritable(path: Path, error: Exception) -> StoreUnusable:
    why = error.strerror if isinstance(error, OSError) else None
    return StoreUnusable(
        f"{path} cannot be written: {why or error}", hint="check the folder, its disk, and what is there"
    )


_FORGET = (
    "DELETE FROM one_time_key",
    "DELETE FROM invitation",
    "UPDATE device SET seal_key_id = NULL",
    "UPDATE device_key SET seal_key = NULL, fallback_key = NULL",
    "UPDATE account SET token_hash = x'' WHERE token_hash IS NOT NULL",
)


def become_a_store(connection: sql.Connection) -> None:
    """If this database is a backup: give it an epoch of its own, and forget what may not be so any more.

    The original went on: it handed out one-time keys, and took in other seal keys, fallback keys and tokens
    because the old ones had served their time, or somebody had. What is forgotten, devices publish again.
    """
    (is_backup,) = connection.execute("SELECT is_backup FROM store").fetchone()
    if not is_backup:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _FORGET:
            connection.execute(statement)
        connection.execute("UPDATE store SET is_backup = 0, epoch = ?", (sql.binary(os.urandom(16)),))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
