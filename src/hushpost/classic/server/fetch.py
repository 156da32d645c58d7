"""Handing an inbox over, and deciding whether it may be deleted.

The protocol has no acknowledgement, so the only proof that a reader has read is how it leaves: after the
whole answer was sent and our side ended, its end-of-file arrives, with nothing unacknowledged in the kernel
and no reset. A reader that had ended its side before proves nothing by that; what it was sent is deleted
after a second full delivery. The price is that a message can be shown twice, with the same id.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from enum import Enum
from typing import Protocol

import msgspec

from hushpost.classic import payloads
from hushpost.classic.payloads import ClientId, MessageHeader, Response
from hushpost.classic.server.buffers import BufferPool
from hushpost.classic.server.channel import Channel, Interrupted
from hushpost.classic.server.setbacks import Setbacks
from hushpost.errors import BlobMissing, HushpostError
from hushpost.ids import MailboxId
from hushpost.stores.base import Attachment, Blobs, Envelope, Extent, Store
from hushpost.wire.frames import ResponseHeader

OVERHEAD = payloads.MESSAGE_ENTRY.size - (ClientId.SIZE + 1)
"""Bytes that an entry has beyond what the store counts (sender, type, content): id and size."""

PAGE_COUNT = 1_000
PAGE_BYTES = 512 * 1024
"""Envelopes read at once: enough to keep the socket busy, little enough to forget."""

MAX_UNPROVEN = 100_000
"""Inboxes of which we remember an unproven delivery. Forgetting one shows its messages again."""

END_OF_SIDE = 1
"""The end of our side counts as one byte until it is acknowledged; it may cross with the reader's."""

ACK_POLL_SECONDS = 0.01
ACK_POLL_MOST = 0.64
"""How often the kernel is asked whether the last bytes have arrived, at first and after a while; it tells
no other way, and many readers that stall must not keep us busy."""


class Proof(Enum):
    """What a delivery has shown about its reader."""

    NONE = "nothing was there to be shown"
    ARRIVED = "every byte arrived, but the reader had ended its side before"
    READ = "every byte arrived, and the reader left in good order after that"


class Handover(msgspec.Struct, frozen=True):
    """How inboxes are handed over.

    Attributes:
        portion: bytes of one answer at most, unless a single message is larger.
        relayed: readers come through something that ends and acknowledges connections itself, so that
            how they leave proves nothing.
    """

    portion: int = payloads.MAX_RESPONSE_PAYLOAD
    relayed: bool = False


class Reader(Protocol):
    """What a delivery needs of the connection that asked for it."""

    channel: Channel

    def allow(self, size: int) -> None:
        """So many bytes went out: they earn a later deadline."""

    def close(self) -> None: ...

    def abort(self) -> None: ...


class Deliveries:
    """At most one delivery per inbox at a time, and what earlier ones have left open."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        buffers: BufferPool,
        handover: Handover,
    ) -> None:
        self._handover = handover
        self._store = store
        self._blobs = blobs
        self._buffers = buffers
        self._current: dict[MailboxId, _Delivery] = {}
        self._unproven: OrderedDict[MailboxId, int] = OrderedDict()
        self._setbacks = Setbacks(handover.portion)

    async def deliver(self, reader: Reader, mailbox: MailboxId) -> None:
        """Send what waits in the mailbox, delete it if the reader proves to have it, and close."""
        delivery = _Delivery(reader.channel)
        previous = self._current.get(mailbox)
        self._current[mailbox] = delivery
        try:
            if previous is not None:
                previous.channel.interrupt()
                await previous.concluded.wait()
            await self._conduct(reader, mailbox)
        finally:
            delivery.concluded.set()
            if self._current.get(mailbox) is delivery:
                del self._current[mailbox]

    async def _conduct(self, reader: Reader, mailbox: MailboxId) -> None:
        portion = self._setbacks.portion(mailbox)
        extent = await self._store.extent(mailbox, max_size=portion, overhead=OVERHEAD)
        size = extent.size + extent.count * OVERHEAD
        writer = _AnswerWriter(reader)
        proof = Proof.NONE
        try:
            writer.begin(ResponseHeader(payloads.VERSION, Response.MESSAGES, size).encode())
            await self._send_entries(writer, mailbox, extent)
            reader.channel.half_close()
            if extent.count:
                proof = await await_proof(reader.channel, writer.ended_early)
        except (OSError, Interrupted, HushpostError) as broken:
            if isinstance(broken, OSError):
                self._setbacks.happened(mailbox)
            reader.abort()  # whoever still reads shall see that the answer is incomplete, or not theirs
            return
        await self._conclude(mailbox, extent.last, proof)
        reader.close()

    async def _send_entries(self, writer: _AnswerWriter, mailbox: MailboxId, extent: Extent) -> None:
        """Send page by page. While a reader makes us wait, its page is let go and read again later."""
        after, count, sent = 0, 0, 0
        while after < extent.last:
            page = await self._store.read(mailbox, after=after, max_count=PAGE_COUNT, max_bytes=PAGE_BYTES)
            entries = _entries(page, extent.last)
            data = memoryview(b"".join(entry for _, entry in entries))[sent:]
            taken = writer.send(data)
            blocked = taken < len(data)
            sent += taken
            for envelope, entry in entries:
                if sent < len(entry):
                    break
                sent -= len(entry)
                after, count = envelope.sequence, count + 1
                if envelope.attachment:
                    await self._send_blob(writer, envelope.attachment)
            if not entries:
                break
            del page, entries, data
            if blocked:
                await writer.channel.writable()
        if count != extent.count:
            raise ConnectionAbortedError("the inbox changed under its delivery")

    async def _send_blob(self, writer: _AnswerWriter, attachment: Attachment) -> None:
        offset = 0
        while offset < attachment.size:
            async with self._buffers.lend() as buffer:
                wanted = buffer[: attachment.size - offset]
                read = await self._blobs.read_into(attachment.blob, offset, wanted)
                if not read:
                    raise BlobMissing("a stored content is shorter than it was")
                sent = writer.send(wanted[:read])
            offset += sent
            if sent < read:
                await writer.channel.writable()

    async def _conclude(self, mailbox: MailboxId, last: int, proof: Proof) -> None:
        if proof is Proof.READ and not self._handover.relayed:
            self._unproven.pop(mailbox, None)
            self._setbacks.overcome(mailbox)
            await self._store.ack_up_to(mailbox, last)
        elif proof is not Proof.NONE:
            arrived_before = min(self._unproven.pop(mailbox, 0), last)
            self._unproven[mailbox] = last
            if len(self._unproven) > MAX_UNPROVEN:
                self._unproven.popitem(last=False)
            if arrived_before:
                self._setbacks.overcome(mailbox)
                await self._store.ack_up_to(mailbox, arrived_before)


class _Delivery:
    """A delivery under way: how to end it, and when it is over."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.concluded = asyncio.Event()


class _AnswerWriter:
    """Hands an answer to the kernel, and notices a reader that ends its side too early."""

    def __init__(self, reader: Reader) -> None:
        self.channel = reader.channel
        self.ended_early = False
        self._reader = reader

    def begin(self, header: bytes) -> None:
        """Send the header, which waits in the kernel for what follows: a small answer is one segment."""
        self._look()
        self.channel.send_more(header)

    def send(self, piece: memoryview) -> int:
        """What the kernel takes of it at once."""
        self._look()
        sent = self.channel.send(piece)
        self._reader.allow(sent)
        return sent

    def _look(self) -> None:
        """Before each send: an end-of-file seen now came before the last byte was sent."""
        self.ended_early = self.ended_early or self.channel.at_end()


def _entries(page: list[Envelope], last: int) -> list[tuple[Envelope, bytes]]:
    """The envelopes of this delivery with what is sent of them here, up to the first with a content apart."""
    entries: list[tuple[Envelope, bytes]] = []
    for envelope in page:
        if envelope.sequence > last:
            break
        entries.append((envelope, _entry_header(envelope) + envelope.body))
        if envelope.attachment:
            break
    return entries


def _entry_header(envelope: Envelope) -> bytes:
    sender, message_type = envelope.header[: ClientId.SIZE], envelope.header[ClientId.SIZE]
    return MessageHeader(ClientId(sender), envelope.sequence, message_type, envelope.content_size).encode()


async def await_proof(channel: Channel, ended_early: bool) -> Proof:
    """Wait for the reader to leave, after the answer and the end of our side were sent.

    Raises:
        OSError, Interrupted: there is no proof: reset, too late, or ended by a newer fetch.
    """
    if not ended_early:
        await _end_of_peer(channel)
        if channel.unsent() <= END_OF_SIDE:
            channel.check_reset()  # and nothing else: a newer fetch does not undo what is proved
            return Proof.READ
    pause = ACK_POLL_SECONDS
    while channel.unsent() > END_OF_SIDE:
        channel.check()
        await asyncio.sleep(pause)
        pause = min(2 * pause, ACK_POLL_MOST)
    channel.check()
    return Proof.ARRIVED


async def _end_of_peer(channel: Channel) -> None:
    """Return when the peer has ended its side; a newer fetch does not hide that it just did."""
    while not channel.at_end():
        try:
            await channel.readable()
        except Interrupted:
            if not channel.at_end():
                raise
