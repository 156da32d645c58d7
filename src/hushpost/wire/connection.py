"""One version-3 connection, without the socket: bytes go in, messages come out, and the reverse.

    connection.receive_data(data)
    while (event := connection.next_event()) is not None: ...
    transport.write(connection.send(message))

A message that carries data comes out when its fields are there; then the data comes as `Chunk`s, views of
what was received last, and `FrameEnd`. It goes in with `send(message, size)`; then the caller writes so many
bytes itself, and says so with `wrote`, before anything else may be sent.

**The promise about bad input.** What a peer sends is a message that may come now, or it is answered, or it
is the end of the connection. Answered (`BadRequest`) is a request in a proper frame whose number can be
read: one that is malformed, unknown, or not allowed in this state. Everything else raises `ProtocolError`,
once and at every later call, and no later byte is looked at. It does not matter how the bytes are cut.

What *we* do wrong (a second answer, an event that nobody subscribed to) is a `RuntimeError` that changes
nothing.
"""

from __future__ import annotations

import msgspec

from hushpost.wire.codec import (
    BAD_PAYLOAD,
    EVENT_DECODERS,
    REQUEST_DECODERS,
    RESPONSE_DECODERS,
    encode_head,
    encode_message,
    request_number,
)
from hushpost.wire.end import NO_DEVICE, Buffer, End, Fields
from hushpost.wire.frames import RequestHeader, ResponseHeader
from hushpost.wire.limits import MAX_OPEN_REQUESTS
from hushpost.wire.messages import (
    ANSWERS,
    CARRYING,
    VERSION,
    Error,
    ErrorCode,
    EventMessage,
    RequestMessage,
    ResponseMessage,
)
from hushpost.wire.states import Role

__all__ = ["NO_DEVICE", "BadRequest", "ClientConnection", "ServerConnection"]

EVENT_CODES = range(2000, 3000)
"""A client skips those that it does not know: a server may tell more than there was when it was written."""


REQUEST_HEADER = RequestHeader.LAYOUT
RESPONSE_HEADER = ResponseHeader.LAYOUT
_SENTENCES = {
    ErrorCode.MALFORMED: "the request does not have the fields that it should have",
    ErrorCode.UNKNOWN_REQUEST: "this server does not know this request",
    ErrorCode.UNEXPECTED: "this request is not allowed now",
}


class BadRequest(msgspec.Struct, frozen=True):
    """A request that cannot be carried out, whatever the server holds: send `answer`, and go on."""

    answer: Error


class ServerConnection(End[RequestMessage | BadRequest]):
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

    def send(self, message: ResponseMessage | EventMessage, size: int = 0) -> bytes:
        """The bytes of an answer to an open request, or of an event, without the data that it carries.

        Args:
            size: of that data.

        Raises:
            RuntimeError: no such request is open, it is not answered like this, the state forbids it, or
                data of the message before is missing.
            ValueError: the message is larger than a payload may be.
        """
        self._check_complete()
        payload = encode_head(message) if message.CODE in CARRYING else encode_message(message)
        if isinstance(message, EventMessage):
            self._move(message)
        else:
            self._answer(message)
        self.to_write = size
        return RESPONSE_HEADER.pack(VERSION, message.CODE, len(payload) + size) + payload

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
        if code in CARRYING:
            payload = self._take_head(payload)
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
        self._skip_data()
        return BadRequest(Error(number, error, _SENTENCES[error]))

    def _note(self, number: int, expected: type[ResponseMessage] | None) -> None:
        if number in self._open:
            self._fail("the number of a request that is still open")
        if len(self._open) >= MAX_OPEN_REQUESTS:
            self._fail("too many open requests")
        self._open[number] = expected


class ClientConnection(End[ResponseMessage | EventMessage]):
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

    def send(self, message: RequestMessage, size: int = 0) -> bytes:
        """The bytes of a request, without the data that it carries.

        Args:
            size: of that data.

        Raises:
            RuntimeError: its number is open, too many are, the state forbids it, or data of the message
                before is missing.
            ValueError: the message is larger than a payload may be.
        """
        self._check_complete()
        payload = encode_head(message) if message.CODE in CARRYING else encode_message(message)
        if message.number in self._open:
            raise RuntimeError(f"request {message.number} is still open")
        if len(self._open) >= MAX_OPEN_REQUESTS:
            raise RuntimeError("too many open requests")
        device = self._device
        self._move(message)
        self._open[message.number] = ANSWERS[type(message)]
        self.to_write = size
        return REQUEST_HEADER.pack(device, VERSION, message.CODE, len(payload) + size) + payload

    def _interpret(self, fields: Fields, payload: Buffer) -> ResponseMessage | EventMessage | None:
        version, code, _ = fields
        if version != VERSION:
            self._fail("the server does not speak version 3")
        if code in EVENT_CODES:
            return self._event(code, payload)
        decode = RESPONSE_DECODERS.get(code)
        if decode is None:
            self._fail("a response with a code that does not exist")
        if code in CARRYING:
            payload = self._take_head(payload)
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
