"""How far a transfer is: counted by its threads, told in the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from hushpost.client.values import Progress
from hushpost.ids import MessageId

Report = Callable[[Progress], None]
"""Called in the event loop, again and again. What it raises ends the transfer's run, and is raised there."""


REPORT_SECONDS = 0.05
"""Between two reports: to wake the event loop for each piece would cost as much as to decrypt it."""


def silent(_: Progress) -> None:
    """Nobody wants to know."""


class Meter:
    """Counts the bytes of one run, with those of earlier ones.

    Args:
        size: bytes of the file; None: nobody knows yet.
    """

    def __init__(self, name: MessageId, size: int | None, report: Report) -> None:
        self._loop = asyncio.get_running_loop()
        self._name = name
        self._report = report
        self._carried = 0
        self._size = size
        self._restarted = False
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._untold = 0
        self._next = 0.0

    def moved(self, count: int) -> None:
        """From any thread: so many more are through; or, of a part that failed, fewer."""
        with self._lock:
            self._untold += count
            if (now := self._loop.time()) < self._next:
                return
            self._next = now + REPORT_SECONDS
        self._loop.call_soon_threadsafe(self._tell)

    def starts(self, carried: int, size: int | None, *, restarted: bool = False) -> None:
        """In the event loop: so many are through already."""
        self._take()
        self._carried, self._size, self._restarted = carried, size, restarted
        self._tell()

    def check(self) -> None:
        """In the event loop, at the end: raise what the report has raised."""
        self._tell()
        if self._error is not None:
            raise self._error

    def _take(self) -> int:
        with self._lock:
            count, self._untold = self._untold, 0
        return count

    def _tell(self) -> None:
        self._carried = max(0, self._carried + self._take())
        shown = self._carried if self._size is None else min(self._carried, self._size)
        try:
            self._report(Progress(self._name, shown, self._size, self._restarted))
        except Exception as error:
            self._error = self._error or error
