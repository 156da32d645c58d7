"""A clock that a test moves."""

from __future__ import annotations

import asyncio


class ManualClock:
    """Stands still until it is moved; whoever sleeps wakes when it has passed."""

    def __init__(self, now: int = 1_800_000_000) -> None:
        self._now = float(now)
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> int:
        return int(self._now)

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + seconds, future))
        await future

    def move(self, seconds: float) -> None:
        self._now += seconds
        due = [each for each in self._sleepers if each[0] <= self._now]
        self._sleepers = [each for each in self._sleepers if each[0] > self._now]
        for _, future in due:
            if not future.done():
                future.set_result(None)
