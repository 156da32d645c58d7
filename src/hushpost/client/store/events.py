"""Everything that happens, in order, and how far each of the application's handlers has come in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from hushpost.client.store.database import Database

KEEP_EVENTS = 10_000
"""Kept even if every handler is past them, for one that is new and wants to begin at the start."""

MAX_EVENTS = 200_000
"""Kept for the slowest handler: about 100 MiB. One that was given up would otherwise fill the disk."""

TRIM_EVERY = 500
"""Events between two looks at what can go."""

MAX_HANDLERS = 1_000
"""Names of handlers; a program that makes up a new one each time has not understood what they are for."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event. `number` grows and is never used again; `payload` is the library's own encoding."""

    number: int
    at: int
    payload: bytes = field(repr=False)


class EventTable:
    """`t.events`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, payload: bytes, now: int) -> int:
        """Its number. Followers see it when this transaction is committed."""
        number = self._db.added("INSERT INTO event (at, payload) VALUES (?, ?)", now, payload)
        if number % TRIM_EVERY == 0:
            self._trim(number)
        return number

    def after(self, number: int, limit: int = 100) -> tuple[StoredEvent, ...]:
        """The events behind this number, oldest first."""
        rows = self._db.rows(
            "SELECT number, at, payload FROM event WHERE number > ? ORDER BY number LIMIT ?", number, limit
        )
        return tuple(StoredEvent(*row) for row in rows)

    def newest(self) -> int:
        """The last number that was given; 0: none yet."""
        return self._db.number("SELECT seq FROM sqlite_sequence WHERE name = 'event'")

    def _trim(self, newest: int) -> None:
        slowest = self._db.row("SELECT min(position) FROM handler")
        seen = newest if slowest is None or slowest[0] is None else slowest[0]
        bound = max(min(seen, newest - KEEP_EVENTS), newest - MAX_EVENTS)
        self._db.run("DELETE FROM event WHERE number <= ?", bound)


class HandlerTable:
    """`t.handlers`: named cursors over the events."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def position(self, name: str) -> int | None:
        """The number of the last event that this handler is done with. None: there is no such handler."""
        row = self._db.row("SELECT position FROM handler WHERE name = ?", name)
        return row[0] if row else None

    def advance(self, name: str, number: int) -> None:
        """Done with everything up to this event. A new handler is made; none goes back.

        Raises:
            ValueError: there are too many handlers.
        """
        known = self.position(name)
        if known is None and self._db.number("SELECT count(*) FROM handler") >= MAX_HANDLERS:
            raise ValueError(f"a profile has at most {MAX_HANDLERS} handlers")
        self._db.run(
            "INSERT INTO handler VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET position = max(position, excluded.position)",
            name,
            number,
        )

    def every(self) -> dict[str, int]:
        """Name and position of each."""
        return dict(self._db.rows("SELECT name, position FROM handler ORDER BY name"))

    def forget(self, name: str) -> None:
        self._db.run("DELETE FROM handler WHERE name = ?", name)
