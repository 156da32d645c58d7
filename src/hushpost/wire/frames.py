"""The frame of every protocol version: a fixed header, then a payload of the size that it tells.

    request  : client id 16 | version u8 | code u8  | payload size u32 | payload
    response :                version u8 | code u16 | payload size u32 | payload

All integers are little-endian. Normative text: docs/spec/classic.md, section "Frames".
"""

from __future__ import annotations

import struct
from typing import ClassVar, Generic, Protocol, Self, TypeVar

import msgspec

from hushpost.errors import ProtocolError


class Header(Protocol):
    """What the decoder needs to know of a header type."""

    SIZE: ClassVar[int]

    @property
    def code(self) -> int: ...

    @property
    def payload_size(self) -> int: ...

    @classmethod
    def decode(cls, data: bytes) -> Self: ...


class RequestHeader(msgspec.Struct, frozen=True):
    """22 bytes: client id 16 | version u8 | code u8 | payload size u32."""

    client_id: bytes
    version: int
    code: int
    payload_size: int

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<16sBBI")
    SIZE: ClassVar[int] = LAYOUT.size

    def encode(self) -> bytes:
        return self.LAYOUT.pack(self.client_id, self.version, self.code, self.payload_size)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        return cls(*cls.LAYOUT.unpack(data))


class ResponseHeader(msgspec.Struct, frozen=True):
    """7 bytes: version u8 | code u16 | payload size u32."""

    version: int
    code: int
    payload_size: int

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<BHI")
    SIZE: ClassVar[int] = LAYOUT.size

    def encode(self) -> bytes:
        return self.LAYOUT.pack(self.version, self.code, self.payload_size)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        return cls(*cls.LAYOUT.unpack(data))


H = TypeVar("H", bound=Header)


class Frame(msgspec.Struct, Generic[H], frozen=True):
    """A whole frame whose payload was small enough to be collected."""

    header: H
    payload: bytes


class FrameStart(msgspec.Struct, Generic[H], frozen=True):
    """A large frame begins: its header and the first `prefix` bytes of its payload.

    The rest follows as `Chunk`s, then comes `FrameEnd`.
    """

    header: H
    prefix: bytes


class Chunk(msgspec.Struct, frozen=True):
    """The next bytes of a large payload: a view of what was received last, never empty.

    It is valid until the next `receive_data`.
    """

    data: memoryview


class FrameEnd(msgspec.Struct, frozen=True):
    """The large frame is complete."""


class EndOfStream(msgspec.Struct, frozen=True):
    """The peer has ended its side, between two frames."""


class Limits(msgspec.Struct, frozen=True):
    """How much a decoder accepts and keeps.

    Attributes:
        max_payload: a header that tells more is refused before anything is buffered.
        collect: payloads up to here are handed out whole; this, or one header, is also the most
            that is ever buffered.
        prefix: of a larger payload, so many bytes come with `FrameStart`; at most `collect`.
        streamed: payloads of these codes are not collected, either, if they are larger than `prefix`.
    """

    max_payload: int
    collect: int
    prefix: int = 0
    streamed: frozenset[int] = frozenset()


_NOTHING = memoryview(b"")

Event = Frame[H] | FrameStart[H] | Chunk | FrameEnd | EndOfStream


class FrameDecoder(Generic[H]):
    """Incremental decoder: bytes go in with `receive_data`, events come out of `next_event`.

    Whatever way the bytes are split, the events are the same, but for the cutting of chunks. Bad
    input raises `ProtocolError`, once and at every later call. After `receive_data`, call
    `next_event` until it returns None before the next bytes: that keeps what is buffered within
    `Limits.collect`.
    """

    __slots__ = (
        "_data",
        "_eof",
        "_failed",
        "_header",
        "_header_type",
        "_limits",
        "_partial",
        "_streaming",
        "_to_stream",
    )

    def __init__(self, header_type: type[H], limits: Limits) -> None:
        if limits.prefix > limits.collect:
            raise ValueError("the prefix must fit into what may be collected")
        self._header_type = header_type
        self._limits = limits
        self._data = _NOTHING
        self._partial = bytearray()
        self._header: H | None = None
        self._streaming = False
        self._to_stream = 0
        self._eof = False
        self._failed = ""

    @property
    def buffered(self) -> int:
        """Bytes kept inside, for tests of the limit."""
        return len(self._partial)

    @property
    def unread(self) -> int:
        """Bytes of the last `receive_data` that no event has covered yet."""
        return len(self._data)

    @property
    def between_frames(self) -> bool:
        """Nothing of a frame was taken yet."""
        return self._header is None and not self._partial

    @property
    def header(self) -> H | None:
        """That of the frame that has begun and is not complete."""
        return self._header

    @property
    def missing(self) -> int:
        """How many bytes the header lacks, or the payload, or as much of it as is collected."""
        if self._streaming:
            return self._to_stream
        expected = self._header_type.SIZE
        if self._header is not None:
            expected = self._limits.prefix if self._is_streamed(self._header) else self._header.payload_size
        return expected - len(self._partial)

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the stream. They are not copied until an event needs it.

        Raises:
            RuntimeError: the bytes before these were not wholly drained by `next_event`.
        """
        if self._data:
            raise RuntimeError("call next_event until it returns None, then bring more data")
        self._data = memoryview(data)

    def receive_eof(self) -> None:
        """The peer has ended its side of the stream."""
        self._eof = True

    def next_event(self) -> Event[H] | None:
        """The next event, or None where more bytes are needed.

        Raises:
            ProtocolError: a payload larger than allowed, or the stream ended inside a frame.
        """
        if self._failed:
            raise ProtocolError(self._failed)
        if self._streaming:
            return self._next_of_stream()
        if self._header is None:
            raw = self._take(self._header_type.SIZE)
            if raw is None:
                return self._starved(inside=bool(self._partial))
            self._header = self._header_type.decode(raw)
            if self._header.payload_size > self._limits.max_payload:
                raise self._fail("the payload is larger than the protocol allows")
        header = self._header
        if self._is_streamed(header):
            prefix = self._take(self._limits.prefix)
            if prefix is None:
                return self._starved(inside=True)
            self._streaming = True
            self._to_stream = header.payload_size - len(prefix)
            return FrameStart(header, prefix)
        payload = self._take(header.payload_size)
        if payload is None:
            return self._starved(inside=True)
        self._header = None
        return Frame(header, payload)

    def _is_streamed(self, header: H) -> bool:
        limits = self._limits
        return header.payload_size > (limits.prefix if header.code in limits.streamed else limits.collect)

    def _next_of_stream(self) -> Event[H] | None:
        if self._to_stream == 0:
            self._streaming = False
            self._header = None
            return FrameEnd()
        chunk = self._data[: self._to_stream]
        if not chunk:
            return self._starved(inside=True)
        self._data = self._data[len(chunk) :] or _NOTHING  # an empty view, too, would keep the buffer
        self._to_stream -= len(chunk)
        return Chunk(chunk)

    def _take(self, count: int) -> bytes | None:
        """Exactly `count` bytes, or None after keeping what there is."""
        if not self._partial and len(self._data) >= count:
            taken = bytes(self._data[:count])
            self._data = self._data[count:]
            return taken
        missing = count - len(self._partial)
        self._partial += self._data[:missing]
        self._data = self._data[missing:]
        if len(self._partial) < count:
            return None
        taken = bytes(self._partial)
        self._partial.clear()
        return taken

    def _starved(self, *, inside: bool) -> EndOfStream | None:
        if not self._eof:
            return None
        if inside:
            raise self._fail("the stream ended in the middle of a frame")
        return EndOfStream()

    def _fail(self, message: str) -> ProtocolError:
        self._failed = message
        self._data = _NOTHING
        self._partial.clear()
        return ProtocolError(message)
