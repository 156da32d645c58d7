"""What all connections have together to receive parts in, and to send them from."""

from __future__ import annotations

from hushpost.directio import BLOCK, aligned_buffer

BUFFER_SIZE = 1 << 20
"""Bytes, which are hashed and written at once, or read."""

IDLE_SECONDS = 0.02
"""So long a buffer of what was read, or the thread that writes what comes, waits for a peer to go on."""

BUFFERS_KEPT = 8
"""Buffers that are there from the start. More are lent for what comes until a connection is read no more."""


class PartBuffers:
    """The buffers of all connections.

    A few are in large pages, two in each, and stay; they are touched when they are made, since a page may
    take milliseconds to be found. More are in small pages, and go when they are given back.
    """

    def __init__(self) -> None:
        pages = [aligned_buffer(2 * BUFFER_SIZE) for _ in range(BUFFERS_KEPT // 2)]
        for page in pages:
            page[::BLOCK] = bytes(len(page) // BLOCK)
        self._kept = [page.obj for page in pages]
        self._free = [half for page in pages for half in (page[:BUFFER_SIZE], page[BUFFER_SIZE:])]
        self.lent = 0

    def take(self) -> memoryview:
        """One of them."""
        buffer = self._free.pop() if self._free else aligned_buffer(BUFFER_SIZE, large=False)
        self.lent += 1
        return buffer

    def give(self, buffer: memoryview) -> None:
        """It is free again."""
        self.lent -= 1
        if any(buffer.obj is page for page in self._kept):
            self._free.append(buffer)
