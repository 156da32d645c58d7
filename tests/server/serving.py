"""A version-3 server inside the test's own event loop, and devices that talk to it over real TLS."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import msgspec

from hushpost.crypto.identity import (
    CertificateDigest,
    ClientNonce,
    Login,
    Manifest,
    ServerNonce,
    ServerStatement,
    verify_server,
)
from hushpost.crypto.prekeys import Kind, Owner, SealPrekey, SessionKey, SessionPrekey
from hushpost.crypto.primitives import SealSecret
from hushpost.ids import DeviceId, EnvelopeId, TokenHash
from hushpost.server.connection import Connection
from hushpost.server.identity import ALPN, ServerIdentity
from hushpost.server.net import Acceptor, listen
from hushpost.server.office import Office, Setup
from hushpost.settings import ListenLimits, ServeSettings
from hushpost.stores.base import Invitation, PostOffice, StoreLimits
from hushpost.stores.memory import MemoryBlobs
from hushpost.stores.post.memory import MemoryPost
from hushpost.wire.connection import ClientConnection
from hushpost.wire.frames import Chunk, EndOfStream, FrameEnd
from hushpost.wire.limits import HEADER_SIZE
from hushpost.wire.messages import (
    Authenticate,
    Authenticated,
    Error,
    EventMessage,
    Hello,
    HelloAnswer,
    PartContent,
    PutPart,
    Recipient,
    Register,
    Registered,
    RequestMessage,
    ResponseMessage,
    SendEnvelope,
    Stored,
)
from tests.crypto.people import ALICE, BOB, Hand, Person

QUICK = ListenLimits(stop_deadline=1.0)
TOKEN = b"an invite token."
"""16 bytes: the invitation that every test server knows, for a hundred registrations."""

A = TypeVar("A", bound=ResponseMessage)


def settings(folder: Path, **changes: object) -> ServeSettings:
    """Those of a test server."""
    given = ServeSettings("127.0.0.1", 0, folder, listen_limits=QUICK)
    return msgspec.structs.replace(given, **changes)


@dataclass
class Served:
    """A running server and what it keeps."""

    address: tuple[str, int]
    office: Office
    store: PostOffice
    acceptor: Acceptor

    async def connect(self, context: ssl.SSLContext | None = None, receive_buffer: int = 0) -> Client:
        """`receive_buffer`: bytes that the kernel keeps for it, if not as many as it likes."""
        return await Client.connect(self.address, context, receive_buffer)

    async def login(self, keeper: Keeper) -> Client:
        """A connection on which this device is authenticated."""
        client = await self.connect()
        await client.login(keeper)
        return client

    async def enroll(self, keeper: Keeper) -> Client:
        """The same, of a device that registers first."""
        client = await self.connect()
        await client.hello()
        assert isinstance(await client.ask(keeper.register()), Registered)
        await client.login(keeper)
        return client


@asynccontextmanager
async def serving(
    given: ServeSettings,
    *,
    make_store: Callable[[], PostOffice] = lambda: MemoryPost(MemoryBlobs()),
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Served]:
    """Serve on loopback until the block ends."""
    identity = await asyncio.to_thread(ServerIdentity.open, given.data, int(clock()))
    store = make_store()
    listener = await asyncio.to_thread(listen, "127.0.0.1", 0)
    try:
        async with asyncio.TaskGroup() as tasks:
            office = Office(Setup(store, StoreLimits(), identity, given, clock), tasks)
            acceptor = Acceptor(listener, partial(Connection, office), given.listen_limits, b"")
            await store.invite(Invitation(TokenHash(sha256(TOKEN).digest()), 100, int(clock()) + 86_400))
            acceptor.start()
            try:
                yield Served(listener.getsockname()[:2], office, store, acceptor)
            finally:
                await acceptor.stop()
    except BaseExceptionGroup as group:  # a test that fails shall say why, and not that tasks ended
        raise group.exceptions[0] from None
    finally:
        await store.close()


@dataclass
class Keeper:
    """A person's device with its keys, and a ratchet's worth of random bytes for headers and bodies."""

    person: Person
    hand: Hand
    manifest: Manifest
    delivery_token: bytes = b"a delivery token of 32 bytes ..."
    seal_id: int = 1
    _key_ids: itertools.count[int] = field(default_factory=itertools.count)

    @classmethod
    def of(cls, person: Person) -> Keeper:
        return cls(person, person.hand, person.first())

    @property
    def owner(self) -> Owner:
        device = next(each for each in self.manifest.devices if each.signing_key == self.hand.key)
        return Owner(self.person.account.id, device)

    @property
    def device(self) -> DeviceId:
        return self.owner.device.id

    def one_time_keys(self, count: int = 3, kind: Kind = Kind.ONE_TIME) -> list[bytes]:
        """Fresh ones, signed."""
        return [self.session_key(next(self._key_ids), kind) for _ in range(count)]

    def session_key(self, number: int, kind: Kind = Kind.ONE_TIME) -> bytes:
        key = SessionKey(
            sha256(self.device + bytes([kind.value]) + number.to_bytes(8, "big")).digest()[:31] + b"\1"
        )
        return SessionPrekey.by(self.hand.signer, self.owner, kind, number, key).encode()

    def seal_key(self, number: int | None = None, lifetime: int = 30 * 86_400) -> bytes:
        key = SealSecret(sha256(self.device).digest() * 3).public
        expires = int(time.time()) + lifetime
        number = self.seal_id if number is None else number
        return SealPrekey.by(self.hand.signer, self.owner, number, key, expires).encode()

    def register(self, invite: bytes = TOKEN) -> Register:
        return Register(
            0,
            invite,
            self.manifest.encode(),
            self.seal_key(),
            self.one_time_keys(),
            self.session_key(0, Kind.FALLBACK),
            sha256(self.delivery_token).digest(),
        )

    def login(
        self, statement: ServerStatement, certificate: bytes, nonces: tuple[bytes, bytes]
    ) -> Authenticate:
        """What proves this device, with the server's nonce and its own."""
        login = Login(
            statement.server.fingerprint,
            CertificateDigest.of(certificate),
            ServerNonce(nonces[0]),
            ClientNonce(nonces[1]),
            self.person.account.id,
            self.device,
        )
        return Authenticate(0, self.person.account.id, self.device, login.sign(self.hand.signer))


class Client:
    """A device's end of one connection. It reads only when it is asked to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.wire = ClientConnection()
        self.certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        self.nonce = sha256(self.certificate).digest()
        self.events: list[EventMessage] = []
        self.data = b""
        self._answers: dict[int, ResponseMessage] = {}

    @classmethod
    async def connect(
        cls, address: tuple[str, int], context: ssl.SSLContext | None = None, receive_buffer: int = 0
    ) -> Client:
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, address)
        context = context or tls()
        return cls(*await asyncio.open_connection(sock=sock, ssl=context, server_hostname=""))

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self.writer.transport.abort()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)

    def write(self, request: RequestMessage) -> int:
        """Send it under the next number, which is returned."""
        number = self.wire.next_number()
        self.writer.write(self.wire.send(msgspec.structs.replace(request, number=number)))
        return number

    async def receive(self) -> ResponseMessage | EventMessage | None:
        """The next message; None at the end of the stream, in good order or not.

        A message that carries data is returned when all of that is in `data`.
        """
        carrying: ResponseMessage | None = None
        while not isinstance(message := self.wire.next_event(), EndOfStream):
            if isinstance(message, PartContent):
                carrying, self.data = message, b""
            elif isinstance(message, ResponseMessage | EventMessage):
                return message
            elif isinstance(message, Chunk):
                self.data += message.data
            elif isinstance(message, FrameEnd):
                return carrying
            elif not await self._read():
                return None
        return None

    async def _read(self) -> bool:
        try:
            data = await self.reader.read(1 << 20)
        except OSError:
            return False
        self.wire.receive_data(data)
        return bool(data)

    def write_part(self, request: PutPart, data: bytes, written: int | None = None) -> int:
        """Send a part, or the first so many bytes of its data; the number of the request."""
        number = self.wire.next_number()
        self.writer.write(self.wire.send(msgspec.structs.replace(request, number=number), len(data)))
        self.write_data(data if written is None else data[:written])
        return number

    def write_data(self, data: bytes) -> None:
        """The next bytes of what `write_part` began."""
        self.wire.wrote(len(data))
        self.writer.write(data)

    async def put(self, request: PutPart, data: bytes) -> ResponseMessage:
        return await self.answer(self.write_part(request, data))

    async def answer(self, number: int) -> ResponseMessage:
        """The answer to this request; what comes before it is kept."""
        while number not in self._answers:
            message = await self.receive()
            if isinstance(message, ResponseMessage):
                self._answers[message.number] = message
            elif isinstance(message, EventMessage):
                self.events.append(message)
            else:
                raise EOFError("the server has closed")
        return self._answers.pop(number)

    async def ask(self, request: RequestMessage) -> ResponseMessage:
        return await self.answer(self.write(request))

    async def expect(self, kind: type[A], request: RequestMessage) -> A:
        """The answer, which is of this type."""
        answer = await self.ask(request)
        assert isinstance(answer, kind), answer
        return answer

    async def refused(self, request: RequestMessage) -> Error:
        return await self.expect(Error, request)

    async def event(self) -> EventMessage:
        """The next event."""
        while not self.events:
            message = await self.receive()
            if isinstance(message, EventMessage):
                return message
            assert message is not None, "the server has closed"
            self._answers[message.number] = message
        return self.events.pop(0)

    async def ended(self) -> bool:
        """Whether the server closes, with nothing more to say."""
        return await self.receive() is None

    async def hello(self) -> HelloAnswer:
        return await self.expect(HelloAnswer, Hello(0, self.nonce))

    async def proof(self, keeper: Keeper) -> Authenticate:
        """A hello, and what to answer it with."""
        answer = await self.hello()
        statement = ServerStatement.decode(answer.certificate_statement)
        pin = statement.server.fingerprint
        verify_server(
            answer.certificate_statement,
            pin=pin,
            certificate=self.certificate,
            now=answer.server_time,
            known=None,
        )
        return keeper.login(statement, self.certificate, (answer.server_nonce, self.nonce))

    async def login(self, keeper: Keeper) -> Authenticated:
        return await self.expect(Authenticated, await self.proof(keeper))


def tls(alpn: str = ALPN, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """A client's TLS that trusts whatever it is shown: the statement is what is checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = version
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


def letter(
    to: Keeper, body: bytes = b"sealed", *, token: bool = True, at: float | None = None
) -> SendEnvelope:
    """A send to all devices of somebody with one device."""
    envelope = EnvelopeId.at(int(time.time() if at is None else at))
    recipient = Recipient(to.device, to.seal_id, bytes(HEADER_SIZE))
    delivery_token = to.delivery_token if token else b""
    return SendEnvelope(0, to.person.account.id, envelope, [recipient], body, delivery_token)


async def deliver(sender: Client, to: Keeper, body: bytes = b"sealed", *, token: bool = True) -> int:
    """Send one; its sequence."""
    stored = await sender.expect(Stored, letter(to, body, token=token))
    return stored.sequences[0]


@asynccontextmanager
async def alice_and_bob(
    given: ServeSettings,
) -> AsyncIterator[tuple[Served, tuple[Keeper, Client], tuple[Keeper, Client]]]:
    """A server with two registered people on it, both connected."""
    alice, bob = Keeper.of(ALICE), Keeper.of(BOB)
    async with (
        serving(given) as served,
        await served.enroll(alice) as one,
        await served.enroll(bob) as other,
    ):
        yield served, (alice, one), (bob, other)
