"""Many connections of version 3 from one process, cheaply: load for a server in another one."""

from __future__ import annotations

import asyncio
import os
import ssl
import struct
import time
from collections import deque
from typing import Any, Protocol, Self, TypeVar, cast

import msgspec

from harness.device import LoadDevice
from hushpost.wire.codec import encode_message
from hushpost.wire.connection import NO_DEVICE, ClientConnection
from hushpost.wire.frames import RequestHeader, ResponseHeader
from hushpost.wire.messages import (
    VERSION,
    Authenticated,
    Hello,
    HelloAnswer,
    Registered,
    RequestMessage,
    ResponseMessage,
    SendEnvelope,
    Stored,
)

Address = tuple[str, int]
A = TypeVar("A", bound=ResponseMessage)

_scratch = memoryview(bytearray(1 << 18))
_LATER = 1 << 31
"""Numbers of load begin here: all of them have the same size on the wire."""


def tls() -> ssl.SSLContext:
    """Trusts whatever it is shown: the load is our own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["hushpost/3"])
    return context


class Sends(Protocol):
    """What a line sends, again and again."""

    def frame(self, number: int) -> bytes:
        """The bytes of the next one."""


class Template:
    """The frame of one send, in which number and envelope id are replaced."""

    def __init__(self, send: SendEnvelope, device: bytes) -> None:
        payload = encode_message(msgspec.structs.replace(send, number=_LATER))
        head = RequestHeader(device, VERSION, SendEnvelope.CODE, len(payload)).encode()
        before, after = (head + payload).split(struct.pack(">BI", 0xCE, _LATER))
        between, rest = after.split(bytes(send.envelope))
        self._parts = before + b"\xce", between, rest

    def frame(self, number: int) -> bytes:
        """With a fresh id of this second."""
        before, between, rest = self._parts
        envelope = int(time.time()).to_bytes(4, "big") + os.urandom(12)
        return b"".join((before, (_LATER + number).to_bytes(4, "big"), between, envelope, rest))


class Line(asyncio.BufferedProtocol):
    """One connection. First it asks like any client; then it sends as fast as it is answered.

    Whoever waits for an answer when the connection ends, or when a send is refused, gets the error.
    """

    def __init__(self) -> None:
        self.wire = ClientConnection()
        self._answers: dict[int, asyncio.Future[ResponseMessage]] = {}
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._begun: deque[float] = deque()
        self._tail = b""
        self._left = 0
        self._loading = False
        self.latencies: list[float] = []

    @classmethod
    async def connect(cls, address: Address, context: ssl.SSLContext) -> Self:
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(cls, *address, ssl=context, server_hostname="")
        return line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _scratch

    def buffer_updated(self, nbytes: int) -> None:
        if self._loading:
            self.count(nbytes)
            return
        self.wire.receive_data(_scratch[:nbytes])
        while (message := self.wire.next_event()) is not None:
            if isinstance(message, ResponseMessage):
                self._answers.pop(message.number).set_result(message)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or EOFError("the server has closed"))

    def close(self) -> None:
        self.transport.abort()

    def _fail(self, error: Exception) -> None:
        waiting: list[asyncio.Future[Any]] = [self._done, *self._answers.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # seen: there need not be anybody who waits

    def _promise(self) -> asyncio.Future[Any]:
        """Something to wait for.

        Raises:
            EOFError: nothing will come any more.
        """
        if self.transport.is_closing():
            raise EOFError("the connection has ended")
        return asyncio.get_running_loop().create_future()

    async def ask(self, kind: type[A], request: RequestMessage) -> A:
        """The answer, which must be of this kind."""
        number = self.wire.next_number()
        self._answers[number] = future = self._promise()
        self.transport.write(self.wire.send(msgspec.structs.replace(request, number=number)))
        answer = await future
        if not isinstance(answer, kind):
            raise TypeError(f"{kind.__name__} was expected, not {answer}")
        return answer

    async def enter(self, device: LoadDevice, invite: bytes = b"", *, register: bool = False) -> None:
        """Log in, after registering where that is asked for."""
        certificate: bytes = self.transport.get_extra_info("ssl_object").getpeercert(True)
        nonce = os.urandom(32)
        hello = await self.ask(HelloAnswer, Hello(0, nonce))
        if register:
            await self.ask(Registered, device.register(invite))
        await self.ask(Authenticated, device.authenticate(hello, certificate, nonce))

    async def load(self, template: Sends, count: int, in_flight: int) -> None:
        """Send `count`, never more than `in_flight` unanswered, and note how long each took."""
        self._template = template
        self._loading = True
        self._number = 0
        self._left = count
        self._done = self._promise()
        self._send(min(in_flight, count))
        await self._done
        self._loading = False

    def pour(self, template: Sends, due: float) -> None:
        """Send one, whatever is unanswered; how long it took is counted from when it was due."""
        if not self._loading:
            self._loading, self._number, self._left = True, 0, 0
            self._done = self._promise()
        self._begun.append(due)
        self.transport.write(template.frame(self._number))
        self._number += 1

    async def poured(self) -> list[float]:
        """The latencies (seconds), when all are answered."""
        if self._begun:
            if self._done.done():  # all were answered for a moment, or it has failed
                self._done.result()
                self._done = self._promise()
            await self._done
        self._loading = False
        latencies, self.latencies = self.latencies, []
        return latencies

    def _send(self, count: int) -> None:
        frames = [self._template.frame(self._number + index) for index in range(count)]
        self._number += count
        self._left -= count
        self._begun.extend([time.perf_counter()] * count)
        self.transport.write(b"".join(frames))

    def count(self, nbytes: int) -> None:
        """Look how many answers came in; the sends of one connection are answered in their order."""
        data, now = self._tail + _scratch[:nbytes], time.perf_counter()
        try:
            count, end = self.answered(data)
        except RuntimeError as error:
            self._fail(error)
            self.close()
            return
        self.latencies += [now - self._begun.popleft() for _ in range(count)]
        self._tail = bytes(data[end:])
        if self._left:
            self._send(min(count, self._left))
        elif not self._begun and not self._done.done():
            self._done.set_result(None)

    def answered(self, data: bytes) -> tuple[int, int]:
        """How many whole answers are there, and where the last one ends.

        Raises:
            RuntimeError: one of them is a refusal.
        """
        at = count = 0
        while at + ResponseHeader.SIZE <= len(data):
            _, code, size = ResponseHeader.LAYOUT.unpack_from(data, at)
            if at + ResponseHeader.SIZE + size > len(data):
                break
            if code != Stored.CODE:
                raise RuntimeError(f"a send was answered with {code}: {bytes(data[at:])!r}")
            at += ResponseHeader.SIZE + size
            count += 1
        return count, at


def anonymous(send: SendEnvelope) -> Template:
    """For a server that knows no devices."""
    return Template(send, NO_DEVICE)
