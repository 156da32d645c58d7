"""Who may be read, where only few may be at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

READERS = 1
"""Connections whose parts are read at once. All end in one event loop, so that more are no quicker; but in
each of its rounds an envelope would wait for every one of them to be decrypted."""

REVIEW_SECONDS = 0.01
"""Between two looks at who has a turn, while others wait."""

LEAST = 64 * 1024
"""Bytes between two such looks: whoever brings fewer makes way. What a slow line brings meanwhile waits in
the kernel, and is read in a moment when its turn comes again."""


class Reader(Protocol):
    """Who wants a turn."""

    @property
    def arrived(self) -> int:
        """Bytes that have come so far."""

    def begin_turn(self) -> None:
        """It is this one's."""

    def end_turn(self) -> None:
        """It was taken away: others have theirs."""


class Turns:
    """Given in the order of those who ask.

    Args:
        may_begin: whether there is room for one more turn. When there is again, `go` has to be called.
    """

    def __init__(self, count: int = READERS, may_begin: Callable[[], bool] = lambda: True) -> None:
        self._count = count
        self._may_begin = may_begin
        self._reading: dict[Reader, int | None] = {}
        """What had arrived at the last look; None: there was none since the turn began."""
        self._waiting: dict[Reader, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many wait for theirs."""
        return len(self._waiting)

    @property
    def _is_free(self) -> bool:
        return len(self._reading) < self._count and self._may_begin()

    def ask(self, reader: Reader) -> bool:
        """Whether it is this one's turn. If not, `begin_turn` tells when."""
        if reader in self._reading:
            return True
        if self._is_free:
            self._reading[reader] = None
            return True
        self._waiting[reader] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(REVIEW_SECONDS, self._review)
        return False

    def leave(self, reader: Reader) -> None:
        """It needs no turn, or not any more. Harmless if it has none."""
        self._waiting.pop(reader, None)
        self._reading.pop(reader, None)
        self.go()

    def go(self) -> None:
        """Begin those turns for which there is room."""
        while self._waiting and self._is_free:
            following = next(iter(self._waiting))
            del self._waiting[following]
            self._reading[following] = None
            following.begin_turn()

    def _review(self) -> None:
        """Whoever is slow waits behind those who wait now."""
        self._timer = None
        for reader, before in list(self._reading.items()):
            if before is None or reader.arrived - before >= LEAST:
                self._reading[reader] = reader.arrived
            elif self._waiting:
                self.leave(reader)
                reader.end_turn()
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(REVIEW_SECONDS, self._review)
