"""The client side of the classic protocol, without a user interface and without a memory.

Every call is one connection with one request. It works against Hushpost's server and the original's.
Keys, names and files are the matter of `account`; this module moves bytes.

Normative text: docs/spec/classic.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from hushpost.classic.client.link import DEFAULT_TIMEOUT, Address, Link
from hushpost.classic.payloads import (
    KEY_ANSWER,
    LIST_ENTRY,
    MAX_PAYLOAD,
    MAX_RESPONSE_PAYLOAD,
    NOBODY,
    PUBLIC_KEY_SIZE,
    SEND_PREFIX,
    STORED_ANSWER,
    ClientId,
    ListedClient,
    MessageType,
    Registration,
    Request,
    Response,
    SendPrefix,
    request,
)
from hushpost.errors import ProtocolError, Refused, Unreachable, UsageError
from hushpost.wire.frames import Chunk, Frame, FrameStart, Limits, ResponseHeader

MAX_CONTENT = MAX_PAYLOAD - SEND_PREFIX.size
"""The largest content of a message: the servers refuse payloads above 1 GiB."""

SMALL_ANSWER = Limits(max_payload=64 * 1024, collect=64 * 1024)
"""Answers have at most 176 bytes, but an error may carry an explanation, which is skipped."""

STREAMED_ANSWER = Limits(max_payload=MAX_RESPONSE_PAYLOAD, collect=0)
"""Lists and messages: as large as a size can tell, never collected."""

Progress = Callable[[int, int], None]
"""Called with the bytes so far and the bytes in all."""

BUSY = "the server may be busy: try again in a moment"
UNKNOWN = f"{BUSY}; or it does not know the id in me.info"
REFUSALS = {
    Request.REGISTER: (
        "the server refused the registration",
        f"the name is probably taken: try another. Or {BUSY}",
    ),
    Request.LIST_CLIENTS: ("the server refused the list", UNKNOWN),
    Request.PUBLIC_KEY: (
        "the server gave no public key",
        f"`hush classic list` shows who is registered; the server knows no other. Or {BUSY}",
    ),
    Request.SEND_MESSAGE: (
        "the server refused the message",
        f"{BUSY}; or it does not know the recipient or the id in me.info, or has no room",
    ),
    Request.GET_MESSAGES: ("the server refused to hand out messages", UNKNOWN),
}
"""The protocol gives no reason with 9000, so these are the likely ones."""


class Sink(Protocol):
    """Where `ClassicClient.fetch` puts the waiting messages, as the bytes of the answer's payload."""

    def write(self, data: memoryview) -> None:
        """Take the next bytes; the view is valid during the call only."""

    def commit(self) -> None:
        """All is written: make it durable. The server may forget the messages after this."""


class ClassicClient:
    """Speaks to one server.

    Every method raises:
        Unreachable: no connection, or it broke before the answer was complete.
        Refused: the server answered 9000.
        ProtocolError: the server sent what the protocol does not allow.
    """

    def __init__(self, address: Address, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.address = address
        self._timeout = timeout

    def reach(self) -> None:
        """Connect, and ask for nothing: tells a server that is not there from one that refuses."""
        with Link(self.address, self._timeout):
            pass

    @staticmethod
    def check_name(name: str) -> None:
        """Raises:
        UsageError: fewer than 2 characters, more than 254 bytes, or a NUL.
        """
        _registration(name, bytes(PUBLIC_KEY_SIZE))

    def register(self, name: str, public_key: bytes) -> ClientId:
        """Take a name, for ever, and get an id for it.

        Raises:
            UsageError: fewer than 2 characters, more than 254 bytes, or a NUL.
        """
        payload = _registration(name, public_key)
        return ClientId(self._ask(NOBODY, Request.REGISTER, payload, Response.REGISTERED, ClientId.SIZE))

    def list_clients(self, me: ClientId) -> Iterator[ListedClient]:
        """Everybody but us, in order of registration, as they come: a list may be larger than memory.

        It is asked for when the first is drawn, and whoever has seen enough may stop.
        """
        partial = bytearray()
        with Link(self.address, self._timeout) as link:
            link.send(request(me, Request.LIST_CLIENTS))
            for event in link.answer(STREAMED_ANSWER):
                match event:
                    case Frame(header) | FrameStart(header):
                        _check(header, Request.LIST_CLIENTS, Response.CLIENTS)
                    case Chunk(data):
                        partial += data
                        whole = len(partial) - len(partial) % LIST_ENTRY.size
                        for start in range(0, whole, LIST_ENTRY.size):
                            yield ListedClient.decode(bytes(partial[start : start + LIST_ENTRY.size]))
                        del partial[:whole]
            link.close_orderly()
        if partial:
            raise ProtocolError("the list of clients ends in the middle of an entry")

    def public_key(self, me: ClientId, of: ClientId) -> bytes:
        """The 160 bytes that a client registered as its key, whatever they are.

        The original's client puts the other's id into the header here; any registered id will do, and
        ours is the honest one.
        """
        payload = self._ask(me, Request.PUBLIC_KEY, of, Response.PUBLIC_KEY, KEY_ANSWER.size)
        client_id, key = KEY_ANSWER.unpack(payload)
        if client_id != of:
            raise ProtocolError("the server sent the key of another client")
        return bytes(key)

    def send_message(self, me: ClientId, to: ClientId, kind: MessageType, content: bytes) -> int:
        """Store a message for a client; returns the id that the server gave it."""
        return self.send_stream(me, to, kind, len(content), [content])

    def send_stream(
        self,
        me: ClientId,
        to: ClientId,
        kind: MessageType,
        size: int,
        pieces: Iterable[bytes | memoryview],
    ) -> int:
        """Store a message whose content of `size` bytes comes in pieces; returns its id.

        When `Unreachable` is raised the message may have been stored or not. When `pieces` raises, it
        was not.

        Raises:
            UsageError: more than a message can hold, or `pieces` gave another size: nothing is stored.
        """
        if size > MAX_CONTENT:
            raise UsageError("a message holds at most 1 GiB", hint="split the file")
        prefix = SendPrefix(to, kind, size).encode()
        with Link(self.address, self._timeout) as link:
            listening = link.send(request(me, Request.SEND_MESSAGE, len(prefix) + size) + prefix)
            given, last = 0, b""
            for piece in pieces:
                given += len(piece)
                if not listening or given > size:
                    break
                if given < size:
                    listening = link.send(piece)
                else:  # the server stores what is complete: not before `pieces` has ended as promised
                    last += bytes(piece)
            if listening and given != size:
                raise UsageError("the content changed its size while it was being sent; nothing was sent")
            link.send(last)
            payload = self._answer(link, Request.SEND_MESSAGE, Response.MESSAGE_STORED)
        recipient, message_id = STORED_ANSWER.unpack(_exactly(payload, STORED_ANSWER.size))
        if recipient != to:
            raise ProtocolError("the server confirmed a message to another client")
        return int(message_id)

    def fetch(self, me: ClientId, sink: Sink, progress: Progress | None = None) -> int:
        """Put all waiting messages into `sink`, commit it, and only then let the server forget them.

        `progress` is called with the bytes so far and the bytes in all. Returns the bytes in all; when
        there are none the sink is not touched. When this raises, the sink holds what came until then.
        """
        with Link(self.address, self._timeout) as link:
            link.send(request(me, Request.GET_MESSAGES))
            total = done = 0
            for event in link.answer(STREAMED_ANSWER):
                match event:
                    case Frame(header) | FrameStart(header):
                        _check(header, Request.GET_MESSAGES, Response.MESSAGES)
                        total = header.payload_size
                    case Chunk(data):
                        sink.write(data)
                        done += len(data)
                        if progress:
                            progress(done, total)
            if total:
                sink.commit()
            link.close_orderly(after_the_server=total > 0)
            return total

    def _ask(self, me: ClientId, code: Request, payload: bytes, expected: Response, size: int) -> bytes:
        """A request with a small payload, and the payload of its answer."""
        with Link(self.address, self._timeout) as link:
            link.send(request(me, code, len(payload)) + payload)
            return _exactly(self._answer(link, code, expected), size)

    @staticmethod
    def _answer(link: Link, code: Request, expected: Response) -> bytes:
        for event in link.answer(SMALL_ANSWER):
            if isinstance(event, Frame):
                link.close_orderly()
                _check(event.header, code, expected)
                return event.payload
        raise Unreachable("the server gave no answer")


def _registration(name: str, public_key: bytes) -> bytes:
    try:
        return Registration(name, public_key).encode()
    except ValueError:
        raise UsageError("a name has at least 2 characters, at most 254 bytes, and no NUL") from None


def _check(header: ResponseHeader, code: Request, expected: Response) -> None:
    if header.code == Response.ERROR:
        message, hint = REFUSALS[code]
        raise Refused(message, hint=hint)
    if header.code != expected:
        raise ProtocolError(f"the server answered {header.code} where {expected.value} was due")


def _exactly(payload: bytes, size: int) -> bytes:
    if len(payload) != size:
        raise ProtocolError(f"the server's answer has {len(payload)} bytes where {size} were due")
    return payload
