"""The requests of one connection that await their answers."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from hushpost.server.office import Office, Pending


class Asked(NamedTuple):
    """A request that awaits its answer: when it is overdue (loop time), and its bytes in hand."""

    future: asyncio.Future[Any]
    due: float
    weight: int


class OpenRequests:
    """By number. What they hold counts for the whole office, too."""

    __slots__ = ("_by_number", "_office", "in_hand")

    def __init__(self, office: Office) -> None:
        self._office = office
        self._by_number: dict[int, Asked] = {}
        self.in_hand = 0

    def __len__(self) -> int:
        return len(self._by_number)

    def add(self, number: int, pending: Pending[Any], weight: int) -> float:
        """One more; when it is due."""
        office = self._office
        due = office.loop.time() + office.request_deadline + pending.patience
        self._by_number[number] = Asked(pending.future, due, weight)
        self.in_hand += weight
        office.in_hand += weight
        return due

    def settle(self, number: int, future: asyncio.Future[Any]) -> bool:
        """This one is done. False if nobody waits for it: it was overdue, or the connection ended."""
        asked = self._by_number.get(number)
        if asked is None or asked.future is not future:
            return False
        self._drop(number, asked)
        return True

    def take_overdue(self, now: float) -> list[int]:
        """The numbers of those that have taken too long; nobody waits for them any more."""
        late = [(number, asked) for number, asked in self._by_number.items() if asked.due <= now]
        for number, asked in late:
            self._drop(number, asked)
        return [number for number, _ in late]

    @property
    def due(self) -> float:
        """When the next one is overdue."""
        return min((asked.due for asked in self._by_number.values()), default=float("inf"))

    def clear(self) -> None:
        """Nobody waits for any of them."""
        self._office.in_hand -= self.in_hand
        self.in_hand = 0
        self._by_number.clear()

    def _drop(self, number: int, asked: Asked) -> None:
        del self._by_number[number]
        self.in_hand -= asked.weight
        self._office.in_hand -= asked.weight
