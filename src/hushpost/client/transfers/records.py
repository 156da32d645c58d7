"""Transactions for threads: the store's own thread does them, and the event loop passes them on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hushpost.client.store import StoreThread, Tables


class Transactions:
    """Made in the event loop, used by other threads."""

    def __init__(self, db: StoreThread) -> None:
        self._db = db
        self._loop = asyncio.get_running_loop()

    def change(self, work: Callable[[Tables], None]) -> None:
        """Durable when this returns. The event loop must not be what waits for this thread."""
        asyncio.run_coroutine_threadsafe(self._db.transaction(work), self._loop).result()

    def reading(self, work: Callable[[Tables], dict[int, set[bytes]]]) -> dict[int, set[bytes]]:
        """What stands there."""
        return asyncio.run_coroutine_threadsafe(self._db.reading(work), self._loop).result()
