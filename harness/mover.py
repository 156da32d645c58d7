"""Parts of files up and down one blocking connection: load for a server in another process."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterable
from hashlib import sha256
from typing import TypeVar

import msgspec
from blake3 import blake3

from harness.device import LoadDevice
from harness.lines import Address, tls
from hushpost.wire.connection import ClientConnection
from hushpost.wire.frames import Chunk, FrameEnd
from hushpost.wire.limits import PART_SIZE
from hushpost.wire.messages import (
    Authenticated,
    BlobCommitted,
    BlobCreated,
    BlobReleased,
    CommitBlob,
    CreateBlob,
    GetPart,
    Hello,
    HelloAnswer,
    PartContent,
    PartPut,
    PutPart,
    Registered,
    ReleaseBlob,
    RequestMessage,
    ResponseMessage,
)

WINDOW = 2
"""Parts that are sent before the first of them is answered."""

READ = 1 << 20

A = TypeVar("A", bound=ResponseMessage)


class LoadBlob:
    """So many full parts, all the same, and their one token."""

    def __init__(self, count: int) -> None:
        self.id, self.token, self.release = os.urandom(16), os.urandom(32), os.urandom(32)
        self.count = count
        self.part = memoryview(os.urandom(PART_SIZE))
        self.digest = blake3(self.part).digest()

    @property
    def size(self) -> int:
        return self.count * PART_SIZE

    def create(self) -> CreateBlob:
        hashes = [sha256(each).digest() for each in (self.token, self.release)]
        return CreateBlob(0, self.id, self.size, hashes[0], hashes[1:])


class Mover:
    """One connection, used by one thread at a time."""

    def __init__(self, address: Address) -> None:
        self._socket = tls().wrap_socket(socket.create_connection(address))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wire = ClientConnection()
        self._buffer = memoryview(bytearray(READ))

    def close(self) -> None:
        """At once."""
        self._socket.close()

    def enter(self, device: LoadDevice, *, register: bool = False) -> None:
        """Log in, after registering where that is asked for."""
        nonce = os.urandom(32)
        hello = self.ask(HelloAnswer, Hello(0, nonce))
        if register:
            self.ask(Registered, device.register(b""))
        certificate = self._socket.getpeercert(binary_form=True)
        if certificate is None:
            raise ssl.SSLError("no certificate")
        self.ask(Authenticated, device.authenticate(hello, certificate, nonce))

    def ask(self, kind: type[A], request: RequestMessage) -> A:
        """The answer, which must be of this kind."""
        self._send(request)
        return self._answer(kind)

    def upload(self, blob: LoadBlob, indices: Iterable[int]) -> None:
        """Put these parts."""
        unanswered = 0
        for index in indices:
            self._send(PutPart(0, blob.id, index, blob.digest), blob.part)
            unanswered += 1
            if unanswered == WINDOW:
                self._answer(PartPut)
                unanswered -= 1
        for _ in range(unanswered):
            self._answer(PartPut)

    def create(self, blob: LoadBlob) -> None:
        """Announce it."""
        self.ask(BlobCreated, blob.create())

    def commit(self, blob: LoadBlob) -> None:
        """Let it be read."""
        self.ask(BlobCommitted, CommitBlob(0, blob.id, blob.size))

    def release(self, blob: LoadBlob) -> None:
        """Nobody needs it any more."""
        self.ask(BlobReleased, ReleaseBlob(0, blob.id, [blob.release]))

    def download(self, blob: LoadBlob, indices: Iterable[int]) -> int:
        """Get these parts, and look at none of their bytes; how many."""
        asked = received = 0
        wanted = iter(indices)
        while True:
            while asked < WINDOW and (index := next(wanted, None)) is not None:
                self._send(GetPart(0, blob.id, blob.token, index))
                asked += 1
            if not asked:
                return received
            while not isinstance(event := self._next(), FrameEnd):
                if isinstance(event, Chunk):
                    received += len(event.data)
                elif not isinstance(event, PartContent):
                    raise TypeError(f"a part was expected, not {event}")
            asked -= 1

    def _send(self, request: RequestMessage, data: memoryview | bytes = b"") -> None:
        request = msgspec.structs.replace(request, number=self._wire.next_number())
        self._socket.sendall(self._wire.send(request, len(data)))
        self._socket.sendall(data)
        self._wire.wrote(len(data))

    def _answer(self, kind: type[A]) -> A:
        while not isinstance(answer := self._next(), ResponseMessage):
            pass
        if not isinstance(answer, kind):
            raise TypeError(f"{kind.__name__} was expected, not {answer}")
        return answer

    def _next(self) -> object:
        while (event := self._wire.next_event()) is None:
            count = self._socket.recv_into(self._buffer)
            if not count:
                raise EOFError("the server has closed")
            self._wire.receive_data(self._buffer[:count])
        return event
