"""Parts of files on their way through a server: from connections to the store, and back.

All connections share a few buffers. Nobody keeps one while waiting for a peer: what has come is written at
once, and what is read was asked for by a peer that takes it. So slow peers hold up nobody, and memory does
not grow with the number of transfers. Without a buffer to spare, connections are not read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Protocol

import structlog

from hushpost.errors import StoreError, StoreFailed
from hushpost.ids import BlobId
from hushpost.server.refusals import BUSY_SECONDS, Refusal
from hushpost.stores.base import Parts, PartWriter, StoredPart
from hushpost.wire.messages import ErrorCode, PartContent, PartPut, PutPart

BUFFER_SIZE = 256 * 1024
"""Bytes: as many as are decrypted at once."""

BUFFER_COUNT = 24
"""Buffers of all connections, 6 MiB. They are also what a turn of the loop has to decrypt at most, besides
envelopes: 5 ms."""

EACH_HOLDS = 2
"""Buffers that one connection fills ahead: one is written while the next comes."""


log = structlog.get_logger()


class Outlet(Protocol):
    """What a transfer asks of its connection."""

    @property
    def writable(self) -> bool:
        """Whether the peer keeps up with reading."""

    @property
    def to_come(self) -> int:
        """Bytes of the present message's data that have not come yet."""

    def go_on(self) -> None:
        """There is room again for what comes."""

    def begin_data(self, head: PartContent, size: int) -> None:
        """Send the fields of a message that carries so much data."""

    def send_data(self, data: memoryview) -> None:
        """Send some of it; the buffer is free again when this returns."""

    def abort(self) -> None:
        """End the connection at once."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A part that was asked for: the answer's fields, and from where on it is sent."""

    head: PartContent
    part: StoredPart
    offset: int


class PartBuffers:
    """The buffers, and who waits for one. More than `count` are lent only for what has come already."""

    def __init__(self, count: int = BUFFER_COUNT) -> None:
        self._count = count
        self._free: list[memoryview] = []
        self._waiting: deque[Callable[[], None]] = deque()
        self.lent = 0

    @property
    def short(self) -> bool:
        """Whether nobody should take one now."""
        return self.lent >= self._count

    def take(self) -> memoryview:
        """One of them."""
        self.lent += 1
        return self._free.pop() if self._free else memoryview(bytearray(BUFFER_SIZE))

    def give(self, buffer: memoryview) -> None:
        """It is free again."""
        self.lent -= 1
        if len(self._free) < self._count:
            self._free.append(buffer)
        for _ in range(min(len(self._waiting), self._count - self.lent)):
            self._waiting.popleft()()

    def tell(self, ready: Callable[[], None]) -> None:
        """Call this, once, when there is a buffer to spare: in the order of those who wait."""
        self._waiting.append(ready)


class _Incoming:
    """One part on its way from a connection to the store."""

    def __init__(self, traffic: Traffic, request: PutPart, size: int) -> None:
        self._traffic = traffic
        self._request = request
        self._size = size
        self._filled: list[tuple[memoryview, int]] = []
        self._news = asyncio.Event()
        self._whole = False
        self._given_up = False
        self.over = False

    def take(self, data: memoryview) -> None:
        """The next bytes, which are copied."""
        while data and not self.over:
            if not self._filled or self._filled[-1][1] == BUFFER_SIZE:
                self._filled.append((self._traffic.lend(), 0))
            buffer, used = self._filled[-1]
            count = min(len(data), BUFFER_SIZE - used)
            buffer[used : used + count] = data[:count]
            self._filled[-1] = (buffer, used + count)
            data = data[count:]
        self._news.set()

    def end(self) -> None:
        """That was all of it."""
        self._whole = True
        self._news.set()

    def give_up(self) -> None:
        """No more of it comes."""
        self._given_up = True
        self._news.set()

    async def run(self, parts: Parts) -> PartPut:
        """Bring it into the store; the answer."""
        request = self._request
        try:
            writer = await parts.begin_part(BlobId(request.blob), request.index, request.digest, self._size)
            if writer is not None:
                await self._write(writer)
        finally:
            self.over = True
            self._give_back(self._filled)
        return PartPut(request.number)

    async def _write(self, writer: PartWriter) -> None:
        try:
            while not self._whole or self._filled:
                if self._given_up:
                    raise Refusal(ErrorCode.UNAVAILABLE, retry_after=BUSY_SECONDS)
                self._news.clear()
                filled, self._filled = self._filled, []
                if filled:
                    try:
                        await writer.write([buffer[:used] for buffer, used in filled])
                    finally:
                        self._give_back(filled)
                else:
                    await self._news.wait()
            await writer.finish()
        finally:
            await writer.abandon()

    def _give_back(self, filled: list[tuple[memoryview, int]]) -> None:
        for buffer, _ in filled:
            self._traffic.give_back(buffer)
        filled.clear()


class _Outgoing:
    """Parts on their way from the store to a connection, one after the other."""

    def __init__(self, parts: Parts, buffers: PartBuffers, outlet: Outlet) -> None:
        self._parts = parts
        self._buffers = buffers
        self._outlet = outlet
        self._queue: deque[Delivery] = deque()
        self._news = asyncio.Event()
        self._closed = False

    def add(self, delivery: Delivery) -> None:
        """Send this one, too."""
        self._queue.append(delivery)
        self._news.set()

    def go(self) -> None:
        """The peer has read something."""
        self._news.set()

    def close(self) -> None:
        """The connection has ended."""
        self._closed = True
        self._news.set()

    async def run(self) -> None:
        """Until the connection ends."""
        try:
            while not self._closed:
                if self._queue:
                    await self._deliver(self._queue.popleft())
                else:
                    await self._wait()
        except StoreError:  # the blob was deleted, and its head has said what would come
            self._outlet.abort()
        except Exception:
            log.exception("internal error")
            self._outlet.abort()

    async def _deliver(self, delivery: Delivery) -> None:
        part, offset = delivery.part, delivery.offset
        left = part.size - offset
        self._outlet.begin_data(delivery.head, left)
        while left and not self._closed:
            if not self._outlet.writable:
                await self._wait()
            elif self._buffers.short:
                self._buffers.tell(self.go)
                await self._wait()
            else:
                left -= await self._piece(part, part.size - left)

    async def _piece(self, part: StoredPart, offset: int) -> int:
        buffer = self._buffers.take()
        try:
            count = await self._parts.read_part(part, offset, buffer)
            if not count:
                raise StoreFailed("a part is shorter than it was")
            if not self._closed:
                self._outlet.send_data(buffer[:count])
            return count
        finally:
            self._buffers.give(buffer)

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()


class Traffic:
    """The parts of one connection, in both directions."""

    __slots__ = ("_buffers", "_held", "_incoming", "_outgoing", "_outlet", "_parts", "_queued", "_tasks")

    def __init__(self, parts: Parts, buffers: PartBuffers, tasks: asyncio.TaskGroup, outlet: Outlet) -> None:
        self._parts = parts
        self._buffers = buffers
        self._tasks = tasks
        self._outlet = outlet
        self._incoming: _Incoming | None = None
        self._outgoing: _Outgoing | None = None
        self._held = 0
        self._queued = False

    # From the connection to the store

    def receive(self, request: PutPart) -> Coroutine[object, object, PartPut]:
        """From now on its data comes; what this returns brings it into the store and answers."""
        self._incoming = _Incoming(self, request, self._outlet.to_come)
        return self._incoming.run(self._parts)

    def take(self, data: memoryview) -> None:
        """The next bytes of the data of whatever message it is that carries some."""
        if self._incoming is not None:
            self._incoming.take(data)

    def end(self) -> None:
        """There was all of it."""
        if self._incoming is not None:
            self._incoming.end()
            self._incoming = None

    def may_read(self) -> bool:
        """Whether there is room for what comes. If not, the outlet is told when there is."""
        if self._incoming is None or self._incoming.over:
            return True
        if self._held >= EACH_HOLDS:
            return False
        if self._buffers.short and not self._queued:
            self._queued = True
            self._buffers.tell(self._woken)
        return not self._buffers.short

    def lend(self) -> memoryview:
        """For a part that comes."""
        self._held += 1
        return self._buffers.take()

    def give_back(self, buffer: memoryview) -> None:
        """It is written."""
        self._held -= 1
        self._buffers.give(buffer)
        self._outlet.go_on()

    def _woken(self) -> None:
        self._queued = False
        self._outlet.go_on()

    # From the store to the connection

    def deliver(self, delivery: Delivery) -> None:
        """Send it, behind those that are being sent."""
        if self._outgoing is None:
            self._outgoing = _Outgoing(self._parts, self._buffers, self._outlet)
            self._tasks.create_task(self._outgoing.run())
        self._outgoing.add(delivery)

    def go(self) -> None:
        """The peer has read something."""
        if self._outgoing is not None:
            self._outgoing.go()

    def close(self) -> None:
        """The connection reads no more, or has ended. Harmless if done before."""
        if self._incoming is not None:
            self._incoming.give_up()
            self._incoming = None
        if self._outgoing is not None:
            self._outgoing.close()
            self._outgoing = None
