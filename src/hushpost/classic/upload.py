"""A large content on its way in: from the socket to a blob, through a shared buffer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hushpost.classic.buffers import BufferPool
from hushpost.classic.channel import Channel
from hushpost.errors import ProtocolError
from hushpost.ids import BlobId
from hushpost.stores.base import Blobs
from hushpost.wire.frames import Chunk, FrameDecoder, RequestHeader

WAKE_AT = 256 * 1024
"""Bytes that the kernel gathers before it wakes us: a slow sender costs no small writes."""


class Uploads:
    """Receives contents into blobs."""

    def __init__(self, blobs: Blobs, buffers: BufferPool) -> None:
        self._blobs = blobs
        self._buffers = buffers

    @asynccontextmanager
    async def receive(
        self, channel: Channel, decoder: FrameDecoder[RequestHeader], head: bytes, size: int
    ) -> AsyncIterator[BlobId]:
        """Receive `size` bytes, of which `head` has come already, into a finished blob.

        Where the content or the block after it fails, nothing of the blob stays behind.

        Raises:
            ProtocolError: the peer ended its side too early.
            ConnectionError, Interrupted, StoreFull.
        """
        blob = BlobId.random()
        try:
            await self._blobs.create(blob)
            if head:
                await self._blobs.write(blob, 0, memoryview(head))
            offset = len(head)
            while offset < size:
                channel.wake_at(min(WAKE_AT, size - offset))
                await channel.readable()
                async with self._buffers.lend() as buffer:
                    filled = _fill(channel, buffer[: size - offset])
                    decoder.receive_data(buffer[:filled])
                    chunk = decoder.next_event()
                    if isinstance(chunk, Chunk):
                        await self._blobs.write(blob, offset, chunk.data)
                        offset += len(chunk.data)
            await self._blobs.finish(blob, size)
            yield blob
        except BaseException:
            await self._blobs.discard([blob])
            raise


def _fill(channel: Channel, buffer: memoryview) -> int:
    """Receive until the buffer is full or nothing is left to take."""
    filled = 0
    while filled < len(buffer):
        received = channel.receive(buffer[filled:])
        if received is None:
            break
        if received == 0:
            raise ProtocolError("the content ended too early")
        filled += received
    return filled
