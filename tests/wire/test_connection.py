"""Connections: any cutting gives the same, bad input is answered or final, both ends agree."""

from __future__ import annotations

import json
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hushpost.errors import ProtocolError
from hushpost.wire.connection import NO_DEVICE, BadRequest, ClientConnection, ServerConnection
from hushpost.wire.frames import EndOfStream, FrameEnd, RequestHeader
from hushpost.wire.limits import (
    MAX_EARLY_PAYLOAD,
    MAX_OPEN_REQUESTS,
    MAX_PAYLOAD,
)
from hushpost.wire.messages import (
    ANSWERS,
    CARRYING,
    EVENTS,
    REQUESTS,
    Authenticate,
    Authenticated,
    Error,
    ErrorCode,
    EventMessage,
    GetUsage,
    Hello,
    Leave,
    Left,
    Message,
    Push,
    RequestMessage,
    ResponseMessage,
    SendEnvelope,
    Stored,
    Subscribe,
    Subscribed,
    Taken,
    UsageAnswer,
)
from hushpost.wire.states import State, may_send
from tests.wire.events import cut, single_bytes
from tests.wire.examples import example
from tests.wire.record import VECTORS
from tests.wire.strategies import structs
from tests.wire.talk import (
    AUTHENTICATE,
    DEVICE,
    EPOCH,
    HELLO,
    HELLO_ANSWER,
    SUBSCRIBE,
    Connection,
    arriving,
    pair,
    receive,
    request_frame,
    response_frame,
    step,
)

CASES = json.loads(VECTORS.read_text())["refused"]
USAGE = request_frame(114, b"\x91\x09")
SETTLED = [State.GREETING, State.READY, State.SUBSCRIBED]
DATA = st.binary(max_size=600)
PLACES = st.lists(st.integers(0, 9_000), max_size=12)
SERVED = [each for each in REQUESTS.values() if each.CODE not in {100, 110, 111}]


def served_client(*numbers: int) -> ClientConnection:
    """Subscribed, with these requests open."""
    client, _ = pair(State.SUBSCRIBED)
    for number in numbers:
        client.send(GetUsage(number))
    return client


# -- cutting


@settings(max_examples=50)
@given(
    st.lists(st.sampled_from(SERVED).flatmap(structs), max_size=5),
    st.lists(st.integers(0, 9_000), max_size=12),
)
def test_any_splitting_of_requests_gives_the_same(requests: list[RequestMessage], places: list[int]) -> None:
    client, server = pair(State.READY)
    numbered = [msgspec.structs.replace(each, number=client.next_number()) for each in requests]
    data = b"".join(map(client.send, numbered))
    assert receive(server, cut(data, places)) == arriving(*numbered)
    assert server.buffered == 0


@settings(max_examples=50)
@given(st.lists(st.sampled_from([*EVENTS.values(), UsageAnswer]).flatmap(structs), max_size=5), st.data())
def test_any_splitting_of_events_and_answers_gives_the_same(
    messages: list[ResponseMessage | EventMessage], data: st.DataObject
) -> None:
    client, server = pair(State.SUBSCRIBED)
    sent: list[ResponseMessage | EventMessage] = []
    stream = b""
    for number, each in enumerate(messages, start=100):
        if isinstance(each, ResponseMessage):
            step(client, server, GetUsage(number))
            sent.append(msgspec.structs.replace(each, number=number))
        elif server.state is State.SUBSCRIBED:
            sent.append(each)
        else:
            continue
        stream += server.send(sent[-1])
    places = data.draw(PLACES)
    assert receive(client, cut(stream, places)) == sent


@given(
    st.binary(max_size=200), st.booleans(), st.sampled_from([State.GREETING, State.READY, State.SUBSCRIBED])
)
def test_garbage_is_final_and_the_same_however_it_is_cut(data: bytes, prefix: bool, state: State) -> None:
    for index in (0, 1):
        start = (b"\x03", DEVICE)[index] if prefix else b""
        whole, bytewise = pair(state)[index], pair(state)[index]
        events = receive(whole, [start + data], eof=True)
        assert events == receive(bytewise, single_bytes(start + data), eof=True)
        assert whole.state is bytewise.state
        assert whole.state in {State.FAILED, State.CLOSED}


def test_the_received_buffer_may_be_reused() -> None:
    client, server = pair(State.READY)
    message = example(SendEnvelope)
    assert isinstance(message, SendEnvelope)
    buffer = bytearray(client.send(message))
    server.receive_data(buffer)
    received = server.next_event()
    assert server.next_event() is None
    buffer.clear()  # impossible while a view of it exists
    assert received == message


def test_undrained_bytes_are_never_overwritten() -> None:
    _, server = pair(State.READY)
    server.receive_data(USAGE + request_frame(114, b"\x91\x0a"))
    assert server.next_event() == GetUsage(9)
    with pytest.raises(RuntimeError, match="next_event"):
        server.receive_data(b"more")
    assert server.next_event() == GetUsage(10)


# -- limits


@pytest.mark.parametrize(("state", "limit"), [(State.GREETED, MAX_EARLY_PAYLOAD), (State.READY, MAX_PAYLOAD)])
@pytest.mark.parametrize("split", [False, True])
def test_the_largest_payload_and_one_above(state: State, limit: int, split: bool) -> None:
    device = NO_DEVICE if state is State.GREETED else DEVICE
    for index, start in enumerate((b"\x03\x5a\x04", device + b"\x03\x72")):
        most, above = (start + size.to_bytes(4, "little") for size in (limit, limit + 1))
        assert receive(pair(state)[index], single_bytes(most) if split else [most]) == []
        connection = pair(state)[index]
        pieces = single_bytes(above) if split else [above + b"payload"]
        assert receive(connection, pieces) == ["the payload is larger than the protocol allows"]
        assert connection.buffered == 0


def test_no_more_than_the_frame_in_progress_is_kept() -> None:
    client, server = pair(State.READY)
    message = example(SendEnvelope)
    assert isinstance(message, SendEnvelope)
    data = client.send(message)
    receive(server, [data[:1_000]])
    assert server.buffered == 1_000 - RequestHeader.SIZE
    assert receive(server, [data[1_000:] + USAGE]) == [message, GetUsage(9)]
    assert server.buffered == 0


def test_so_many_requests_may_be_open() -> None:
    client, server = pair(State.READY)
    requests = [GetUsage(client.next_number()) for _ in range(MAX_OPEN_REQUESTS)]
    assert receive(server, map(client.send, requests)) == requests
    assert client.open_requests == server.open_requests == MAX_OPEN_REQUESTS
    one_more = GetUsage(client.next_number())
    with pytest.raises(RuntimeError, match="too many"):
        client.send(one_more)
    step(client, server, UsageAnswer(requests[7].number, {}))
    step(client, server, one_more)
    assert receive(server, [request_frame(114, msgspec.msgpack.encode([10**6]))]) == [
        "too many open requests"
    ]


def test_numbers_are_not_those_of_open_requests() -> None:
    client, _ = pair(State.READY)
    first = client.next_number()
    client.send(GetUsage(first + 1))
    assert client.next_number() == first + 2
    client._last_number = 2**32 - 2
    assert [client.next_number(), client.next_number()] == [2**32 - 1, 0]


# -- what a peer must not do


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['to']}: {case['name']}")
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "byte by byte"])
def test_recorded_misdeeds(case: dict[str, Any], bytewise: bool) -> None:
    client, server = pair(State(case["state"]))
    connection: Connection = client if case["to"] == "client" else server
    if case["to"] == "client" and case["state"] == "subscribed":
        client.send(GetUsage(9))
    before = connection.state
    data = bytes.fromhex(case["bytes_hex"])
    events = receive(connection, single_bytes(data) if bytewise else [data])
    if case["outcome"] == "fails":
        assert isinstance(events[-1], str)
        assert connection.state is State.FAILED
    elif case["outcome"] == "skipped":
        assert (events, connection.state) == ([], before)
    else:
        (event,) = events
        assert isinstance(event, BadRequest)
        assert (event.answer.number, event.answer.error) == (9, case["outcome"])
        assert connection.state is before


@pytest.mark.parametrize("index", [0, 1])
def test_a_failed_connection_stays_failed(index: int) -> None:
    client, server = pair(State.READY)
    connection: Connection = (client, server)[index]
    (sentence,) = receive(connection, [bytes(40)])
    for data in (b"", USAGE, b"x" * 100):
        connection.receive_data(data)
        with pytest.raises(ProtocolError, match=str(sentence)):
            connection.next_event()
    connection.receive_eof()
    with pytest.raises(ProtocolError, match=str(sentence)):
        connection.next_event()
    assert connection.state is State.FAILED
    with pytest.raises(RuntimeError):
        client.send(GetUsage(77)) if index == 0 else server.send(Taken())


def test_a_bad_request_is_answered_and_the_connection_lives_on() -> None:
    client, server = pair(State.READY)
    (bad,) = receive(server, [request_frame(99, b"\x91\x05")])
    assert bad == BadRequest(Error(5, "unknown-request", "this server does not know this request"))
    assert isinstance(bad, BadRequest)
    assert server.open_requests == 1
    with pytest.raises(RuntimeError, match="not answered with"):
        server.send(UsageAnswer(5, {}))
    client.send(GetUsage(5))  # what a newer client's request would be in this one's place
    assert receive(client, [server.send(bad.answer)]) == [bad.answer]
    assert server.open_requests == 0
    step(client, server, GetUsage(5))


def test_a_refused_request_in_between_does_not_move_a_waiting_state() -> None:
    """A stranger who asks for something during hello must not confuse the server."""
    client, server = pair(State.HELLO_SENT)
    (bad,) = receive(server, [request_frame(114, b"\x91\x05", NO_DEVICE)])
    assert isinstance(bad, BadRequest)
    assert bad.answer.error == ErrorCode.UNEXPECTED
    server.send(bad.answer)
    assert server.state is State.HELLO_SENT
    step(client, server, HELLO_ANSWER)


def test_the_end_of_the_stream() -> None:
    for index in (0, 1):
        connection = pair(State.READY)[index]
        assert receive(connection, [], eof=True) == [EndOfStream()]
        assert connection.state is State.CLOSED
        assert connection.next_event() == EndOfStream()
        torn = pair(State.READY)[index]
        assert receive(torn, [b"\x03"], eof=True) == ["the stream ended in the middle of a frame"]


def test_what_was_received_before_the_end_still_comes() -> None:
    _, server = pair(State.READY)
    server.receive_data(USAGE)
    server.receive_eof()
    assert [server.next_event(), server.next_event()] == [GetUsage(9), EndOfStream()]


# -- what we must not do


def test_our_own_mistakes_change_nothing() -> None:
    client, server = pair(State.READY)
    step(client, server, GetUsage(7))
    for wrong in (UsageAnswer(8, {}), Stored(7, [1]), Push([]), Taken()):
        with pytest.raises(RuntimeError):
            server.send(wrong)
    with pytest.raises(RuntimeError, match="still open"):
        client.send(GetUsage(7))
    with pytest.raises(RuntimeError, match="no Hello in the state ready"):
        client.send(Hello(8, bytes(32)))
    assert (client.open_requests, server.open_requests) == (1, 1)
    step(client, server, UsageAnswer(7, {}))
    with pytest.raises(RuntimeError, match="no request 7 is open"):
        server.send(UsageAnswer(7, {}))
    assert (client.open_requests, server.open_requests) == (0, 0)


# -- states


def test_the_device_id_is_zero_until_the_authentication_was_accepted() -> None:
    client, server = ClientConnection(), ServerConnection()
    assert client.send(HELLO)[:16] == NO_DEVICE
    client, server = pair(State.GREETED)
    assert client.send(AUTHENTICATE)[:16] == NO_DEVICE
    client, server = pair(State.AUTHENTICATING)
    step(client, server, Error(AUTHENTICATE.number, "denied", "no"))
    assert client.device == server.device == NO_DEVICE
    assert client.state is server.state is State.GREETING
    client, server = pair(State.READY)
    assert client.device == server.device == DEVICE
    assert client.send(GetUsage(5))[:16] == DEVICE


def test_a_second_authentication_after_a_refusal_names_its_own_device() -> None:
    client, server = pair(State.AUTHENTICATING)
    step(client, server, Error(AUTHENTICATE.number, "denied", "no"))
    step(client, server, HELLO)
    step(client, server, HELLO_ANSWER)
    step(client, server, Authenticate(9, bytes(16), b"e" * 16, bytes(64)))
    step(client, server, Authenticated(9, 0, 0, 0))
    assert client.device == server.device == b"e" * 16


def test_after_leaving_nothing_is_read_or_written() -> None:
    client, server = pair(State.READY)
    step(client, server, Leave(5, bytes(16)))
    assert receive(client, [server.send(Left(5))]) == [Left(5), EndOfStream()]
    assert client.state is server.state is State.CLOSED
    assert receive(server, [USAGE, b"garbage"]) == [EndOfStream()]
    with pytest.raises(RuntimeError):
        client.send(GetUsage(6))


def test_pushes_between_answers_and_answers_in_any_order() -> None:
    client, server = pair(State.READY)
    for number in (5, 6):
        step(client, server, GetUsage(number))
    step(client, server, SUBSCRIBE)
    step(client, server, Subscribed(SUBSCRIBE.number, EPOCH))
    push = example(Push)
    for message in (push, UsageAnswer(6, {}), push, UsageAnswer(5, {}), Taken()):
        step(client, server, message)
    assert client.state is server.state is State.READY
    step(client, server, Subscribe(8, EPOCH, 0, 1))


def test_an_unknown_event_is_skipped_without_losing_its_neighbours() -> None:
    client = served_client(9, 10)
    stream = (
        response_frame(1114, b"\x92\x09\x80")
        + response_frame(2777, b"\xff" * 50)
        + response_frame(1114, b"\x92\x0a\x80")
    )
    for pieces in ([stream], single_bytes(stream)):
        client = served_client(9, 10)
        assert receive(client, pieces) == [UsageAnswer(9, {}), UsageAnswer(10, {})]


def confirm(expected: list[object], event: object) -> None:
    """This came, or a first piece of it."""
    first = expected.pop(0)
    if isinstance(first, bytes) and isinstance(event, bytes) and len(event) < len(first):
        assert first.startswith(event)
        expected.insert(0, first[len(event) :])
    else:
        assert event == first


class Conversation(RuleBasedStateMachine):
    """Both ends in random legal orders, the bytes cut anyhow and in flight for any time."""

    def __init__(self) -> None:
        super().__init__()
        self.client, self.server = ClientConnection(), ServerConnection()
        self.requests, self.answers = b"", b""
        self.sent: list[object] = []
        self.told: list[object] = []
        self.open: dict[int, type[RequestMessage]] = {}

    @initialize(state=st.sampled_from(SETTLED))
    def come_so_far(self, state: State) -> None:
        self.client, self.server = pair(state)

    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        legal = [each for each in ANSWERS if may_send(self.client.role, self.client.state, each)]
        if legal and self.client.open_requests < 5:
            request = data.draw(structs(data.draw(st.sampled_from(legal))))
            request = msgspec.structs.replace(request, number=self.client.next_number())
            self.requests += self._written(self.client, request, data.draw(DATA), self.sent)

    @rule(size=st.integers(1, 3_000))
    def requests_arrive(self, size: int) -> None:
        piece, self.requests = self.requests[:size], self.requests[size:]
        for request in receive(self.server, [piece]):
            if isinstance(request, EndOfStream):
                self.requests, self.sent = b"", []
                break
            confirm(self.sent, request)
            if isinstance(request, RequestMessage):
                self.open[request.number] = type(request)

    @rule(data=st.data(), refuse=st.booleans())
    def answer(self, data: st.DataObject, refuse: bool) -> None:
        if not self.open or self.server.state is State.CLOSED:
            return
        number = data.draw(st.sampled_from(sorted(self.open)))
        message = data.draw(structs(Error if refuse else ANSWERS[self.open.pop(number)]))
        self.open.pop(number, None)
        self._tell(msgspec.structs.replace(message, number=number), data.draw(DATA))

    @rule(data=st.data())
    def event(self, data: st.DataObject) -> None:
        if may_send(self.server.role, self.server.state, Push):
            self._tell(data.draw(structs(data.draw(st.sampled_from([Push, Taken])))))

    def _tell(self, message: ResponseMessage | EventMessage, content: bytes = b"") -> None:
        self.answers += self._written(self.server, message, content, self.told)

    def _written(self, end: Any, message: Message, content: bytes, expected: list[object]) -> bytes:
        if message.CODE not in CARRYING:
            expected.append(message)
            return cast(bytes, end.send(message))
        expected += [message, content, FrameEnd()] if content else [message, FrameEnd()]
        head = cast(bytes, end.send(message, len(content)))
        end.wrote(len(content))
        return head + content

    @rule(size=st.integers(1, 3_000))
    def answers_arrive(self, size: int) -> None:
        piece, self.answers = self.answers[:size], self.answers[size:]
        for message in receive(self.client, [piece]):
            if isinstance(message, EndOfStream):
                break
            confirm(self.told, message)

    @invariant()
    def they_agree_when_nothing_is_in_flight(self) -> None:
        if not self.requests and not self.answers:
            assert self.client.state is self.server.state
            assert self.client.device == self.server.device
            if self.client.state is not State.CLOSED:
                assert self.client.open_requests == self.server.open_requests
                assert self.sent == self.told == []


Conversation.TestCase.settings = settings(max_examples=40, stateful_step_count=40)
TestConversation = Conversation.TestCase
