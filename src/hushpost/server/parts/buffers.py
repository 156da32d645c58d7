"""What all connections have together to receive parts in, and to send them from."""

from __future__ import annotations

from hushpost.directio import aligned_buffer

BUFFER_SIZE = 1 << 20
"""Bytes, which are hashed and written at once, or read."""

IDLE_SECONDS = 0.02
"""So long a buffer of what was read, or the thread that writes what comes, waits for a peer to go on."""

BUFFERS_KEPT = 8
"""Buffers that are kept for the next, beside the other halves of pages of which one is lent. More are lent
for what comes until a connection is read no more."""


class PartBuffers:
    """The buffers of all connections, two in each large page."""

    def __init__(self) -> None:
        self._free: list[memoryview] = []
        self.lent = 0

    def take(self) -> memoryview:
        """One of them."""
        self.lent += 1
        if not self._free:
            pair = aligned_buffer(2 * BUFFER_SIZE)
            self._free += pair[:BUFFER_SIZE], pair[BUFFER_SIZE:]
        return self._free.pop()

    def give(self, buffer: memoryview) -> None:
        """It is free again."""
        self.lent -= 1
        self._free.append(buffer)
        if len(self._free) > BUFFERS_KEPT and sum(each.obj is buffer.obj for each in self._free) == 2:
            self._free = [each for each in self._free if each.obj is not buffer.obj]
