"""Parts of files on their way through a server: from connections to the store, and back.

All connections share a few buffers, and few of them are read at once: a part is one *turn*, and a peer that
sends little for a moment loses it to another. Nobody keeps a buffer while waiting for a peer: what has come
is written when the turn ends, and what is read was asked for by a peer that takes it. So slow peers hold up
nobody, uploads hold up no envelope for long, and memory does not grow with the number of transfers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine, Generator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol

import structlog

from hushpost.directio import aligned_buffer
from hushpost.errors import StoreError, StoreFailed, UnknownBlob
from hushpost.ids import BlobId
from hushpost.server.refusals import BUSY_SECONDS, Refusal
from hushpost.server.turns import Turns
from hushpost.stores.base import Parts, PartWriter, StoredPart
from hushpost.wire.messages import ErrorCode, PartContent, PartPut, PutPart

BUFFER_SIZE = 1 << 20
"""Bytes, which are hashed and written at once, or read."""

AT_ONCE = 192 * 1024
"""Bytes that are read at once. Envelopes wait for that: with 256 KiB, as many as uvloop decrypts at once, a
fifth longer beside files, which are no slower with these."""

IDLE_SECONDS = 0.02
"""So long a buffer of what was read, or the thread that writes what comes, waits for a peer to go on."""

BUFFERS_KEPT = 8
"""Buffers that are kept for the next. More are lent for what comes until a connection is read no more."""

EACH_HOLDS = 2
"""Buffers that one connection may hold when it is read: one is written while the next comes."""

PIECE = 7 * 16 * 1024
"""Bytes of a part that are sent at once: seven records of TLS. Encrypted, they stay below the 128 KiB from
which on an allocator may ask the system for new memory each time, a page fault for every 4 KiB."""


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

    def stop_reading(self) -> None:
        """There is none."""

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


class Filled(NamedTuple):
    """A buffer, and how many of its bytes have come."""

    buffer: memoryview
    used: int


class PartBuffers:
    """The buffers of all connections, two in each large page."""

    def __init__(self) -> None:
        self._free: list[memoryview] = []
        self.lent = 0

    @property
    def kept(self) -> int:
        """How many are there for the next."""
        return len(self._free)

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
        if len(self._free) < BUFFERS_KEPT:
            self._free.append(buffer)


class _Incoming:
    """One part on its way from a connection to the store.

    The event loop fills buffers, and a thread of the store writes what is full, without coming back between
    two of them as long as they come quickly.
    """

    def __init__(self, traffic: Traffic, request: PutPart, size: int) -> None:
        self._traffic = traffic
        self._request = request
        self._size = size
        self._filling: memoryview | None = None
        self._used = 0
        self._offered: memoryview | None = None
        self._filled: SimpleQueue[Filled | None] = SimpleQueue()
        self._news = asyncio.Event()
        self._whole = False
        self._given_up = False
        self._loop = asyncio.get_running_loop()
        self.arrived = 0
        self.over = False

    def offer(self, size: int) -> memoryview:
        """Where the next bytes belong, and no more than that."""
        self._offered = self._room()[:size]
        return self._offered

    def take(self, data: memoryview, source: memoryview) -> None:
        """The next bytes; they are copied if what they came in is not what was offered for them."""
        self.arrived += len(data)
        in_place = source is self._offered
        self._offered = None
        while data and not self.over:
            room = self._room()
            count = min(len(data), len(room))
            if not in_place:
                room[:count] = data[:count]
            self._used += count
            data = data[count:]
            if self._used == BUFFER_SIZE:
                self._hand_over()

    def _room(self) -> memoryview:
        if self._filling is None:
            self._filling, self._used = self._traffic.lend(), 0
        return self._filling[self._used :]

    def hurry(self) -> None:
        """Write what there is, and wait for no more."""
        self._hand_over()
        self._filled.put(None)
        self._news.set()

    def end(self) -> None:
        """That was all of it."""
        self._whole = True
        self.hurry()

    def give_up(self) -> None:
        """No more of it comes."""
        self._given_up = True
        self.hurry()

    async def run(self, parts: Parts) -> PartPut:
        """Bring it into the store; the answer."""
        request = self._request
        try:
            writer = await parts.begin_part(BlobId(request.blob), request.index, request.digest, self._size)
            if writer is not None:
                await self._write(writer)
        finally:
            self.over = True
            self._hand_over()
            while not self._filled.empty():
                if (left := self._filled.get()) is not None:
                    self._traffic.give_back(left.buffer)
        return PartPut(request.number)

    async def _write(self, writer: PartWriter) -> None:
        try:
            while not self._whole or not self._filled.empty():
                if self._given_up:
                    raise Refusal(ErrorCode.UNAVAILABLE, retry_after=BUSY_SECONDS)
                self._news.clear()
                if self._filled.empty():
                    await self._news.wait()
                else:
                    with contextlib.closing(self._pieces()) as pieces:
                        await writer.write(pieces)
            await writer.finish()
        finally:
            await writer.abandon()

    def _hand_over(self) -> None:
        buffer, self._filling, self._offered = self._filling, None, None
        if buffer is None:
            return
        if self._used:
            self._filled.put(Filled(buffer, self._used))
            self._news.set()
        else:
            self._loop.call_soon(self._traffic.give_back, buffer)

    def _pieces(self) -> Generator[memoryview, None, None]:
        """In a thread: what is filled, as long as more follows at once."""
        with contextlib.suppress(Empty):
            while (filled := self._filled.get(timeout=IDLE_SECONDS)) is not None:
                try:
                    yield filled.buffer[: filled.used]
                finally:
                    self._loop.call_soon_threadsafe(self._traffic.give_back, filled.buffer)


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
        except UnknownBlob:  # it was deleted, and its head has said what would come
            self._outlet.abort()
        except StoreError as error:
            log.error("a part cannot be read", reason=str(error))
            self._outlet.abort()
        except Exception:
            log.exception("internal error")
            self._outlet.abort()

    async def _deliver(self, delivery: Delivery) -> None:
        part, offset = delivery.part, delivery.offset
        self._outlet.begin_data(delivery.head, part.size - offset)
        while offset < part.size and not self._closed:
            if self._outlet.writable:
                offset += await self._some(part, offset)
            else:
                await self._wait()

    async def _some(self, part: StoredPart, offset: int) -> int:
        """Read a buffer, and send as much of it as the peer takes without delay; so many bytes."""
        buffer, sent = self._buffers.take(), 0
        try:
            count = await self._parts.read_part(part, offset, buffer)
            if not count:
                raise StoreFailed("a part is shorter than it was")
            while sent < count and not self._closed and await self._is_writable():
                piece = buffer[sent : min(sent + PIECE, count)]
                self._outlet.send_data(piece)
                sent += len(piece)
            return sent
        finally:
            self._buffers.give(buffer)

    async def _is_writable(self) -> bool:
        """Now, or nearly."""
        if not self._outlet.writable:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._wait()
        return self._outlet.writable

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()


@dataclass(frozen=True, slots=True)
class Shared:
    """What the traffic of all connections shares."""

    buffers: PartBuffers = field(default_factory=PartBuffers)
    turns: Turns = field(default_factory=Turns)


class Traffic:
    """The parts of one connection, in both directions."""

    __slots__ = ("_buffers", "_held", "_incoming", "_outgoing", "_outlet", "_parts", "_tasks", "_turns")

    def __init__(self, parts: Parts, shared: Shared, tasks: asyncio.TaskGroup, outlet: Outlet) -> None:
        self._parts = parts
        self._buffers = shared.buffers
        self._turns = shared.turns
        self._tasks = tasks
        self._outlet = outlet
        self._incoming: _Incoming | None = None
        self._outgoing: _Outgoing | None = None
        self._held = 0

    # From the connection to the store

    def receive(self, request: PutPart) -> Coroutine[object, object, PartPut]:
        """From now on its data comes; what this returns brings it into the store and answers."""
        self._incoming = _Incoming(self, request, self._outlet.to_come)
        return self._incoming.run(self._parts)

    def room(self) -> memoryview | None:
        """Where to put what is received next, if that is data of a part."""
        if self._incoming is None or self._incoming.over:
            return None
        return self._incoming.offer(min(self._outlet.to_come, AT_ONCE))

    def take(self, data: memoryview, source: memoryview) -> None:
        """The next bytes of the data of whatever message it is that carries some, and what they came in."""
        if self._incoming is not None:
            self._incoming.take(data, source)

    def end(self) -> None:
        """There was all of it."""
        if self._incoming is not None:
            self._incoming.end()
            self._incoming = None
            self._turns.leave(self)

    def may_read(self) -> bool:
        """Whether there is room for what comes, and it is our turn. If not, the outlet is told when."""
        if self._incoming is None or self._incoming.over:
            return True
        if self._held > EACH_HOLDS:
            return False
        return self._turns.ask(self)

    @property
    def arrived(self) -> int:
        return 0 if self._incoming is None else self._incoming.arrived

    def begin_turn(self) -> None:
        self._outlet.go_on()

    def end_turn(self) -> None:
        if self._incoming is not None:
            self._incoming.hurry()
        self._outlet.stop_reading()
        self._turns.ask(self)

    def lend(self) -> memoryview:
        """For a part that comes."""
        self._held += 1
        return self._buffers.take()

    def give_back(self, buffer: memoryview) -> None:
        """It is written."""
        self._held -= 1
        self._buffers.give(buffer)
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
        self._turns.leave(self)
        if self._outgoing is not None:
            self._outgoing.close()
            self._outgoing = None
