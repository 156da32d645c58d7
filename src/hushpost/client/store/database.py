"""Statements, inside a transaction only, and with bytes passed the quick way.

A transaction often looks at the same rows for each of many messages, and writes the same row again and again.
So what was read may be kept until the transaction writes into that table, and what is to be written may wait
until somebody looks there, or the transaction ends. Neither outlives the transaction, and nobody inside sees
a difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache
from typing import TypeVar, cast

from hushpost import sql

T = TypeVar("T")

Parameters = tuple[object, ...]
"""What takes time to write down may be a function that gives it, called when the statement is run."""


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
        self._written: set[str] = set()
        self._kept: dict[str, dict[Hashable, object]] = {}
        self._waiting: dict[str, dict[Hashable, tuple[str, Parameters]]] = {}

    def enter(self, *, reading: bool) -> None:
        """A transaction has begun."""
        self._inside, self._reading, self._noted = True, reading, False
        self._written.clear()

    def leave(self) -> None:
        """It has ended."""
        self._inside = False
        self._kept.clear()
        self._waiting.clear()

    # --- statements

    def run(self, statement: str, *parameters: object) -> None:
        """A statement without an answer."""
        self._execute(statement, parameters)

    def run_each(self, statement: str, parameters: Iterable[Parameters]) -> None:
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
        return self._execute(statement, parameters).lastrowid

    def changed(self, statement: str, *parameters: object) -> bool:
        """Run it; whether it changed any row."""
        return self.changes(statement, *parameters) > 0

    def changes(self, statement: str, *parameters: object) -> int:
        """Run it; how many rows it changed, not counting what triggers did."""
        return self._execute(statement, parameters).rowcount

    def wrote(self, table: str) -> bool:
        """Whether this transaction has written into the table."""
        return table in self._written

    def key_material_went(self) -> None:
        """Note, in this transaction, that the log must be emptied: see `Store.purge`."""
        if not self._noted:
            self.run("UPDATE upkeep SET purge_due = 1 WHERE only = 1 AND purge_due = 0")
            self._noted = True

    # --- what waits within a transaction

    def keep(self, table: str, key: Hashable, read: Callable[[], T]) -> T:
        """What `read` gives, read once until the transaction writes into the table."""
        kept = self._kept.setdefault(table, {})
        if key not in kept:
            kept[key] = read()
        return cast("T", kept[key])

    def later(self, table: str, key: Hashable, statement: str, *parameters: object) -> None:
        """Run a statement on one row of a table when the transaction looks at the table, or ends.

        Only the last of one key is run, so each must say all that those before it said.
        """
        if self._reading:
            raise RuntimeError("the store is written in a transaction for reading")
        waiting = self._waiting.setdefault(table, {})
        waiting.pop(key, None)  # the order is that of the last
        waiting[key] = statement, parameters

    def instead(self, table: str, key: Hashable, value: object) -> None:
        """What `keep` gives from now on: what stands in the table, or waits to be written there."""
        self._kept.setdefault(table, {})[key] = value

    def settle(self) -> None:
        """Write what waits."""
        while self._waiting:
            _, waiting = self._waiting.popitem()
            for statement, parameters in waiting.values():
                self._run(statement, parameters)

    def _execute(self, statement: str, parameters: Parameters) -> sql.Cursor:
        if not self._inside:
            raise RuntimeError("the store is used outside of a transaction")
        writes, tables = _touched(statement)
        if self._reading and writes:
            raise RuntimeError("the store is written in a transaction for reading")
        for table in tables:
            for each in self._waiting.pop(table, {}).values():
                self._run(*each)
            if writes:
                self._kept.pop(table, None)
                self._written.add(table)
        return self._run(statement, parameters)

    def _run(self, statement: str, parameters: Parameters) -> sql.Cursor:
        return self._connection.execute(statement, [_quick(each) for each in parameters])


def _quick(value: object) -> object:
    if callable(value):
        value = value()
    return sql.binary(value) if isinstance(value, bytes) else value


_TABLE = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(\w+)")


@lru_cache(maxsize=512)
def _touched(statement: str) -> tuple[bool, tuple[str, ...]]:
    """Whether it writes, and every table that it names."""
    return not statement.startswith(("SELECT", "WITH")), tuple(dict.fromkeys(_TABLE.findall(statement)))
