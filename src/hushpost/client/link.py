"""One connection to the server: proven to be the right one, then requests and answers, and what is pushed.

A link that has failed stays failed: whoever waits is told, and makes another. It decides nothing about
messages; it repeats nothing by itself.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import TypeVar, cast

import msgspec

from hushpost.client.clock import Clock
from hushpost.client.refusals import refusal
from hushpost.crypto.identity import (
    Authority,
    CertificateDigest,
    ClientNonce,
    Login,
    ServerNonce,
    ServerPin,
    ServerStatement,
    Signer,
    verify_server,
)
from hushpost.crypto.primitives import random_bytes
from hushpost.errors import HushpostError, ProtocolError, Unreachable
from hushpost.ids import AccountId, DeviceId
from hushpost.wire.connection import ClientConnection
from hushpost.wire.frames import EndOfStream
from hushpost.wire.limits import MAX_OPEN_REQUESTS, MAX_PAGE_BYTES
from hushpost.wire.messages import (
    Authenticate,
    Authenticated,
    Error,
    EventMessage,
    Hello,
    HelloAnswer,
    Push,
    RequestMessage,
    ResponseMessage,
    Taken,
)

ALPN = "hushpost/3"

CLOSE_SECONDS = 1.0
"""For the server to answer our end of TLS. It owes us nothing by then."""

CONNECT_DEADLINE = 15.0
"""Seconds for name look-up, TCP, TLS and hello: the server itself gives them ten."""

ANSWER_DEADLINE = 45.0
"""Seconds for one answer: a server answers within its own deadline, so this one is dead."""

WINDOW = 4 * 1024 * 1024
"""Bytes of pushed, unacknowledged envelopes: a path of 200 ms then carries 20 MB/s."""

EVENT_BYTES = 512
"""What a push takes in memory beside its bytes, and at least for each envelope."""

MAX_PUSHED = 2 * WINDOW + 2 * MAX_PAGE_BYTES
"""Bytes of pushes that nobody has taken yet. An honest server stops at the window, or at one envelope; with
one small envelope in each push it may look half as large again here."""

A = TypeVar("A", bound=ResponseMessage)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and how it is recognised: what a link says before its names and tokens."""

    host: str
    port: int
    pin: ServerPin


@dataclass(frozen=True, slots=True)
class Identity:
    """Who logs in: `signer` holds the secret of the device's Ed25519 key."""

    account: AccountId
    device: DeviceId
    signer: Signer


@dataclass(frozen=True, slots=True)
class Greeting:
    """A server that proved who it is, and its terms. Good for one login within 30 seconds."""

    statement: ServerStatement
    answer: HelloAnswer
    nonce: ClientNonce


class Link(asyncio.Protocol):
    """Made by `connect`. Everything is called in its event loop."""

    def __init__(self) -> None:
        self._wire = ClientConnection()
        self._waiting: dict[int, asyncio.Future[ResponseMessage]] = {}
        self._slots = asyncio.Semaphore(MAX_OPEN_REQUESTS)
        self._pushed: asyncio.Queue[Push | Taken | None] = asyncio.Queue()
        self._pushed_bytes = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._failure: HushpostError | None = None
        self._transport: asyncio.Transport
        self._closed = asyncio.get_running_loop().create_future()

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._failure is None:
            try:
                self._wire.receive_data(data)
                self._drain()
            except ProtocolError as error:
                self._fail(error)

    def eof_received(self) -> None:
        self._fail(Unreachable("the server closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(Unreachable("the connection to the server broke"))
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # --- requests

    @property
    def certificate(self) -> bytes:
        """The server's, of this very connection: DER."""
        tls = cast(ssl.SSLObject, self._transport.get_extra_info("ssl_object"))
        return tls.getpeercert(binary_form=True) or b""

    @property
    def failure(self) -> HushpostError | None:
        """Why it is over; None: it is not."""
        return self._failure

    async def ask(self, request: RequestMessage, answer: type[A]) -> A:
        """Send a request and wait for its answer. Its number is filled in here.

        Requests are sent in the order of these calls. Cancelling the call does not recall the request.

        Raises:
            HushpostError: the refusal, see `refusals`.
            Unreachable: the connection broke; whether the server did it is unknown.
            ProtocolError: the server broke the protocol.
        """
        await self._slots.acquire()
        sent = False
        try:
            await self._writable.wait()
            if self._failure is not None:
                raise self._failure
            numbered = msgspec.structs.replace(request, number=self._wire.next_number())
            self._transport.write(self._wire.send(numbered))
            sent = True
        finally:
            if not sent:
                self._slots.release()
        future: asyncio.Future[ResponseMessage] = asyncio.get_running_loop().create_future()
        self._waiting[numbered.number] = future
        try:
            async with asyncio.timeout(ANSWER_DEADLINE):
                response = await future
        except TimeoutError:
            failure = Unreachable("the server does not answer")
            self._fail(failure)
            raise failure from None
        if isinstance(response, Error):
            raise refusal(response)
        if not isinstance(response, answer):
            raise TypeError(f"{type(request).__name__} is not answered with {answer.__name__}")
        return response

    async def next_push(self) -> Push | Taken:
        """What the server sends unasked, in its order.

        Raises:
            Unreachable, ProtocolError: the connection is over and everything before was taken.
        """
        event = await self._pushed.get()
        if event is None:
            self._pushed.put_nowait(None)
            raise self._failure or Unreachable("the connection is closed")
        self._pushed_bytes -= _size(event)
        return event

    # --- logging in

    async def greet(self, pin: ServerPin, known: ServerStatement | None, clock: Clock) -> Greeting:
        """Say hello, and check who answers, before anything is told to it.

        Args:
            known: the statement that was accepted last; the new one is to be kept in its place.

        Raises:
            ServerUntrusted: it is not the server that the link named; the connection is closed.
        """
        nonce = ClientNonce(random_bytes(ClientNonce.SIZE))
        answer = await self.ask(Hello(0, bytes(nonce)), HelloAnswer)
        try:
            statement = verify_server(
                answer.certificate_statement,
                pin=pin,
                certificate=self.certificate,
                now=clock.now(),
                known=known,
            )
        except HushpostError as error:
            self._fail(error)
            raise
        return Greeting(statement, answer, nonce)

    async def authenticate(self, greeting: Greeting, who: Identity) -> Authenticated:
        """Prove who we are to the server that has greeted.

        Raises:
            Denied: the server does not know the device.
        """
        return await self.ask(login_of(greeting, self.certificate, who), Authenticated)

    async def close(self) -> None:
        """End it and wait until it has ended; harmless when it has."""
        self._fail(Unreachable("the connection was closed"))
        await self._closed

    # --- inside

    def _drain(self) -> None:
        while (event := self._wire.next_event()) is not None:
            if isinstance(event, EndOfStream):
                self._fail(Unreachable("the server closed the connection"))
                return
            if isinstance(event, EventMessage):
                self._push(event)
            elif isinstance(event, ResponseMessage):
                self._slots.release()
                future = self._waiting.pop(event.number, None)
                if future is not None and not future.done():
                    future.set_result(event)

    def _push(self, event: EventMessage) -> None:
        if isinstance(event, Push) and not event.envelopes:
            raise ProtocolError("the server pushes nothing")
        self._pushed_bytes += _size(event)
        if self._pushed_bytes > MAX_PUSHED:
            raise ProtocolError("the server pushes more than the window")
        self._pushed.put_nowait(cast("Push | Taken", event))

    def _fail(self, failure: HushpostError) -> None:
        """The first failure counts; everybody who waits gets it."""
        if self._failure is not None:
            return
        self._failure = failure
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(failure)
                future.exception()  # a caller that was cancelled looks no more, and that is no error
        self._waiting.clear()
        self._writable.set()
        for _ in range(MAX_OPEN_REQUESTS):
            self._slots.release()
        self._pushed.put_nowait(None)
        self._transport.close()


def login_of(greeting: Greeting, certificate: bytes, who: Identity) -> Authenticate:
    """The proof, good for this very connection: of the server's `certificate` (DER) and both nonces."""
    login = Login(
        greeting.statement.server.fingerprint,
        CertificateDigest.of(certificate),
        ServerNonce(greeting.answer.server_nonce),
        greeting.nonce,
        who.account,
        who.device,
    )
    return Authenticate(0, bytes(who.account), bytes(who.device), bytes(login.sign(who.signer)))


def _size(event: EventMessage) -> int:
    """What it takes here, about: small things are not free."""
    envelopes = event.envelopes if isinstance(event, Push) else []
    return EVENT_BYTES + sum(max(EVENT_BYTES, len(each.header) + len(each.body)) for each in envelopes)


async def connect(address: Address, known: ServerStatement | None, clock: Clock) -> tuple[Link, Greeting]:
    """A connection whose other end is the server that the address pins.

    Raises:
        Unreachable: nobody there, no TLS 1.3, or not in time.
        ServerUntrusted: somebody else is there.
    """
    link: Link | None = None
    try:
        async with asyncio.timeout(CONNECT_DEADLINE):
            link = await _dial(address)
            return link, await link.greet(address.pin, known, clock)
    except TimeoutError:
        raise Unreachable("the server does not answer", hint="it may be down, or the network is") from None
    except BaseException:
        if link is not None:
            link._fail(Unreachable("the connection was given up"))
        raise


async def _dial(address: Address) -> Link:
    loop = asyncio.get_running_loop()
    context = await loop.run_in_executor(None, tls_context, address.pin)
    try:
        transport, link = await loop.create_connection(
            Link,
            address.host,
            address.port,
            ssl=context,
            server_hostname=address.host,
            ssl_shutdown_timeout=CLOSE_SECONDS,
        )
    except ssl.SSLError as error:
        raise Unreachable(
            "the server's TLS is not ours", hint=error.reason.lower() if error.reason else ""
        ) from None
    except OSError as error:
        raise Unreachable(
            f"no connection to the server: {error.strerror or 'unknown host'}",
            hint="check the network and the address; if the server has moved: hush move LINK",
        ) from None
    tls = transport.get_extra_info("ssl_object")
    if tls.selected_alpn_protocol() != ALPN:
        transport.abort()
        raise Unreachable("the server does not speak version 3 at this address")
    tcp = transport.get_extra_info("socket")
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return link


def tls_context(pin: ServerPin) -> ssl.SSLContext:
    """TLS 1.3 and nothing older. What is pinned is the server's statement, not the certificate's issuer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    if isinstance(pin, Authority):
        context.load_default_certs()
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
