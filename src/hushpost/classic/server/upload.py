"""A large content on its way in: from the socket to a blob, through a shared buffer."""

from __future__ import annotations

from typing import Protocol

from hushpost.classic.server.buffers import BufferPool
from hushpost.classic.server.channel import Channel
from hushpost.errors import ProtocolError
from hushpost.ids import BlobId
from hushpost.stores.base import Blobs
from hushpost.wire.frames import Chunk, FrameDecoder, RequestHeader

WAKE_AT = 256 * 1024
"""Bytes that the kernel gathers before it wakes us: a slow sender costs no small writes."""


class Sender(Protocol):
    """What an upload needs of the connection that brings it."""

    channel: Channel

    def allow(self, size: int) -> None:
        """So many bytes came in: they earn a later deadline."""


class Uploads:
    """Receives contents into blobs."""

    def __init__(self, blobs: Blobs, buffers: BufferPool) -> None:
        self._blobs = blobs
        self._buffers = buffers

    async def receive(
        self, sender: Sender, decoder: FrameDecoder[RequestHeader], head: bytes, size: int
    ) -> BlobId:
        """Receive `size` bytes, of which `head` has come already, into a finished blob.

        Where that fails, nothing of the blob stays behind.

        Raises:
            ProtocolError: the peer ended its side too early.
            ConnectionError, Interrupted, StoreFull.
        """
        blob = BlobId.random()
        channel = sender.channel
        try:
            await self._blobs.create(blob, size)
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
                        sender.allow(len(chunk.data))
            await self._blobs.finish(blob, size)
        except BaseException:
            await self._blobs.discard([blob])
            raise
        return blob

    async def discard(self, blob: BlobId) -> None:
        """Remove a received content that no envelope came to refer to."""
        await self._blobs.discard([blob])


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
