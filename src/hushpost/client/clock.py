"""The time, handed in: whoever waits or looks at a clock is given one, so that tests have their own."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What the client knows of time."""

    def now(self) -> int:
        """Seconds since 1970, as this machine believes."""

    async def sleep(self, seconds: float) -> None:
        """Come back after so long."""


class SystemClock:
    """The machine's."""

    def now(self) -> int:
        return int(time.time())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


LONGEST_STEP = 120
"""Seconds between two looks at the stopwatch that count at most: a machine that slept in between was not
connected, and a clock that was put right has not measured anything."""


class Stopwatch:
    """How long we were connected, over as many connections as it took. For any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since: int | None = None
        self._seconds = 0

    def start(self) -> None:
        with self._lock:
            self._since = self._clock.now()

    def stop(self) -> None:
        """The connection is over."""
        with self._lock:
            self._look()
            self._since = None

    def take(self) -> int:
        """Seconds since this was asked last. Ask where they are noted: nobody gets them again."""
        with self._lock:
            self._look()
            seconds, self._seconds = self._seconds, 0
            return seconds

    def _look(self) -> None:
        if self._since is not None:
            now = self._clock.now()
            self._seconds += min(max(0, now - self._since), LONGEST_STEP)
            self._since = now


FIRST_WAIT = 0.5
"""Seconds: a server that restarts is back by then."""

LONGEST_WAIT = 120.0
"""Seconds: a laptop that finds its network again should not have to wait for longer."""


class Backoff:
    """How long to wait before the next attempt: twice as long each time, and never exactly so.

    Without the random part, all clients of a server that restarts would come back in the same instant.
    """

    def __init__(self, first: float = FIRST_WAIT, longest: float = LONGEST_WAIT) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def succeeded(self) -> None:
        """Begin again with short waits."""
        self._next = self._first

    def failed(self, at_least: float = 0.0) -> float:
        """Seconds to wait now: what was asked for, and on top a half to the whole of the present step."""
        step = self._next
        self._next = min(step * 2, self._longest)
        return at_least + jittered(step)


def jittered(seconds: float) -> float:
    """Between a half and the whole of it."""
    return seconds * (0.5 + secrets.randbelow(1000) / 2000)
