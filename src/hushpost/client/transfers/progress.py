"""How far a transfer is: counted by its threads, told in the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hushpost.client.values import Progress
from hushpost.ids import MessageId

Report = Callable[[Progress], None]
"""Called in the event loop, again and again. What it raises ends the transfer's run, and is raised there."""


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

    def moved(self, count: int) -> None:
        """From any thread: so many more are through; or, of a part that failed, fewer."""
        self._loop.call_soon_threadsafe(self._moved, count)

    def starts(self, carried: int, size: int | None, *, restarted: bool = False) -> None:
        """In the event loop: so many are through already."""
        self._carried, self._size, self._restarted = carried, size, restarted
        self._moved(0)

    def check(self) -> None:
        """Raise what the report has raised."""
        if self._error is not None:
            raise self._error

    def _moved(self, count: int) -> None:
        self._carried = max(0, self._carried + count)
        shown = self._carried if self._size is None else min(self._carried, self._size)
        try:
            self._report(Progress(self._name, shown, self._size, self._restarted))
        except Exception as error:
            self._error = self._error or error
