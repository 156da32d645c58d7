"""Parts on their way from the store to a connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import structlog

from hushpost.errors import StoreError, StoreFailed, UnknownBlob
from hushpost.server.parts.buffers import IDLE_SECONDS, PartBuffers
from hushpost.stores.base import Parts, StoredPart
from hushpost.wire.messages import PartContent

PIECE = 7 * 16 * 1024
"""Bytes of a part that are sent at once: seven records of TLS. Encrypted, they stay below the 128 KiB from
which on an allocator may ask the system for new memory each time, a page fault for every 4 KiB."""

log = structlog.get_logger()


class Sink(Protocol):
    """Where they go."""

    @property
    def writable(self) -> bool:
        """Whether the peer keeps up with reading."""

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


class Outgoing:
    """Parts on their way from the store to a connection, one after the other."""

    def __init__(self, parts: Parts, buffers: PartBuffers, sending: asyncio.Semaphore, sink: Sink) -> None:
        """`sending`: so many buffers all connections have to send from."""
        self._parts = parts
        self._buffers = buffers
        self._sending = sending
        self._sink = sink
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
            self._sink.abort()
        except StoreError as error:
            log.error("a part cannot be read", reason=str(error))
            self._sink.abort()
        except Exception:
            log.exception("internal error")
            self._sink.abort()

    async def _deliver(self, delivery: Delivery) -> None:
        part, offset = delivery.part, delivery.offset
        self._sink.begin_data(delivery.head, part.size - offset)
        while offset < part.size and not self._closed:
            if self._sink.writable:
                async with self._sending:
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
                self._sink.send_data(piece)
                sent += len(piece)
            return sent
        finally:
            self._buffers.give(buffer)

    async def _is_writable(self) -> bool:
        """Now, or nearly."""
        if not self._sink.writable:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._wait()
        return self._sink.writable

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()
