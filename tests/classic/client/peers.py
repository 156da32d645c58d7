"""Servers that are not ours: one that behaves like the original's, and one that plays a script.

`OriginalServer` follows the observed behaviour of the original's server (docs/spec/classic.md): answers
in several segments, closing first, a reset after a refusal, deletion whatever becomes of the send. It
can be told to be wrong in one way, to see that the self-test notices.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hushpost.classic.client.link import Address

ERROR = bytes.fromhex("02282300000000")
HEADER, SEND = struct.Struct("<16sBBI"), struct.Struct("<16sBI")
Script = Callable[[socket.socket], None]


@contextlib.contextmanager
def serving(handle: Script) -> Iterator[Address]:
    """A listener on a free port whose connections are handled one after the other, in a thread.

    At the end all that came are handled, also those that the client has reset before they were accepted.
    """
    last: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                connection, peer = listener.accept()
                with connection, contextlib.suppress(OSError):
                    if peer in last:
                        return
                    connection.settimeout(20)
                    handle(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield Address(*listener.getsockname())
        finally:
            with socket.socket() as waker:
                waker.bind(("127.0.0.1", 0))
                last.append(waker.getsockname())
                waker.connect(listener.getsockname())
                thread.join()


def playing(*answer: bytes, request_size: int = 22, then: Script | None = None) -> Script:
    """Read a request of known size, send each piece as a segment of its own, then `then`, then close."""

    def play(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        read(connection, request_size)
        for piece in answer:
            connection.sendall(piece)
        if then:
            then(connection)

    return play


def reset(connection: socket.socket) -> None:
    """Close with a reset, as the original does when it has not read a whole request."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionResetError("the client left")
        data += piece
    return data


@dataclass
class OriginalServer:
    """In memory. `fault` names the one thing that it does wrong, if any."""

    fault: str = ""
    clients: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)
    inboxes: dict[bytes, list[tuple[bytes, int, int, bytes]]] = field(default_factory=dict)
    last_message_id: int = 0
    requests: list[tuple[bytes, int]] = field(default_factory=list)

    def __call__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client_id, _, code, size = HEADER.unpack(read(connection, 22))
        self.requests.append((client_id, code))
        known = client_id in self.clients or code == 100 or self.fault == "knows everybody"
        answer = self.answer(client_id, code, read(connection, size)) if known else ERROR
        for start in range(0, len(answer), 60_000) if len(answer) > 64 else range(len(answer)):
            connection.sendall(answer[start : start + (60_000 if len(answer) > 64 else 1)])

    def answer(self, client_id: bytes, code: int, payload: bytes) -> bytes:
        try:
            answers: dict[int, Callable[[bytes, bytes], bytes]]
            answers = {100: self.register, 101: self.list, 102: self.key, 103: self.store, 104: self.get}
            content = answers[code](client_id, payload)
        except (KeyError, ValueError):
            return ERROR
        return struct.pack("<BHI", 2, 900 + code, len(content)) + content

    def register(self, _: bytes, payload: bytes) -> bytes:
        name, key = payload[:255].split(b"\0")[0], payload[255:]
        taken = any(name == other for other, _ in self.clients.values())
        if taken and self.fault != "allows a name twice":
            raise ValueError(name)
        client_id = bytes(16) if self.fault == "one id for all" else os.urandom(16)
        self.clients[client_id] = (name, key)
        self.inboxes.setdefault(client_id, [])
        return client_id

    def list(self, me: bytes, _: bytes) -> bytes:
        hidden = set(self.clients) if self.fault == "hides all" else {me}
        if self.fault == "shows oneself":
            hidden = set()
        return b"".join(
            struct.pack("<16s255s", client_id, name)
            for client_id, (name, _) in self.clients.items()
            if client_id not in hidden
        )

    def key(self, me: bytes, wanted: bytes) -> bytes:
        _, key = self.clients[wanted]
        return wanted + (key[::-1] if self.fault == "gives a wrong key" else key)

    def store(self, me: bytes, payload: bytes) -> bytes:
        to, kind, size = SEND.unpack(payload[:21])
        if len(payload) != 21 + size:
            raise ValueError(size)
        content = payload[21:]
        if self.fault == f"alters type {kind}":
            content = content[:-1] + bytes([content[-1] ^ 1]) if content else b"?"
        if self.fault != "counts no ids":
            self.last_message_id += 1
        damaged = kind > 2 and size % 16 != 0
        if self.fault != f"loses type {kind}" and not (damaged and self.fault == "drops what is damaged"):
            self.inboxes[to].append((me, self.last_message_id, kind, content))
        return payload[:16] + struct.pack("<I", self.last_message_id)

    def get(self, me: bytes, _: bytes) -> bytes:
        messages = self.inboxes[me]
        if self.fault != "never forgets":
            self.inboxes[me] = []
        if self.fault == "gives old messages":
            messages = [*messages, (me, 1, 1, b"")]
        if self.fault == "turns the order":
            messages = messages[::-1]
        return b"".join(
            struct.pack("<16sIBI", sender, message_id, kind, len(content)) + content
            for sender, message_id, kind, content in messages
        )
