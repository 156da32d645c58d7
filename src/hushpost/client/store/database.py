"""Statements, inside a transaction only, and with bytes passed the quick way."""

from __future__ import annotations

from collections.abc import Iterable

from hushpost import sql


class Database:
    """What the nouns of the store speak to. It refuses whatever is not inside a transaction.

    So nothing that was read can be used for a write of a later transaction by mistake, and no statement
    commits by itself.
    """

    def __init__(self, connection: sql.Connection) -> None:
        self._connection = connection
        self._inside = False
        self._reading = False
        self._noted = False

    def enter(self, *, reading: bool) -> None:
        """A transaction has begun."""
        self._inside, self._reading, self._noted = True, reading, False

    def leave(self) -> None:
        """It has ended."""
        self._inside = False

    def run(self, statement: str, *parameters: object) -> None:
        """A statement without an answer."""
        self._execute(statement, parameters)

    def run_each(self, statement: str, parameters: Iterable[tuple[object, ...]]) -> None:
        """The same statement for each of these."""
        for each in parameters:
            self._execute(statement, each)

    def row(self, statement: str, *parameters: object) -> sql.Row | None:
        """The first row, or None."""
        row: sql.Row | None = self._execute(statement, parameters).fetchone()
        return row

    def rows(self, statement: str, *parameters: object) -> list[sql.Row]:
        """Every row."""
        return self._execute(statement, parameters).fetchall()

    def number(self, statement: str, *parameters: object) -> int:
        """The one number that the statement gives; 0 where it gives none."""
        row = self.row(statement, *parameters)
        return 0 if row is None or row[0] is None else int(row[0])

    def added(self, statement: str, *parameters: object) -> int:
        """Insert a row; its number.

        Not by RETURNING, for which SQLite opens a savepoint, at each of which the search index goes to disk.
        """
        self._execute(statement, parameters)
        return self.number("SELECT last_insert_rowid()")

    def changed(self, statement: str, *parameters: object) -> bool:
        """Run it; whether it changed any row."""
        self._execute(statement, parameters)
        return self.number("SELECT changes()") > 0

    def key_material_went(self) -> None:
        """Note, in this transaction, that the log must be emptied: see `Store.purge`."""
        if not self._noted:
            self.run("UPDATE upkeep SET purge_due = 1 WHERE only = 1 AND purge_due = 0")
            self._noted = True

    def _execute(self, statement: str, parameters: tuple[object, ...]) -> sql.Cursor:
        if not self._inside:
            raise RuntimeError("the store is used outside of a transaction")
        if self._reading and not statement.startswith("SELECT"):
            raise RuntimeError("the store is written in a transaction for reading")
        quick = [sql.binary(each) if isinstance(each, bytes) else each for each in parameters]
        return self._connection.execute(statement, quick)
