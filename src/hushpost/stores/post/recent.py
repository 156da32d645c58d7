"""Which envelope ids were used lately, so that a new one is known to be new without asking the disk."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from hushpost.ids import EnvelopeId

REMEMBERED = 65_536
"""Ids; about 8 MB. That is two seconds of the fastest server, and a day of a quiet one."""


class RecentIds:
    """Every id from a certain second on that was ever used; of older ones it cannot say.

    Seconds are those within the ids. What is forgotten is forgotten by whole seconds, the oldest first,
    so that the rest stays complete.
    """

    def __init__(self, newest_first: Iterable[EnvelopeId]) -> None:
        """Args:
        newest_first: all used ids, or the newest, one more than are remembered.
        """
        self._by_second: dict[int, set[EnvelopeId]] = {}
        self._seconds: list[int] = []
        self._count = 0
        self._complete_from = 0
        for envelope in newest_first:
            self.add(envelope)

    def add(self, envelope: EnvelopeId) -> None:
        """This one is used, or may be."""
        second = envelope.seconds
        if second < self._complete_from:
            return
        used = self._by_second.get(second)
        if used is None:
            used = self._by_second[second] = set()
            heapq.heappush(self._seconds, second)
        elif envelope in used:
            return
        used.add(envelope)
        self._count += 1
        while self._count > REMEMBERED:
            oldest = heapq.heappop(self._seconds)
            self._count -= len(self._by_second.pop(oldest))
            self._complete_from = oldest + 1

    def may_contain(self, envelope: EnvelopeId) -> bool:
        """False only if it was never used."""
        second = envelope.seconds
        if second < self._complete_from:
            return True
        used = self._by_second.get(second)
        return used is not None and envelope in used
