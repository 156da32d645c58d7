"""Two connections that talk to each other, without a network."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hushpost.errors import ProtocolError
from hushpost.wire.connection import ClientConnection, ServerConnection
from hushpost.wire.frames import Chunk, EndOfStream, FrameEnd, RequestHeader, ResponseHeader
from hushpost.wire.messages import (
    ANSWERS,
    CARRYING,
    VERSION,
    Authenticate,
    Authenticated,
    EventMessage,
    Hello,
    HelloAnswer,
    Message,
    RequestMessage,
    ResponseMessage,
    Subscribe,
    Subscribed,
)
from hushpost.wire.states import State, may_send
from tests.wire.examples import example

DEVICE = bytes(range(0xD0, 0xE0))
EPOCH = bytes(range(0xE0, 0xF0))

HELLO = Hello(1, bytes(32))
HELLO_ANSWER = HelloAnswer(1, bytes(32), 1_700_000_000, EPOCH, b"statement", [], {})
AUTHENTICATE = Authenticate(2, bytes(16), DEVICE, bytes(64))
AUTHENTICATED = Authenticated(2, 0, 0, 50)
SUBSCRIBE = Subscribe(3, EPOCH, 0, 1 << 20)
SUBSCRIBED = Subscribed(3, EPOCH)

PATH: tuple[tuple[State, Message], ...] = (
    (State.GREETING, HELLO),
    (State.HELLO_SENT, HELLO_ANSWER),
    (State.GREETED, AUTHENTICATE),
    (State.AUTHENTICATING, AUTHENTICATED),
    (State.READY, SUBSCRIBE),
    (State.READY, SUBSCRIBED),
)
"""The way to `SUBSCRIBED`, and the state that each step starts from."""

Connection = ClientConnection | ServerConnection


def receive(connection: Connection, pieces: Iterable[bytes], *, eof: bool = False) -> list[object]:
    """Everything that comes out of these bytes; a failure stands last, as its sentence.

    A failed connection must stay failed. Chunks, whose cutting depends on the pieces, are joined to bytes.
    """
    events: list[object] = []
    try:
        for piece in pieces:
            connection.receive_data(piece)
            while (event := connection.next_event()) is not None:
                take_down(events, event)
                if isinstance(event, EndOfStream):
                    return events
        if eof:
            connection.receive_eof()
            events.append(connection.next_event())
    except ProtocolError as failure:
        events.append(str(failure))
    return events


def take_down(events: list[object], event: object) -> None:
    """Append an event; chunks that follow each other are one, and none is empty."""
    if not isinstance(event, Chunk):
        events.append(event)
        return
    assert event.data
    joined = events.pop() if events and isinstance(events[-1], bytes) else b""
    assert isinstance(joined, bytes)
    events.append(joined + bytes(event.data))


def arriving(*messages: Message) -> list[object]:
    """The events that these messages are at the other end, with no data behind any."""
    events: list[object] = []
    for message in messages:
        events += [message, FrameEnd()] if message.CODE in CARRYING else [message]
    return events


def step(client: ClientConnection, server: ServerConnection, message: Message) -> None:
    """Send one message from the end that it belongs to; exactly this arrives at the other."""
    if isinstance(message, RequestMessage):
        assert receive(server, [client.send(message)]) == arriving(message)
    else:
        assert isinstance(message, ResponseMessage | EventMessage)
        assert receive(client, [server.send(message)]) == arriving(message)


def pair(until: State) -> tuple[ClientConnection, ServerConnection]:
    """Two ends that have come as far as this state."""
    client, server = ClientConnection(), ServerConnection()
    for state, message in PATH:
        assert client.state is server.state is state
        if state is until:
            break
        step(client, server, message)
    assert client.state is server.state is until
    return client, server


def ask_everything(client: ClientConnection) -> dict[type[ResponseMessage], int]:
    """Open one request of each kind that a served client may send; the number of each answer."""
    numbers: dict[type[ResponseMessage], int] = {}
    for request, answer in ANSWERS.items():
        if may_send(client.role, client.state, request):
            message = example(request)
            assert isinstance(message, RequestMessage)
            numbers[answer] = client.next_number()
            client.send(msgspec.structs.replace(message, number=numbers[answer]))
    return numbers


def request_frame(code: int, payload: bytes, device: bytes = DEVICE, version: int = VERSION) -> bytes:
    return RequestHeader(device, version, code, len(payload)).encode() + payload


def response_frame(code: int, payload: bytes, version: int = VERSION) -> bytes:
    return ResponseHeader(version, code, len(payload)).encode() + payload
