"""A part on its way from a connection to the store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol

from hushpost.ids import BlobId
from hushpost.server.parts.buffers import BUFFER_SIZE, IDLE_SECONDS
from hushpost.server.refusals import BUSY_SECONDS, Refusal
from hushpost.stores.base import Parts, PartWriter
from hushpost.wire.messages import ErrorCode, PartPut, PutPart


class Lender(Protocol):
    """Who has the buffers."""

    def lend(self) -> memoryview:
        """One of them."""

    def give_back(self, buffer: memoryview) -> None:
        """It is written."""


class Filled(NamedTuple):
    """A buffer, and how many of its bytes have come."""

    buffer: memoryview
    used: int


class Incoming:
    """One part on its way from a connection to the store.

    The event loop fills buffers, and a thread of the store writes what is full, without coming back between
    two of them as long as they come quickly. What came with the request waits for its turn without a buffer.
    """

    def __init__(self, lender: Lender, request: PutPart, size: int) -> None:
        self._lender = lender
        self._request = request
        self._size = size
        self._begun = bytearray()  # what came with the request, until there is a buffer
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
        waits = self.arrived == len(self._begun) and self._filling is None
        self.arrived += len(data)
        if waits and self.arrived < BUFFER_SIZE and not self.over:
            self._begun += data
            return
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
            self._filling, self._used = self._lender.lend(), len(self._begun)
            self._filling[: self._used] = self._begun
            self._begun.clear()
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
        self._begun.clear()
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
            self._begun.clear()
            self._hand_over()
            while not self._filled.empty():
                if (left := self._filled.get()) is not None:
                    self._lender.give_back(left.buffer)
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
        if self._begun:
            self._room()
        buffer, self._filling, self._offered = self._filling, None, None
        if buffer is None:
            return
        if self._used:
            self._filled.put(Filled(buffer, self._used))
            self._news.set()
        else:
            self._loop.call_soon(self._lender.give_back, buffer)

    def _pieces(self) -> Generator[memoryview, None, None]:
        """In a thread: what is filled, as long as more follows at once."""
        with contextlib.suppress(Empty):
            while (filled := self._filled.get(timeout=IDLE_SECONDS)) is not None:
                try:
                    yield filled.buffer[: filled.used]
                finally:
                    self._loop.call_soon_threadsafe(self._lender.give_back, filled.buffer)
