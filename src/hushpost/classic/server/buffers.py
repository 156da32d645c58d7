"""A few large buffers that all uploads and deliveries share, so that memory does not grow with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

BUFFER_SIZE = 1 << 20
"""1 MiB: where larger reads and writes stop gaining."""

BUFFER_COUNT = 8
"""As many as two cores and one disk can use at once."""


class BufferPool:
    """Lends buffers. Nobody keeps one while waiting for a peer, so a slow peer blocks nobody."""

    def __init__(self) -> None:
        self._free = [memoryview(bytearray(BUFFER_SIZE)) for _ in range(BUFFER_COUNT)]
        self._available = asyncio.Semaphore(BUFFER_COUNT)

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[memoryview]:
        """A buffer of BUFFER_SIZE bytes, for as long as the block lasts."""
        async with self._available:
            buffer = self._free.pop()
            try:
                yield buffer
            finally:
                self._free.append(buffer)
