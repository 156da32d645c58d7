"""The classic server: requests of the old protocol, answered from the stores.

One request a connection. The usual one, a small message, is read, stored and answered by plain callbacks:
no task, and no watching of the socket where the request has arrived with the connection. Whatever waits
more than once is a coroutine in the server's task group. Normative text: docs/spec/classic.md.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from enum import Enum
from functools import partial

import structlog

from hushpost.classic import payloads
from hushpost.classic.payloads import ClientId, Registration, Request, Response, SendPrefix
from hushpost.classic.server.buffers import BufferPool
from hushpost.classic.server.channel import SCRATCH, Channel, Interrupted
from hushpost.classic.server.fetch import Deliveries, Handover
from hushpost.classic.server.upload import Uploads
from hushpost.errors import HushpostError, ProtocolError, StoreError, StoreFailed
from hushpost.ids import AccountId, MailboxId
from hushpost.settings import ListenLimits
from hushpost.stores.base import Account, Attachment, Blobs, Delivery, Send, Store
from hushpost.wire.frames import (
    Chunk,
    EndOfStream,
    Frame,
    FrameDecoder,
    FrameStart,
    RequestHeader,
    ResponseHeader,
)

LINGER_SECONDS = 5.0
"""A refused peer may still be sending; closing at once would reset the refusal away."""

LIST_PAGE = 1_000
"""Directory entries read at once: 271 KB."""

MAX_KNOWN = 100_000
"""Client ids remembered as registered, so that a send need not ask the database: some 10 MB."""

DIRECT = Handover()
"""Whole inboxes, to readers whose connections end here."""

log = structlog.get_logger()


class Gateway:
    """What all connections share. Call it with an accepted socket: it is the acceptor's factory."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        limits: ListenLimits,
        tasks: asyncio.TaskGroup,
        handover: Handover = DIRECT,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.store = store
        self.limits = limits
        self.tasks = tasks
        buffers = BufferPool()
        self.uploads = Uploads(blobs, buffers)
        self.deliveries = Deliveries(store, blobs, buffers, handover)
        self._known: set[bytes] = set()

    def __call__(self, accepted: socket.socket, release: Callable[[Connection], None]) -> Connection:
        return Connection(self, accepted, release)

    def remembers(self, client: bytes) -> bool:
        """Whether this client is known to be registered, without asking the store."""
        return client in self._known

    async def knows(self, client: bytes) -> bool:
        """Whether this client is registered. Nobody ever leaves, so a yes stays true."""
        if client in self._known:
            return True
        if await self.store.account(AccountId(client)) is None:
            return False
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known.add(client)
        return True


class Stage(Enum):
    """How far a connection is; it decides what its end may look like."""

    READING = "the request is not complete"
    WORKING = "the request is being carried out: it can still be refused"
    ANSWERING = "a long answer has begun: it can only be completed or broken off"
    LEAVING = "everything was said; the peer may still be sending"


class Connection:
    """One connection, one request. See `server.net.Connection` for what the acceptor asks of it."""

    __slots__ = ("_decoder", "_gateway", "_release", "_stage", "channel", "deadline")

    def __init__(
        self, gateway: Gateway, accepted: socket.socket, release: Callable[[Connection], None]
    ) -> None:
        self._gateway = gateway
        self._release: Callable[[Connection], None] | None = release
        self._decoder = FrameDecoder(RequestHeader, payloads.REQUEST_LIMITS)
        self._stage = Stage.READING
        self.channel = Channel(gateway.loop, accepted)
        self.deadline = gateway.loop.time() + gateway.limits.request_deadline

    def start(self) -> None:
        self._receive()

    def expire(self) -> None:
        """Answer 9000 where the answer has not begun; the original does so after its 10 seconds."""
        if self._release is None:
            return
        self.deadline = float("inf")
        self.channel.interrupt()
        if self._stage is Stage.READING:
            self._refuse()
        elif self._stage is Stage.LEAVING:
            self.close()

    def stop(self) -> None:
        if self._stage is Stage.READING and not self._decoder.buffered:
            self.close()

    def close(self) -> None:
        """Let go of the socket; harmless when done before."""
        if self._release is not None:
            self.channel.close()
            self._end()

    def abort(self) -> None:
        """Let go of the socket with a reset; harmless when closed before."""
        if self._release is not None:
            self.channel.abort()
            self._end()

    def allow(self, size: int) -> None:
        """Extend the deadline: so many bytes went by, and may have taken their time."""
        self.deadline += size / self._gateway.limits.min_rate

    def _end(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release(self)

    # Reading the request

    def _receive(self) -> None:
        decoder = self._decoder
        try:
            received = self.channel.receive(SCRATCH)
            if received is None:
                self.channel.watch(self._receive)
                return
            if received:
                decoder.receive_data(SCRATCH[:received])
            else:
                decoder.receive_eof()
            event = decoder.next_event()
        except OSError:
            self.close()
            return
        except ProtocolError:
            self._refuse()
            return
        if event is None:
            self.channel.watch(self._receive)
            return
        self.channel.unwatch()
        if isinstance(event, EndOfStream):
            self.close()
            return
        self._stage = Stage.WORKING
        try:
            if isinstance(event, Frame):
                self._dispatch(event.header, event.payload)
            elif isinstance(event, FrameStart):
                self._begin_upload(event.header, event.prefix)
        except ProtocolError:
            self._refuse()

    def _dispatch(self, header: RequestHeader, payload: bytes) -> None:
        if header.code == Request.SEND_MESSAGE:
            prefix = SendPrefix.decode(payload, header.payload_size)
            if self._gateway.remembers(header.client_id):
                self._store(header.client_id, prefix, payload)
            else:
                self._run(self._store_for_stranger(header.client_id, prefix, payload))
        elif header.code == Request.GET_MESSAGES and not payload:
            self._run(self._deliver(header.client_id))
        elif header.code == Request.LIST_CLIENTS and not payload:
            self._run(self._list(header.client_id))
        elif header.code == Request.PUBLIC_KEY and len(payload) == ClientId.SIZE:
            self._run(self._public_key(header.client_id, AccountId(payload)))
        elif header.code == Request.REGISTER:
            self._run(self._register(Registration.decode(payload)))
        else:
            raise ProtocolError("no such request")

    # Answers

    def _answer(self, data: bytes) -> None:
        """Send a small answer and close."""
        try:
            self.channel.send_last(data)
        except OSError:
            self.close()
            return
        if self._decoder.unread:
            self._linger()
        else:
            self.close()

    def _refuse(self) -> None:
        if self._release is None:
            return
        if self._stage is Stage.ANSWERING:
            self.abort()
            return
        try:
            self.channel.send_last(payloads.REFUSAL)
        except OSError:
            self.close()
        else:
            self._linger()

    def _linger(self) -> None:
        """Our side has ended: read away the peer's, so that no reset overtakes the answer."""
        self._stage = Stage.LEAVING
        self.deadline = self._gateway.loop.time() + LINGER_SECONDS
        self.channel.watch(self._discard)

    def _discard(self) -> None:
        try:
            ended = self.channel.at_end()
        except OSError:
            ended = True
        if ended:
            self.close()

    def _run(self, work: Coroutine[None, None, None]) -> None:
        self._gateway.tasks.create_task(self._guarded(work))

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        """Whatever goes wrong with one request ends with that request."""
        try:
            await work
        except Interrupted:
            self._refuse()
        except OSError:
            self.close()
        except HushpostError:
            self._refuse()
        except Exception:
            log.exception("internal error")
            self._refuse()

    # The five requests

    def _store(self, sender: bytes, prefix: SendPrefix, payload: bytes) -> None:
        delivery = Delivery(MailboxId(prefix.recipient), sender + bytes((prefix.message_type,)))
        content = payload[payloads.SEND_PREFIX.size :]
        stored = self._gateway.store.append(Send((delivery,), content))
        stored.add_done_callback(partial(self._stored, prefix.recipient))

    def _stored(self, recipient: ClientId, done: asyncio.Future[tuple[int, ...]]) -> None:
        try:
            (sequence,) = done.result()
        except (HushpostError, asyncio.CancelledError):
            self._refuse()
        else:
            self._answer(payloads.stored(recipient, sequence))

    async def _store_for_stranger(self, sender: bytes, prefix: SendPrefix, payload: bytes) -> None:
        await self._require(sender)
        self._store(sender, prefix, payload)

    def _begin_upload(self, header: RequestHeader, raw_prefix: bytes) -> None:
        if header.code != Request.SEND_MESSAGE:
            raise ProtocolError("no other request is that large")
        prefix = SendPrefix.decode(raw_prefix, header.payload_size)
        head = self._take_chunk()
        self._run(self._upload(header.client_id, prefix, head))

    def _take_chunk(self) -> bytes:
        """Copy what has arrived of the content: the scratch buffer is everybody's."""
        chunk = self._decoder.next_event()
        return bytes(chunk.data) if isinstance(chunk, Chunk) else b""

    async def _upload(self, sender: bytes, prefix: SendPrefix, head: bytes) -> None:
        gateway = self._gateway
        await self._require(sender)
        mailbox = MailboxId(prefix.recipient)
        await gateway.store.admit(mailbox, prefix.content_size)
        blob = await gateway.uploads.receive(self, self._decoder, head, prefix.content_size)
        delivery = Delivery(mailbox, sender + bytes((prefix.message_type,)))
        send = Send((delivery,), b"", attachment=Attachment(blob, prefix.content_size))
        try:
            (sequence,) = await gateway.store.append(send)
        except StoreFailed:
            raise  # nobody knows whether the envelope is there: the sweep of the next start decides
        except StoreError:
            await gateway.uploads.discard(blob)
            raise
        self._answer(payloads.stored(prefix.recipient, sequence))

    async def _deliver(self, client: bytes) -> None:
        await self._require(client)
        await self._gateway.deliveries.deliver(self, MailboxId(client))

    async def _register(self, registration: Registration) -> None:
        account = Account(AccountId.random(), registration.name, registration.public_key)
        await self._gateway.store.register(account, MailboxId(account.id))
        self._answer(payloads.response(Response.REGISTERED, account.id))

    async def _public_key(self, client: bytes, target: AccountId) -> None:
        await self._require(client)
        account = await self._gateway.store.account(target)
        if account is None:
            raise ProtocolError("no such client")
        answer = payloads.KEY_ANSWER.pack(account.id, account.record)
        self._answer(payloads.response(Response.PUBLIC_KEY, answer))

    async def _list(self, client: bytes) -> None:
        await self._require(client)
        store = self._gateway.store
        extent = await store.accounts_extent()
        size = (extent.count - 1) * payloads.LIST_ENTRY.size
        self._stage = Stage.ANSWERING
        await self.channel.send_all(ResponseHeader(payloads.VERSION, Response.CLIENTS, size).encode())
        last = 0
        while last < extent.last:
            page = await store.accounts_page(last, extent.last, LIST_PAGE)
            last = page[-1][0]
            entries = (
                payloads.LIST_ENTRY.pack(account.id, account.name.encode())
                for _, account in page
                if account.id != client
            )
            answer = b"".join(entries)
            await self.channel.send_all(answer)
            self.allow(len(answer))
        self.channel.half_close()
        self._linger()

    async def _require(self, client: bytes) -> None:
        if not await self._gateway.knows(client):
            raise ProtocolError("no such client")
