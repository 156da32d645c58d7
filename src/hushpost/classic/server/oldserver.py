"""What the original server left behind: `server.db` and `files/MSG<id>`. Read, and nothing else.

The database is opened read-only, and one read transaction lasts as long as we look: the old server cannot
change it meanwhile, and SQLite writes nothing beside it. (Without locks, `immutable`, a server that still
runs could.) Its ids are raw bytes in columns declared as text, so everything is cast to bytes.

Schema: docs/spec/classic.md, section "Taking over an old server".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from hushpost import sql
from hushpost.classic.payloads import MAX_PAYLOAD, PUBLIC_KEY_SIZE, ClientId, MessageType
from hushpost.errors import StoreUnusable

T = TypeVar("T")

DATABASE = "server.db"
FILES = "files"

MISSING = b"-Missing-"
"""What the original sent where a file was gone."""

SCHEMA = {
    "clients": {"client_id", "client_name", "client_pk", "last_update"},
    "messages": {"message_id", "from_client_id", "to_client_id", "message_type", "message_content"},
}

_MAGIC = b"SQLite format 3\0"
_ROLLBACK_JOURNAL = b"\1\1"


class OldClient(msgspec.Struct, frozen=True):
    """A row of `clients`."""

    client_id: ClientId
    name: str
    public_key: bytes


class OldMessage(msgspec.Struct, frozen=True):
    """A row of `messages`. `size` is None where the content is in a file."""

    number: int
    sender: ClientId
    recipient: ClientId
    message_type: int
    size: int | None


class Content(msgspec.Struct, frozen=True):
    """An open content: how long it is, and its next bytes, at most so many."""

    size: int
    read: Callable[[int], bytes]


class OldServer:
    """An old server's folder. Every method may block, and may raise `StoreUnusable`."""

    def __init__(self, folder: Path, connection: sql.Connection) -> None:
        self._folder = folder
        self._path = folder / DATABASE
        self._db = connection

    @classmethod
    def open(cls, folder: Path) -> OldServer:
        """Look whether it is one, whole and at rest, and keep it so until `close`."""
        path = folder / DATABASE
        _inspect(path)
        with _explained(path):
            old = cls(folder, sql.connect(path, "ro"))
        try:
            with _explained(path):
                old._check()
        except BaseException:
            old.close()
            raise
        return old

    def close(self) -> None:
        """Let go of everything."""
        self._db.close()

    def last_number(self) -> int:
        """The highest message id that was ever given out."""
        with _explained(self._path):
            (last,) = self._db.execute(
                "SELECT max(ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0),"
                " ifnull((SELECT max(message_id) FROM messages), 0))"
            ).fetchone()
        return int(last)

    def clients(self) -> list[OldClient]:
        """All of them, in the order of registration."""
        with _explained(self._path):
            rows = self._db.execute(
                "SELECT CAST(client_id AS BLOB), CAST(client_name AS BLOB), CAST(client_pk AS BLOB)"
                " FROM clients ORDER BY rowid"
            ).fetchall()
            return [OldClient(ClientId(client), name.decode(), _key(key)) for client, name, key in rows]

    def count(self, after: int) -> int:
        """How many messages have a higher id."""
        with _explained(self._path):
            (count,) = self._db.execute(
                "SELECT count(*) FROM messages WHERE message_id > ?", (after,)
            ).fetchone()
        return int(count)

    def messages(self, after: int, limit: int) -> list[OldMessage]:
        """The next ones by id, without their contents."""
        with _explained(self._path):
            rows = self._db.execute(
                "SELECT message_id, CAST(from_client_id AS BLOB), CAST(to_client_id AS BLOB), message_type,"
                " octet_length(message_content) FROM messages WHERE message_id > ?"
                " ORDER BY message_id LIMIT ?",
                (after, limit),
            ).fetchall()
            return [
                OldMessage(number, ClientId(sender), ClientId(recipient), _byte(kind), size)
                for number, sender, recipient, kind, size in rows
            ]

    @contextmanager
    def content(self, message: OldMessage) -> Iterator[Content | None]:
        """Its content, opened; None if its file is missing."""
        if message.size:
            with self._value(message.number) as read:
                yield Content(_allowed(message.size, self._path), read)
        elif message.size == 0 or message.message_type != MessageType.FILE:
            yield Content(0, lambda _: b"")
        else:
            with self._file(message.number) as content:
                yield content

    @contextmanager
    def _value(self, number: int) -> Iterator[Callable[[int], bytes]]:
        def read(size: int) -> bytes:
            with _explained(self._path):
                return blob.read(size)

        with _explained(self._path):
            blob = self._db.open_blob("messages", "message_content", number, True)
        try:
            yield read
        finally:
            blob.close()

    @contextmanager
    def _file(self, number: int) -> Iterator[Content | None]:
        path = self._folder / FILES / f"MSG{number}"

        def read(size: int) -> bytes:
            try:
                return os.read(file, size)
            except OSError as error:
                raise _unreadable(path, error) from error

        try:
            # Neither a link out of the folder nor a pipe that never ends.
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise StoreUnusable(f"{path} is not a file", hint="put the file back or remove this")
            yield Content(_allowed(status.st_size, path), read)
        finally:
            os.close(file)

    def _check(self) -> None:
        self._db.execute("BEGIN")
        for table, columns in SCHEMA.items():
            if {name for _, name, *_ in self._db.execute(f"PRAGMA table_info({table})")} != columns:
                raise StoreUnusable(f"{self._path} is not the database of an old server")
        if self._db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise _damaged(self._path)
        files = self._folder / FILES
        if (
            not files.is_dir()
            and self._db.execute(
                "SELECT 1 FROM messages WHERE message_type = ? AND message_content IS NULL LIMIT 1",
                (int(MessageType.FILE),),
            ).fetchone()
        ):
            raise StoreUnusable(
                f"there is no folder {files}, but messages whose contents belong there",
                hint="put it beside server.db; an empty one if they are really gone",
            )


def _inspect(path: Path) -> None:
    """Before SQLite looks: is it a database of that time, and was it put down in order?"""
    try:
        header = _beginning(path, 100)
        journal, log = (_beginning(path.with_name(path.name + suffix), 1) for suffix in ("-journal", "-wal"))
    except OSError as error:
        raise _unreadable(path, error) from error
    if not header:
        raise StoreUnusable(f"there is no {path}", hint="name the folder in which the old server ran")
    if len(header) < 100 or not header.startswith(_MAGIC):
        raise StoreUnusable(f"{path} is not a database")
    if (journal and journal != b"\0") or log:
        raise StoreUnusable(
            f"{path} was not closed cleanly, or is in use",
            hint="start the old server once more, stop it when nobody is using it, then import again",
        )
    if header[18:20] != _ROLLBACK_JOURNAL:
        raise StoreUnusable(f"{path} is not the database of an old server")


def _beginning(path: Path, size: int) -> bytes:
    """The first bytes; none if there is no such file."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except FileNotFoundError:
        return b""


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Whatever SQLite, or a value of the wrong shape, says about the old database."""
    try:
        yield
    except sql.Error as error:
        match sql.code_of(error):
            case sql.Code.BUSY:
                raise StoreUnusable(f"{path} is in use", hint="stop the old server first") from error
            case sql.Code.CORRUPT | sql.Code.NOT_A_DATABASE:
                raise _damaged(path) from error
            case _:
                raise StoreUnusable(f"{path} cannot be read: {error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> StoreUnusable:
    return StoreUnusable(f"{path} is damaged", hint="restore it from a backup")


def _unreadable(path: Path, error: OSError) -> StoreUnusable:
    return StoreUnusable(
        f"{path} cannot be read: {os.strerror(error.errno or 0)}", hint="check its permissions"
    )


def _key(key: bytes) -> bytes:
    if len(key) != PUBLIC_KEY_SIZE:
        raise ValueError("a public key of another size")
    return key


def _byte(number: int) -> int:
    if not 0 <= number <= 255:
        raise ValueError("a message type of more than a byte")
    return number


def _allowed(size: int, path: Path) -> int:
    if size > MAX_PAYLOAD:
        raise StoreUnusable(f"{path} has a content of more than 1 GiB, which nobody can have sent")
    return size
