"""The only door to `sqlcipher3`, which is taken for the SQLite inside it, and has no type stubs.

Its errors are not `sqlite3.Error`, and they carry primary result codes only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from sqlcipher3 import dbapi2

from hushpost.errors import StoreUnusable

Row = tuple[Any, ...]
Parameters = Sequence[object]

Error: type[Exception] = dbapi2.Error
"""Whatever SQLite reports; ask `code_of`."""

WrongType: type[Exception] = dbapi2.InterfaceError
"""A parameter is of a type that SQLite does not take."""

OLDEST_LIBRARY = (3, 51, 3)
"""The first SQLite without the WAL-reset bug, which could corrupt a database under checkpoints like ours."""

CACHE_KIB = 16 * 1024

OPENING_PATIENCE = 1.0
"""Seconds to wait, at the start, for a lock of another process before saying so."""

RUNNING_PATIENCE = 30.0
"""Seconds to wait later: somebody with the `sqlite3` shell should not stop the server."""


class Code(IntEnum):
    """The primary result codes of SQLite that mean something to us."""

    OTHER = -1
    BUSY = 5
    READONLY = 8
    CORRUPT = 11
    FULL = 13
    CANNOT_OPEN = 14
    TOO_BIG = 18
    CONSTRAINT = 19
    MISMATCH = 20
    NOT_A_DATABASE = 26


class Cursor(Protocol):
    """What a statement gave; `rowcount` is how many rows it changed, `lastrowid` the one that it added."""

    @property
    def rowcount(self) -> int: ...
    @property
    def lastrowid(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Row]: ...
    def __iter__(self) -> Iterator[Row]: ...
    def close(self) -> None: ...


class Blob(Protocol):
    """A value of one row, read in pieces."""

    def read(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class Connection(Protocol):
    """One connection, without transactions of its own making: BEGIN and COMMIT are written out."""

    @property
    def in_transaction(self) -> bool: ...
    def execute(self, statement: str, parameters: Parameters = ..., /) -> Cursor: ...
    def executemany(self, statement: str, parameters: Iterable[Parameters], /) -> Cursor: ...
    def open_blob(self, table: str, column: str, row: int, read_only: bool, /) -> Blob: ...
    def set_busy_timeout(self, seconds: float, /) -> None: ...
    def backup(
        self, target: Connection, *, pages: int, progress: Callable[[int, int, int], object]
    ) -> None: ...
    def close(self) -> None: ...


binary = bytearray
"""How bytes are passed to a statement. `sqlcipher3` looks for an adapter for every `bytes` and every None,
through failing attribute look-ups, which took six times as long as inserting the row; never for these."""

OF_THE_STATEMENT = frozenset({Code.TOO_BIG, Code.CONSTRAINT, Code.MISMATCH})
"""What only the statement is to blame for, not the disk."""


def code_of(error: Exception) -> Code:
    """The primary result code."""
    number = getattr(error, "sqlite_errorcode", None)
    return Code(number & 0xFF) if number is not None and number & 0xFF in set(Code) else Code.OTHER


def check_library() -> None:
    """Refuse to run on an SQLite that is known to lose data.

    Raises:
        StoreUnusable.
    """
    if dbapi2.sqlite_version_info < OLDEST_LIBRARY:
        needed = ".".join(map(str, OLDEST_LIBRARY))
        raise StoreUnusable(
            f"SQLite {dbapi2.sqlite_version} can corrupt databases; {needed} or newer is needed",
            hint="install a newer sqlcipher3",
        )


def connect(path: Path, mode: str = "rw", *, immutable: bool = False, key: bytes | None = None) -> Connection:
    """Open an existing database; the connection may be handed from thread to thread.

    Args:
        mode: `rw` or `ro`.
        immutable: take the file as it is, without locks or a look at its log.
        key: of an encrypted one, 32 bytes. Whether it fits shows with the first statement.
    """
    address = f"file:{quote(str(path.absolute()))}?mode={mode}" + ("&immutable=1" if immutable else "")
    connection: Connection = dbapi2.connect(
        address, uri=True, isolation_level=None, check_same_thread=False, timeout=OPENING_PATIENCE
    )
    if key is not None:
        # Otherwise a key that does not fit is also reported on standard error, in the library's own words.
        connection.execute("PRAGMA cipher_log_level=NONE")
        connection.execute(f"PRAGMA key=\"x'{key.hex()}'\"")
    return connection


def make_durable(connection: Connection) -> None:
    """WAL, and an fsync for every commit, before it is answered. Read back: SQLite ignores what it cannot do.

    Raises:
        StoreUnusable.
    """
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "wal_autocheckpoint": 0}
    for name, value in wanted.items():
        connection.execute(f"PRAGMA {name}={value}")
        if connection.execute(f"PRAGMA {name}").fetchone()[0] != value:
            raise StoreUnusable(f"SQLite refuses to set {name} to {value}")
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    connection.execute("PRAGMA cache_spill=OFF")


MAPPED_BYTES = 2**31 - 2**16
"""The most that our SQLite maps."""


def map_file(connection: Connection) -> None:
    """Read the database through the system's page cache in place, instead of copying each page out of it.

    For a connection that looks up rows all over a large database: three times as quick there. The pages
    count as this process's memory, but the system takes them back as it likes. The price: where the disk
    cannot read a page, the process ends by a signal, without a word; what was answered is safe even so.
    """
    connection.execute(f"PRAGMA mmap_size={MAPPED_BYTES}").fetchall()


@dataclass(frozen=True, slots=True)
class Step:
    """One change of a schema. A step that was released is never edited: new ones follow."""

    name: str
    statements: tuple[str, ...]


def version_of(connection: Connection) -> int:
    """How many steps this database has seen: `PRAGMA user_version`."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def migrate(connection: Connection, steps: Sequence[Step]) -> None:
    """Take the steps that are missing, each whole or not at all, together with its number."""
    for number, step in enumerate(steps, start=1):
        if number <= version_of(connection):
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in step.statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
