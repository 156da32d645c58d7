"""One version-3 connection, without the socket: bytes go in, messages come out, and the reverse.

    connection.receive_data(data)
    while (event := connection.next_event()) is not None: ...
    transport.write(connection.send(message))

**The promise about bad input.** What a peer sends is a message that may come now, or it is answered, or it
is the end of the connection. Answered (`BadRequest`) is a request in a proper frame whose number can be
read: one that is malformed, unknown, or not allowed in this state. Everything else raises `ProtocolError`,
once and at every later call, and no later byte is looked at. It does not matter how the bytes are cut.

What *we* do wrong (a second answer, an event that nobody subscribed to) is a `RuntimeError` that changes
nothing.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, NoReturn, TypeVar

import msgspec

from hushpost.errors import ProtocolError
from hushpost.wire.codec import (
    BAD_PAYLOAD,
    EVENT_DECODERS,
    REQUEST_DECODERS,
    RESPONSE_DECODERS,
    encode_message,
    request_number,
)
from hushpost.wire.frames import (
    EndOfStream,
    Frame,
    FrameDecoder,
    Limits,
    RequestHeader,
    ResponseHeader,
)
from hushpost.wire.limits import MAX_EARLY_PAYLOAD, MAX_OPEN_REQUESTS, MAX_PAYLOAD
from hushpost.wire.messages import (
    ANSWERS,
    VERSION,
    Authenticate,
    Authenticated,
    Error,
    ErrorCode,
    EventMessage,
    Message,
    RequestMessage,
    ResponseMessage,
)
from hushpost.wire.states import TRANSITIONS, Role, State

NO_DEVICE = bytes(16)
"""The header's device id before authentication."""

EVENT_CODES = range(2000, 3000)
"""A client skips those that it does not know: a server may tell more than there was when it was written."""

E = TypeVar("E")
Fields = tuple[Any, ...]
"""A header as `struct` reads it; the last is the payload's size."""

Buffer = bytes | bytearray | memoryview

TOO_LARGE = "the payload is larger than the protocol allows"

REQUEST_HEADER = RequestHeader.LAYOUT
RESPONSE_HEADER = ResponseHeader.LAYOUT
_LIMITS = Limits(max_payload=MAX_PAYLOAD, collect=MAX_PAYLOAD)
_NOTHING = memoryview(b"")
_END = EndOfStream()
_SENTENCES = {
    ErrorCode.MALFORMED: "the request does not have the fields that it should have",
    ErrorCode.UNKNOWN_REQUEST: "this server does not know this request",
    ErrorCode.UNEXPECTED: "this request is not allowed now",
}


class BadRequest(msgspec.Struct, frozen=True):
    """A request that cannot be carried out, whatever the server holds: send `answer`, and go on."""

    answer: Error


def _decoder(header: type[RequestHeader | ResponseHeader]) -> FrameDecoder[RequestHeader | ResponseHeader]:
    return FrameDecoder(header, _LIMITS)


class _Connection(Generic[E]):
    """What both ends share: cutting the stream into frames, the state, and failing for good."""

    __slots__ = (
        "_allowed",
        "_at",
        "_claimed",
        "_decoder",
        "_device",
        "_ended",
        "_failure",
        "_header",
        "_layout",
        "_max_payload",
        "_over",
        "_state",
        "_view",
    )

    role: ClassVar[Role]

    def __init__(self, header: type[RequestHeader | ResponseHeader]) -> None:
        self._header = header
        self._layout = header.LAYOUT
        self._decoder = _decoder(header)
        self._view, self._at = _NOTHING, 0
        self._ended = False
        self._state = State.GREETING
        self._allowed = TRANSITIONS[State.GREETING]
        self._over = False
        self._failure = ""
        self._device = NO_DEVICE
        self._claimed = NO_DEVICE
        self._max_payload = MAX_EARLY_PAYLOAD

    @property
    def state(self) -> State:
        return self._state

    @property
    def device(self) -> bytes:
        """The authenticated device id; 16 zeros before."""
        return self._device

    @property
    def buffered(self) -> int:
        """Bytes kept inside, for tests of the limit."""
        return self._decoder.buffered

    @property
    def inside_frame(self) -> bool:
        """Whether a frame has begun to arrive and is not whole."""
        return not self._decoder.between_frames

    def receive_data(self, data: Buffer) -> None:
        """Take the next bytes of the stream. They are not copied until `next_event` needs it.

        Raises:
            RuntimeError: the bytes before these were not wholly drained by `next_event`.
        """
        if self._at < len(self._view):
            raise RuntimeError("call next_event until it returns None, then bring more data")
        self._view, self._at = memoryview(data), 0

    def receive_eof(self) -> None:
        """The peer has ended its side of the stream."""
        self._ended = True

    def next_event(self) -> E | EndOfStream | None:
        """What the peer has sent next, or None where more bytes are needed.

        Nothing that is returned refers to the bytes that were received. `EndOfStream` comes again at
        every later call.

        Raises:
            ProtocolError: the peer broke the protocol, now or before, or ended inside a frame.
        """
        while not self._over:
            frame = self._next_whole() or self._next_collected()
            if frame is not None:
                event = self._interpret(*frame)
                if event is not None:
                    return event
            elif not self._over:
                return None
        self._view, self._at = _NOTHING, 0
        if self._failure:
            raise ProtocolError(self._failure)
        return _END

    def _next_whole(self) -> tuple[Fields, Buffer] | None:
        """The next frame if it lies in the received bytes as a whole, as most do: nothing is copied."""
        start = self._at + self._layout.size
        if start > len(self._view) or not self._decoder.between_frames:
            return None
        fields = self._layout.unpack_from(self._view, self._at)
        end = start + fields[-1]
        if end > len(self._view) or fields[-1] > self._max_payload:
            return None
        self._at = end
        return fields, self._view[start:end]

    def _next_collected(self) -> tuple[Fields, Buffer] | None:
        """The same for a frame that comes in pieces: the decoder gets what it lacks, and no more."""
        decoder = self._decoder
        try:
            while self._at < len(self._view):
                piece = self._view[self._at : self._at + decoder.missing]
                self._at += len(piece)
                decoder.receive_data(piece)
                event = decoder.next_event()
                if isinstance(event, Frame):
                    return msgspec.structs.astuple(event.header), event.payload
                if decoder.missing > self._max_payload:
                    raise ProtocolError(TOO_LARGE)
            self._view, self._at = _NOTHING, 0
            if self._ended:
                decoder.receive_eof()
                decoder.next_event()
                self._enter(State.CLOSED)
        except ProtocolError as failure:
            self._fail(str(failure))
        return None

    def _interpret(self, fields: Fields, payload: Buffer) -> E | None:
        """What a frame means; None: nothing."""
        raise NotImplementedError

    def _move(self, message: Message) -> None:
        """Take the message's row in the table of states.

        Raises:
            RuntimeError: it has none; nothing was changed.
        """
        following = self._allowed.get(type(message))
        if following is None:
            raise RuntimeError(f"no {type(message).__name__} in the state {self._state.value}")
        if following is self._state:
            return
        self._enter(following)
        if type(message) is Authenticate:
            self._claimed = message.device
        elif type(message) is Authenticated:
            self._device = self._claimed
            self._max_payload = MAX_PAYLOAD

    def _enter(self, state: State) -> None:
        self._state = state
        self._allowed = TRANSITIONS[state]
        self._over = not self._allowed

    def _fail(self, sentence: str) -> NoReturn:
        self._enter(State.FAILED)
        self._failure = sentence
        self._view, self._at = _NOTHING, 0
        self._decoder = _decoder(self._header)
        raise ProtocolError(sentence) from None


class ServerConnection(_Connection[RequestMessage | BadRequest]):
    """The server's end: requests come out, responses and events go in."""

    __slots__ = ("_open",)

    role = Role.SERVER

    def __init__(self) -> None:
        super().__init__(RequestHeader)
        self._open: dict[int, type[ResponseMessage] | None] = {}
        """Number -> the answer that is due, unless it is an error; None: a bad request, an error only."""

    @property
    def open_requests(self) -> int:
        """How many requests await their answer."""
        return len(self._open)

    def send(self, message: ResponseMessage | EventMessage) -> bytes:
        """The bytes of an answer to an open request, or of an event.

        Raises:
            RuntimeError: no such request is open, it is not answered like this, or the state forbids it.
            ValueError: the message is larger than a payload may be.
        """
        payload = encode_message(message)
        if isinstance(message, EventMessage):
            self._move(message)
        else:
            self._answer(message)
        return RESPONSE_HEADER.pack(VERSION, message.CODE, len(payload)) + payload

    def _answer(self, message: ResponseMessage) -> None:
        if message.number not in self._open:
            raise RuntimeError(f"no request {message.number} is open")
        expected = self._open[message.number]
        if type(message) is not expected and type(message) is not Error:
            raise RuntimeError(f"request {message.number} is not answered with {type(message).__name__}")
        if expected is not None:
            self._move(message)
        del self._open[message.number]

    def _interpret(self, fields: Fields, payload: Buffer) -> RequestMessage | BadRequest:
        device, version, code, _ = fields
        if version != VERSION:
            self._fail("the client does not speak version 3")
        if device != self._device:
            self._fail("the header's device id is not the authenticated one")
        decode = REQUEST_DECODERS.get(code)
        if decode is None:
            return self._bad(payload, ErrorCode.UNKNOWN_REQUEST)
        try:
            message = decode(payload)
        except BAD_PAYLOAD:
            return self._bad(payload, ErrorCode.MALFORMED)
        if type(message) not in self._allowed:
            return self._bad(payload, ErrorCode.UNEXPECTED)
        self._note(message.number, ANSWERS[type(message)])
        self._move(message)
        return message

    def _bad(self, payload: Buffer, error: ErrorCode) -> BadRequest:
        number = request_number(payload)
        if number is None:
            self._fail("a request without a number that can be read")
        self._note(number, None)
        return BadRequest(Error(number, error, _SENTENCES[error]))

    def _note(self, number: int, expected: type[ResponseMessage] | None) -> None:
        if number in self._open:
            self._fail("the number of a request that is still open")
        if len(self._open) >= MAX_OPEN_REQUESTS:
            self._fail("too many open requests")
        self._open[number] = expected


class ClientConnection(_Connection[ResponseMessage | EventMessage]):
    """The client's end: requests go in, their answers and events come out."""

    __slots__ = ("_last_number", "_open")

    role = Role.CLIENT

    def __init__(self) -> None:
        super().__init__(ResponseHeader)
        self._open: dict[int, type[ResponseMessage]] = {}
        """Number -> the answer that is due, unless it is an error."""
        self._last_number = 0

    @property
    def open_requests(self) -> int:
        """How many requests await their answer; at `MAX_OPEN_REQUESTS`, wait for one."""
        return len(self._open)

    def next_number(self) -> int:
        """A number for the next request: not one of an open one, and not used for long."""
        number = self._last_number
        while True:
            number = (number + 1) % 2**32
            if number not in self._open:
                self._last_number = number
                return number

    def send(self, message: RequestMessage) -> bytes:
        """The bytes of a request.

        Raises:
            RuntimeError: its number is open, too many are, or the state forbids it.
            ValueError: the message is larger than a payload may be.
        """
        payload = encode_message(message)
        if message.number in self._open:
            raise RuntimeError(f"request {message.number} is still open")
        if len(self._open) >= MAX_OPEN_REQUESTS:
            raise RuntimeError("too many open requests")
        device = self._device
        self._move(message)
        self._open[message.number] = ANSWERS[type(message)]
        return REQUEST_HEADER.pack(device, VERSION, message.CODE, len(payload)) + payload

    def _interpret(self, fields: Fields, payload: Buffer) -> ResponseMessage | EventMessage | None:
        version, code, _ = fields
        if version != VERSION:
            self._fail("the server does not speak version 3")
        if code in EVENT_CODES:
            return self._event(code, payload)
        decode = RESPONSE_DECODERS.get(code)
        if decode is None:
            self._fail("a response with a code that does not exist")
        try:
            answer = decode(payload)
        except BAD_PAYLOAD:
            self._fail("a malformed response")
        expected = self._open.pop(answer.number, None)
        if expected is None:
            self._fail("an answer to a request that is not open")
        if type(answer) is not expected and type(answer) is not Error:
            self._fail("an answer to another kind of request")
        self._move(answer)
        return answer

    def _event(self, code: int, payload: Buffer) -> EventMessage | None:
        decode = EVENT_DECODERS.get(code)
        if decode is None:
            return None
        try:
            event = decode(payload)
        except BAD_PAYLOAD:
            self._fail("a malformed event")
        if type(event) not in self._allowed:
            self._fail("an event that was not asked for")
        self._move(event)
        return event
