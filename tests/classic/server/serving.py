"""A classic server inside the test's own event loop, and a peer with full control of its socket."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from hushpost.classic import payloads
from hushpost.classic.payloads import (
    ClientId,
    ContentEnd,
    MessageHeader,
    MessagesDecoder,
    MessageType,
    Registration,
    Request,
    SendPrefix,
)
from hushpost.classic.server.fetch import Handover
from hushpost.classic.server.gateway import DIRECT, Gateway
from hushpost.ids import AccountId, MailboxId
from hushpost.server.net import Acceptor, listen
from hushpost.settings import ListenLimits
from hushpost.stores.base import Account, Blobs, Store, StoreLimits
from hushpost.stores.blobfiles import FileBlobs
from hushpost.stores.memory import MemoryStore
from hushpost.wire.frames import ResponseHeader

GENEROUS = ListenLimits(request_deadline=30.0, stop_deadline=1.0)
ALICE, BOB = ClientId(b"alice alice alic"), ClientId(b"bob bob bob bob ")


class Served(msgspec.Struct):
    """A running server and what it keeps."""

    address: tuple[str, int]
    store: Store
    blobs: Blobs
    blob_folder: Path

    async def connect(self) -> Peer:
        return await Peer.connect(self.address)

    async def exchange(self, request: bytes) -> bytes:
        """Send a whole request, read to the end, leave in good order."""
        async with await self.connect() as peer:
            await peer.send(request)
            return await peer.receive_all()

    async def fetch(self, client: ClientId) -> list[tuple[MessageHeader, bytes]]:
        """Fetch, leave in good order: the messages."""
        return parse_messages(await self.exchange(payloads.request(client, Request.GET_MESSAGES)))

    async def waiting(self, client: ClientId) -> int:
        """How many messages the store has for this client now."""
        return (await self.store.usage(MailboxId(client))).count

    def leftovers(self) -> list[Path]:
        """Files of contents, finished or not."""
        return [path for path in self.blob_folder.rglob("*") if path.is_file()]


class Peer:
    """A client's socket, to be used well or badly."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def connect(cls, address: tuple[str, int]) -> Peer:
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
        return cls(sock)

    async def __aenter__(self) -> Peer:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.socket, data)

    async def receive(self, count: int) -> bytes:
        """Up to `count` bytes; fewer where the server ended or reset the connection."""
        received = bytearray()
        while len(received) < count:
            try:
                piece = await self._loop.sock_recv(self.socket, min(count - len(received), 1 << 20))
            except ConnectionResetError:
                break
            if not piece:
                break
            received += piece
        return bytes(received)

    async def receive_all(self) -> bytes:
        return await self.receive(1 << 62)

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@asynccontextmanager
async def serving(
    folder: Path,
    limits: ListenLimits = GENEROUS,
    store_limits: StoreLimits | None = None,
    handover: Handover = DIRECT,
    store_type: type[MemoryStore] = MemoryStore,
) -> AsyncIterator[Served]:
    """Serve on loopback, with alice and bob registered, until the block ends."""
    store_limits = store_limits or StoreLimits(min_free_bytes=0)
    blobs = FileBlobs(folder, store_limits.min_free_bytes)
    store = store_type(limits=store_limits, blobs=blobs)
    listener = await asyncio.to_thread(listen, "127.0.0.1", 0)
    try:
        async with asyncio.TaskGroup() as tasks:
            gateway = Gateway(store, blobs, limits, tasks, handover)
            acceptor = Acceptor(listener, gateway, limits, payloads.REFUSAL)
            for client, name in ((ALICE, "alice"), (BOB, "bob")):
                await store.register(Account(AccountId(client), name, bytes(160)), MailboxId(client))
            acceptor.start()
            yield Served(listener.getsockname()[:2], store, blobs, folder)
            await acceptor.stop()
    finally:
        await store.close()
        await blobs.close()


def register_request(name: str, key: bytes = bytes(160)) -> bytes:
    payload = Registration(name, key).encode()
    return payloads.request(payloads.NOBODY, Request.REGISTER, len(payload)) + payload


def send_request(
    sender: ClientId, recipient: ClientId, content: bytes, kind: MessageType = MessageType.TEXT
) -> bytes:
    payload = SendPrefix(recipient, kind, len(content)).encode() + content
    return payloads.request(sender, Request.SEND_MESSAGE, len(payload)) + payload


def fetch_request(client: ClientId) -> bytes:
    return payloads.request(client, Request.GET_MESSAGES)


def parse_messages(answer: bytes) -> list[tuple[MessageHeader, bytes]]:
    """The messages of a whole 1004 answer."""
    header = ResponseHeader.decode(answer[:7])
    assert header.code == payloads.Response.MESSAGES
    assert header.payload_size == len(answer) - 7
    decoder = MessagesDecoder()
    messages: list[tuple[MessageHeader, bytes]] = []
    content = bytearray()
    for event in decoder.feed(answer[7:]):
        if isinstance(event, MessageHeader):
            messages.append((event, b""))
            content.clear()
        elif isinstance(event, ContentEnd):
            messages[-1] = (messages[-1][0], bytes(content))
        else:
            content += event
    decoder.finish()
    return messages
