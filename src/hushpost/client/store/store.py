"""A profile's database, open.

    with store.transaction() as t:
        session = t.sessions.find(device, tag)
        ...
        t.sessions.decrypted(session, pickle, now)
        t.history.add(message, device, content)

What is read within a transaction is true until its end, whatever other processes of the profile do: it
begins with the write lock. All of it is durable when the block is left, or, if it is left by an exception,
nothing of it ever was.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hushpost import sql
from hushpost.client.store import schema
from hushpost.client.store.database import Database
from hushpost.client.store.devices import DeviceTable, ManifestTable
from hushpost.client.store.downloads import DownloadTable
from hushpost.client.store.events import EventTable, HandlerTable
from hushpost.client.store.gaps import GapTable
from hushpost.client.store.history import HistoryTable, StoryTable, UndecryptableTable
from hushpost.client.store.joining import JoiningTable
from hushpost.client.store.me import MeTable
from hushpost.client.store.opening import StoreKey, newer, open_database
from hushpost.client.store.outbox import OutboxTable
from hushpost.client.store.people import PeopleTable
from hushpost.client.store.prekeys import OlmTable, PrekeyTable
from hushpost.client.store.repair import RepairTable
from hushpost.client.store.seals import SealTable
from hushpost.client.store.sessions import ReceivedTable, SessionTable
from hushpost.client.store.uploads import UploadTable
from hushpost.errors import StoreFailed, StoreFull, StoreUnusable

PURGE_PATIENCE = 5.0
"""Seconds that `purge` waits for readers of other processes; they are quick, or they hang."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What a transaction works with: one noun each. Good until the end of the transaction only."""

    me: MeTable
    joining: JoiningTable
    olm: OlmTable
    prekeys: PrekeyTable
    seals: SealTable
    sessions: SessionTable
    received: ReceivedTable
    people: PeopleTable
    manifests: ManifestTable
    devices: DeviceTable
    gaps: GapTable
    outbox: OutboxTable
    repair: RepairTable
    history: HistoryTable
    undecryptable: UndecryptableTable
    story: StoryTable
    events: EventTable
    handlers: HandlerTable
    uploads: UploadTable
    downloads: DownloadTable

    @classmethod
    def of(cls, db: Database) -> Self:
        return cls(
            MeTable(db),
            JoiningTable(db),
            OlmTable(db),
            PrekeyTable(db),
            SealTable(db),
            SessionTable(db),
            ReceivedTable(db),
            PeopleTable(db),
            ManifestTable(db),
            DeviceTable(db),
            GapTable(db),
            OutboxTable(db),
            RepairTable(db),
            HistoryTable(db),
            UndecryptableTable(db),
            StoryTable(db),
            EventTable(db),
            HandlerTable(db),
            UploadTable(db),
            DownloadTable(db),
        )


class Store:
    """One connection to a profile's database, used by one thread at a time. Everything here blocks."""

    def __init__(self, path: Path, connection: sql.Connection) -> None:
        self._path = path
        self._connection = connection
        self._db = Database(connection)
        self._tables = Tables.of(self._db)

    @classmethod
    def open(cls, path: Path, key: StoreKey) -> Self:
        """Open the database; make a new one where there is none.

        Raises:
            StoreUnusable: it cannot be used as it is, and was not touched.
        """
        return cls(path, open_database(path, key))

    @contextmanager
    def transaction(self) -> Iterator[Tables]:
        """Read and write, all or nothing, with the lock from the start. Keep it short; never wait inside.

        Raises:
            StoreUnusable: another process holds the lock for long, or has changed the schema.
            StoreFull: the disk is.
            StoreFailed: the disk failed, or the database is damaged. Nothing was kept.
            TypeError: a value of a type that no database takes.
        """
        with self._inside("BEGIN IMMEDIATE", "COMMIT"):
            if sql.version_of(self._connection) != schema.VERSION:
                raise newer(self._path)
            yield self._tables

    @contextmanager
    def note(self) -> Iterator[Tables]:
        """`transaction`, but it does not wait for the disk: it survives the end of this process, however
        sudden, and that of the system when a later transaction is durable. So only for what is checked
        before it is believed.
        """
        self._connection.execute("PRAGMA synchronous=NORMAL")
        try:
            with self.transaction() as tables:
                yield tables
        finally:
            self._connection.execute("PRAGMA synchronous=FULL")

    @contextmanager
    def reading(self) -> Iterator[Tables]:
        """Read one state of the database; others may write meanwhile.

        Raises:
            StoreFailed: as above. RuntimeError: something was to be written.
        """
        with self._inside("BEGIN", "ROLLBACK", reading=True):
            yield self._tables

    def data_version(self) -> int:
        """Another number than the last time: another connection has committed something. Cheap (10 us).

        The commits of this very connection do not show.
        """
        try:
            number: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        except sql.Error as error:
            raise self._failure(error) from error
        return number

    def purge_due(self) -> bool:
        """Whether key material was deleted or replaced, and its old pages may still stand in the log."""
        with self.reading():
            return self._db.number("SELECT purge_due FROM upkeep") > 0

    def purge(self, patience: float = PURGE_PATIENCE) -> bool:
        """Put the log away and cut it to nothing, so that no key that was deleted is left in a file.

        Not after every message: whenever nothing happens for a while, once a minute, and before the end.

        Returns:
            Whether it was done. False: somebody was reading for too long; it stays due.
        """
        deadline = time.monotonic() + patience
        self._connection.set_busy_timeout(patience)
        try:
            while True:
                version = self.data_version()
                busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                if not busy and self._purged(version):
                    return True
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.002)  # somebody else puts the log away at this moment, or writes on
        except sql.Error as error:
            if sql.code_of(error) is sql.Code.BUSY:
                return False
            raise self._failure(error) from error
        finally:
            self._connection.set_busy_timeout(sql.RUNNING_PATIENCE)

    def _purged(self, version: int) -> bool:
        """Note that it was done, unless another connection has committed something in between."""
        with self.transaction():
            if self.data_version() != version:
                return False
            self._db.run("UPDATE upkeep SET purge_due = 0 WHERE purge_due = 1")
            return True

    def check(self) -> bool:
        """Read and authenticate everything: whether the database is whole. Takes a second per 90 MiB."""
        try:
            return bool(self._connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
        except sql.Error:
            return False

    def close(self) -> None:
        """Let go. The last process to do so has SQLite put the log away."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _inside(self, begin: str, end: str, *, reading: bool = False) -> Iterator[None]:
        if self._connection.in_transaction:
            raise RuntimeError("a transaction of the store inside of another")
        try:
            self._connection.execute(begin)
            self._db.enter(reading=reading)
            yield
            self._db.settle()
            self._connection.execute(end)
        except sql.Error as error:
            raise self._failure(error) from error
        finally:
            self._db.leave()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _failure(self, error: Exception) -> Exception:
        """What SQLite reports, in our words; a statement that was wrong in itself stays what it is."""
        if isinstance(error, sql.WrongType):  # whoever called the library with it is told so
            return TypeError(
                "something of another type was given where the database wants a value: "
                "who or what is meant is said by an id, such as contact.account"
            )
        code = sql.code_of(error)
        if code in sql.OF_THE_STATEMENT:
            return error
        if code is sql.Code.BUSY:
            return StoreUnusable(f"{self._path} is locked by another program", hint="close it there")
        if code is sql.Code.FULL:
            return StoreFull("the disk is full", hint="make room; everything so far is kept")
        return StoreFailed("the database failed", hint="look at the system's log and at the disk")
