"""A connection of its own for parts of files, so that they delay no message.

It is driven by a thread: the system's calls, TLS and the ciphers let go of the interpreter, so that several
carriers work at once and the event loop stays free. The protocol is that of every connection.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

import msgspec

from hushpost.client.link import ALPN, Address, Greeting, Identity, login_of, tls_context
from hushpost.client.refusals import refusal
from hushpost.client.threads import Stopped
from hushpost.crypto.filelayout import SEALED_CHUNK
from hushpost.crypto.identity import ClientNonce, ServerStatement, verify_server
from hushpost.crypto.primitives import random_bytes
from hushpost.directio import aligned_buffer
from hushpost.errors import ProtocolError, Unreachable
from hushpost.wire.connection import ClientConnection
from hushpost.wire.frames import Chunk, FrameEnd
from hushpost.wire.messages import (
    Authenticated,
    Error,
    GetPart,
    Hello,
    HelloAnswer,
    PartContent,
    PartPut,
    PutPart,
    RequestMessage,
    ResponseMessage,
)

CONNECT_SECONDS = 15.0
"""For TCP, and for each step of TLS and hello."""

IDLE_SECONDS = 45.0
"""Without a byte moving: a server answers within its own deadline, so this one is dead."""

BUFFER = 16 * SEALED_CHUNK
"""Bytes of data that are taken in at once: whole chunks, as many as a core's cache can hold."""

PIECE = 1 << 20
"""Bytes that are sent between two reports of progress."""

A = TypeVar("A", bound=ResponseMessage)


class Attempt:
    """A connection that is being made by a thread, for whoever waits for it."""

    def __init__(self) -> None:
        self._handle: socket.socket | None = None
        self._given_up = False

    def reached(self, handle: socket.socket) -> None:
        """There is somebody, with whom TLS is to be agreed on."""
        self._handle = handle
        if self._given_up:
            self.give_up()

    def give_up(self) -> None:
        """Nobody wants it any more: what waits for its other end fails at once. From any thread."""
        self._given_up = True
        if self._handle is not None:
            with contextlib.suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)


class Carrier:
    """Used by one thread at a time; `abort` by any. A carrier that has failed stays failed."""

    def __init__(self, tls: ssl.SSLSocket, handle: socket.socket) -> None:
        """`handle`: the same connection, to end it from another thread without touching its TLS."""
        self._aborted = False
        self._tls = tls
        self._handle = handle
        self._wire = ClientConnection()
        self._buffer = aligned_buffer(BUFFER)

    # --- beginning and end

    @classmethod
    def connect(cls, address: Address, attempt: Attempt) -> Carrier:
        """Raises:
        Unreachable: nobody there, no TLS 1.3, not in time, or given up.
        """
        context = tls_context(address.pin)
        tcp: socket.socket | None = None
        try:
            tcp = socket.create_connection((address.host, address.port), timeout=CONNECT_SECONDS)
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            handle = tcp.dup()
            attempt.reached(handle)
            try:
                tls = context.wrap_socket(tcp, server_hostname=address.host)
            except BaseException:
                handle.close()
                raise
        except (OSError, ssl.SSLError):
            if tcp is not None:
                tcp.close()
            raise Unreachable("no connection to the server for files", hint="they go on later") from None
        carrier = cls(tls, handle)
        if tls.selected_alpn_protocol() != ALPN:
            carrier.close()
            raise Unreachable("the server does not speak version 3 at this address")
        return carrier

    def greet(self, address: Address, known: ServerStatement | None, now: int) -> Greeting:
        """As `Link.greet`. Raises ServerUntrusted: it is not the server that the link named."""
        nonce = ClientNonce(random_bytes(ClientNonce.SIZE))
        answer = self.ask(Hello(0, bytes(nonce)), HelloAnswer)
        statement = verify_server(
            answer.certificate_statement,
            pin=address.pin,
            certificate=self._certificate,
            now=now,
            known=known,
        )
        return Greeting(statement, answer, nonce)

    def authenticate(self, greeting: Greeting, who: Identity) -> None:
        """As `Link.authenticate`. Raises Denied: the server does not know the device."""
        self.ask(login_of(greeting, self._certificate, who), Authenticated)
        self._tls.settimeout(IDLE_SECONDS)

    def abort(self) -> None:
        """Whatever waits in its thread fails at once. From any thread, and more than once."""
        self._aborted = True
        with contextlib.suppress(OSError):
            self._handle.shutdown(socket.SHUT_RDWR)

    def check(self) -> None:
        """For whoever waits for something else meanwhile. Raises Stopped: it was aborted."""
        if self._aborted:
            raise Stopped

    def close(self) -> None:
        """Let go of it, in its own thread or when that is done."""
        self.abort()
        self._tls.close()
        self._handle.close()

    @property
    def _certificate(self) -> bytes:
        return self._tls.getpeercert(binary_form=True) or b""

    # --- requests

    def ask(self, request: RequestMessage, answer: type[A]) -> A:
        """One request and its answer.

        Raises:
            HushpostError: the refusal, see `refusals`.
            Unreachable, ProtocolError: the connection is over.
        """
        self._send(self._wire.send(self._numbered(request)))
        return self._answer(answer)

    def put(self, request: PutPart, data: memoryview, moved: Callable[[int], None]) -> None:
        """Send a part, whose buffer is free then. `settle` must follow before anything else.

        Args:
            moved: told of the bytes as they leave.

        Raises:
            Unreachable.
        """
        self._send(self._wire.send(self._numbered(request), len(data)))
        for at in range(0, len(data), PIECE):
            piece = data[at : at + PIECE]
            self._send(piece)
            self._wire.wrote(len(piece))
            moved(len(piece))

    def settle(self) -> None:
        """Wait until the server has the part that was put on its disk.

        Raises:
            As `ask`.
        """
        self._answer(PartPut)

    def content(self, request: GetPart) -> Iterator[memoryview]:
        """A part, as it comes in. Each piece is good until the next; go through all.

        Raises:
            As `ask`.
        """
        self.ask(request, PartContent)
        return self._pieces()

    # --- inside

    def _pieces(self) -> Iterator[memoryview]:
        while not isinstance(event := self._next(), FrameEnd):
            if not isinstance(event, Chunk):
                self._broken()
            yield event.data

    def _numbered(self, request: RequestMessage) -> RequestMessage:
        return msgspec.structs.replace(request, number=self._wire.next_number())

    def _answer(self, kind: type[A]) -> A:
        event = self._next()
        if isinstance(event, Error):
            raise refusal(event)
        if not isinstance(event, kind):
            self._broken()
        return event

    def _next(self) -> object:
        """Whatever comes next. Raises Unreachable, ProtocolError."""
        while (event := self._wire.next_event()) is None:
            self._receive()
        return event

    def _receive(self) -> None:
        """More bytes: of a part as many as it has or the buffer takes, otherwise what there is."""
        wanted = min(self._wire.to_come, BUFFER)
        filled = 0
        try:
            while filled < (wanted or 1):
                count = self._tls.recv_into(self._buffer[filled:], (wanted or BUFFER) - filled)
                if not count:
                    raise Unreachable("the server closed the connection")
                filled += count
        except (OSError, ssl.SSLError):
            raise Unreachable("the connection to the server broke") from None
        self._wire.receive_data(self._buffer[:filled])

    def _send(self, data: bytes | memoryview) -> None:
        try:
            self._tls.sendall(data)
        except (OSError, ssl.SSLError):
            raise Unreachable("the connection to the server broke") from None

    def _broken(self) -> NoReturn:
        self.abort()
        raise ProtocolError("the server answered something else than it was asked")
