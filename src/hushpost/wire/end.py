"""What both ends of a version-3 connection share: frames, the data behind some of them, the state, failing.

See `wire.connection` for what is promised.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, NoReturn, TypeVar

import msgspec

from hushpost.errors import ProtocolError
from hushpost.wire.codec import split_head
from hushpost.wire.frames import (
    Chunk,
    EndOfStream,
    Frame,
    FrameDecoder,
    FrameEnd,
    FrameStart,
    Limits,
    RequestHeader,
    ResponseHeader,
)
from hushpost.wire.limits import MAX_EARLY_PAYLOAD, MAX_PART_HEAD, MAX_PART_PAYLOAD, MAX_PAYLOAD
from hushpost.wire.messages import CARRYING, Authenticate, Authenticated, Message
from hushpost.wire.states import TRANSITIONS, Role, State

NO_DEVICE = bytes(16)
"""The header's device id before authentication."""

E = TypeVar("E")
Fields = tuple[Any, ...]
"""A header as `struct` reads it; the last two are code and payload size."""

Buffer = bytes | bytearray | memoryview

TOO_LARGE = "the payload is larger than the protocol allows"

_LIMITS = Limits(
    max_payload=MAX_PART_PAYLOAD, collect=MAX_PAYLOAD, prefix=2 + MAX_PART_HEAD, streamed=CARRYING
)
_NOTHING = memoryview(b"")
_END = EndOfStream()
_DATA_END = FrameEnd()


def _decoder(header: type[RequestHeader | ResponseHeader]) -> FrameDecoder[RequestHeader | ResponseHeader]:
    return FrameDecoder(header, _LIMITS)


class End(Generic[E]):
    """What both ends share: cutting the stream into frames, the state, and failing for good.

    Attributes:
        to_write: bytes of data that our last message still lacks.
    """

    __slots__ = (
        "_allowed",
        "_at",
        "_carried",
        "_carrying",
        "_claimed",
        "_decoder",
        "_device",
        "_ended",
        "_failure",
        "_header",
        "_layout",
        "_max_carrying",
        "_max_payload",
        "_over",
        "_skipping",
        "_state",
        "_view",
        "to_write",
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
        self._max_payload = self._max_carrying = MAX_EARLY_PAYLOAD
        self._carried: Buffer = _NOTHING
        self._carrying = self._skipping = False
        self.to_write = 0

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
    def to_come(self) -> int:
        """Bytes of data of the last message that no chunk has covered yet."""
        left = self._decoder.missing if self._carrying and self._decoder.header is not None else 0
        return len(self._carried) + left

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

    def wrote(self, size: int) -> None:
        """So many bytes of our message's data were written.

        Raises:
            RuntimeError: more than it has.
        """
        if size > self.to_write:
            raise RuntimeError("more data than was announced")
        self.to_write -= size

    def _check_complete(self) -> None:
        if self.to_write:
            raise RuntimeError("data of the message before is missing")

    def next_event(self) -> E | Chunk | FrameEnd | EndOfStream | None:
        """What the peer has sent next, or None where more bytes are needed.

        Nothing that is returned, but chunks, refers to the bytes that were received. `EndOfStream` comes
        again at every later call.

        Raises:
            ProtocolError: the peer broke the protocol, now or before, or ended inside a frame.
        """
        while not self._over:
            if self._carrying:
                data = self._next_data()
                if data is not None and not self._skipping:
                    return data
                if data is None and not self._over:
                    return None
                continue
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
        """The same for a frame that comes in pieces: the decoder gets what it lacks, and no more.

        Of one that carries data, the first bytes.
        """
        decoder = self._decoder
        try:
            while self._at < len(self._view):
                piece = self._view[self._at : self._at + decoder.missing]
                self._at += len(piece)
                decoder.receive_data(piece)
                event = decoder.next_event()
                if isinstance(event, Frame):
                    return msgspec.structs.astuple(event.header), event.payload
                self._check_size(decoder.header)
                if isinstance(event, FrameStart):
                    return msgspec.structs.astuple(event.header), event.prefix
            self._starve()
        except ProtocolError as failure:
            self._fail(str(failure))
        return None

    def _check_size(self, header: RequestHeader | ResponseHeader | None) -> None:
        if header is not None and header.payload_size > (
            self._max_carrying if header.code in CARRYING else self._max_payload
        ):
            raise ProtocolError(TOO_LARGE)

    def _starve(self) -> None:
        """Everything that was received is used up."""
        self._view, self._at = _NOTHING, 0
        if self._ended:
            self._decoder.receive_eof()
            self._decoder.next_event()
            self._enter(State.CLOSED)

    # The data behind some messages

    def _take_head(self, payload: Buffer) -> Buffer:
        """The fields of a message that carries data, which comes next."""
        try:
            fields, self._carried = split_head(payload)
        except ProtocolError as failure:
            self._fail(str(failure))
        self._carrying, self._skipping = True, False
        return fields

    def _skip_data(self) -> None:
        """Nobody wants the data of this message, if it has any."""
        self._skipping = self._carrying

    def _next_data(self) -> Chunk | FrameEnd | None:
        if self._carried:
            carried, self._carried = memoryview(self._carried), _NOTHING
            return Chunk(carried)
        decoder = self._decoder
        if decoder.missing and decoder.header is not None:
            piece = self._view[self._at : self._at + decoder.missing]
            if piece:
                self._at += len(piece)
                decoder.receive_data(piece)
                chunk = decoder.next_event()
                return chunk if isinstance(chunk, Chunk) else None
            try:
                self._starve()
            except ProtocolError as failure:
                self._fail(str(failure))
            return None
        if decoder.header is not None:
            decoder.next_event()
        self._carrying = False
        return _DATA_END

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
            self._max_payload, self._max_carrying = MAX_PAYLOAD, MAX_PART_PAYLOAD

    def _enter(self, state: State) -> None:
        self._state = state
        self._allowed = TRANSITIONS[state]
        self._over = not self._allowed

    def _fail(self, sentence: str) -> NoReturn:
        self._enter(State.FAILED)
        self._failure = sentence
        self._view, self._at = _NOTHING, 0
        self._carried, self._carrying = _NOTHING, False
        self._decoder = _decoder(self._header)
        raise ProtocolError(sentence) from None
