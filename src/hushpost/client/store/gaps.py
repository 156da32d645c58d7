"""Counters that were skipped: messages that are missing, or late. In ranges: a liar may skip any number."""

from __future__ import annotations

from dataclasses import dataclass

from hushpost.client.store.database import Database
from hushpost.ids import AccountId, DeviceId

PATIENCE = 60
"""Seconds in which what is late may still come before anybody is told."""

MAX_GAPS = 16
"""Of one device. Where there are more, its user is told of these, and that is enough."""


@dataclass(frozen=True, slots=True)
class Missing:
    """What has not come of one account."""

    account: AccountId
    messages: int


class GapTable:
    """`t.gaps`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def skipped(self, account: AccountId, device: DeviceId, first: int, last: int, now: int) -> None:
        """None of these counters has come, and one behind them has."""
        if self._db.number("SELECT count(*) FROM gap WHERE device = ?", device) < MAX_GAPS:
            self._db.run("INSERT INTO gap VALUES (?, ?, ?, ?, ?)", device, first, last, account, now)

    def came(self, device: DeviceId, counter: int) -> bool:
        """One came late after all. False: it was not missing, or that was told already."""
        row = self._db.row(
            "SELECT first, last, account, at FROM gap WHERE device = ? AND first <= ? AND last >= ?",
            device,
            counter,
            counter,
        )
        if row is None:
            return False
        first, last, account, at = row
        self._db.run("DELETE FROM gap WHERE device = ? AND first = ?", device, first)
        for low, high in ((first, counter - 1), (counter + 1, last)):
            if low <= high:
                self._db.run("INSERT INTO gap VALUES (?, ?, ?, ?, ?)", device, low, high, account, at)
        return True

    def overdue(self, now: int) -> tuple[Missing, ...]:
        """What has been missing for too long, and is to be told; it is forgotten with that."""
        rows = self._db.rows(
            "SELECT account, first, last FROM gap WHERE at <= ? OR at > ? ORDER BY account",
            now - PATIENCE,
            now,
        )
        counts: dict[AccountId, int] = {}
        for account, first, last in rows:
            counts[AccountId(account)] = counts.get(AccountId(account), 0) + last - first + 1
        if rows:
            self._db.run("DELETE FROM gap WHERE at <= ? OR at > ?", now - PATIENCE, now)
        return tuple(Missing(*each) for each in counts.items())
