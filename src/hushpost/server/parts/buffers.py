"""What all connections have together to receive parts in, and to send them from."""

from __future__ import annotations

from hushpost.directio import BLOCK, aligned_buffer

BUFFER_SIZE = 1 << 20
"""Bytes, which are hashed and written at once, or read."""

IDLE_SECONDS = 0.02
"""So long a buffer of what was read, or the thread that writes what comes, waits for a peer to go on."""

BUFFERS_KEPT = 8
"""Buffers that are there from the start."""

BUFFERS_LENT = 48
"""Buffers that are lent before no other connection's part is read: beside many uploads, a slow disk costs
time, and no memory. Whoever is read goes on, with a few more at most."""

BUFFERS_SENT = 16
"""Those of them from which parts are sent, however many are asked for."""


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

    @property
    def are_left(self) -> bool:
        """Whether there are some for another connection's part."""
        return self.lent < BUFFERS_LENT

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
