"""What every store on SQLite stands on: one database, its one writer, its readers, and their upkeep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from hushpost import sql
from hushpost.errors import StoreFailed
from hushpost.stores import opening, reading
from hushpost.stores.ballast import Ballast
from hushpost.stores.checkpoints import Checkpoints
from hushpost.stores.migrations import Schema
from hushpost.stores.reading import Readers
from hushpost.stores.writer import TablesT, Writer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Parts(Generic[TablesT]):
    """What has to be opened, where it may block, before there can be an engine."""

    database: opening.OpenDatabase
    epoch: bytes
    tables: TablesT
    ballast: Ballast
    checkpoints: Checkpoints
    readers: Readers


def _open_parts(
    path: Path, schema: Schema, make_tables: Callable[[sql.Connection], TablesT]
) -> _Parts[TablesT]:
    database = opening.open_database(path, schema)
    database.connection.set_busy_timeout(sql.RUNNING_PATIENCE)
    ballast = Ballast(opening.beside(path, ".ballast"))
    ballast.refill()
    tables = make_tables(database.connection)
    return _Parts(
        database,
        reading.epoch(database.connection),
        tables,
        ballast,
        Checkpoints(path, database.connection),
        Readers(path),
    )


class Engine(Generic[TablesT]):
    """A running database; made by `open`. Used by one event loop."""

    @classmethod
    async def open(
        cls, path: Path, schema: Schema, make_tables: Callable[[sql.Connection], TablesT]
    ) -> Engine[TablesT]:
        """Open or create the database.

        Args:
            make_tables: called in a thread, with the connection that will be the writer's.

        Raises:
            StoreUnusable: and the file is as it was (see `opening`).
        """
        return cls(await asyncio.to_thread(_open_parts, path, schema, make_tables))

    def __init__(self, parts: _Parts[TablesT]) -> None:
        self._checkpoints = parts.checkpoints
        self.database = parts.database
        self.epoch = parts.epoch
        self.tables = parts.tables
        self.readers = parts.readers
        self.writer = Writer(parts.tables, parts.ballast, parts.checkpoints)

    @property
    def failed(self) -> asyncio.Future[None]:
        """`base.Running.failed`."""
        return self.writer.failed

    async def query(self, query: Callable[[sql.Connection], T]) -> T:
        """Read. A database that cannot be read any more is a failed one, for writing too."""
        try:
            return await self.readers.run(query)
        except StoreFailed as failure:
            if failure.__cause__ is not None:  # not just closed
                self.writer.fail(failure)
            raise

    async def close(self) -> None:
        """Finish what was begun, then let go of everything; a second time is harmless."""
        writing = self.writer.stop()
        if writing is None:
            return

        def run() -> None:
            writing.join()
            self._checkpoints.close()
            self.readers.close()
            # Last, so that SQLite empties the log into the database and removes it.
            self.database.close()

        await asyncio.to_thread(run)
