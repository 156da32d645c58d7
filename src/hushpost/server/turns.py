"""Who may be read, where only few may be at once."""

from __future__ import annotations

import asyncio
from typing import Protocol

READERS = 3
"""Connections whose parts are read at once. In each round of the event loop that is less than a millisecond
of decryption, for which an envelope waits."""

STALLED = 0.05
"""Seconds without news of a part after which its turn is over, if others wait."""


class Reader(Protocol):
    """Who wants a turn."""

    def is_stalled(self, since: float) -> bool:
        """Whether nothing has come since then (loop time)."""

    def begin_turn(self) -> None:
        """It is this one's."""

    def end_turn(self) -> None:
        """It was taken away: others have theirs."""


class Turns:
    """Given in the order of those who ask."""

    def __init__(self, count: int = READERS) -> None:
        self._count = count
        self._reading: dict[Reader, None] = {}
        self._waiting: dict[Reader, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, reader: Reader) -> bool:
        """Whether it is this one's turn. If not, `begin_turn` tells when."""
        if reader in self._reading:
            return True
        if len(self._reading) < self._count:
            self._reading[reader] = None
            return True
        self._waiting[reader] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(STALLED, self._review)
        return False

    def leave(self, reader: Reader) -> None:
        """It needs no turn, or not any more. Harmless if it has none."""
        self._waiting.pop(reader, None)
        self._reading.pop(reader, None)
        while self._waiting and len(self._reading) < self._count:
            following = next(iter(self._waiting))
            del self._waiting[following]
            self._reading[following] = None
            following.begin_turn()

    def _review(self) -> None:
        """Whoever sends nothing waits behind those who wait now."""
        self._timer = None
        loop = asyncio.get_running_loop()
        for reader in [each for each in self._reading if each.is_stalled(loop.time() - STALLED)]:
            if self._waiting:
                self.leave(reader)
                reader.end_turn()
        if self._waiting and self._timer is None:
            self._timer = loop.call_later(STALLED, self._review)
