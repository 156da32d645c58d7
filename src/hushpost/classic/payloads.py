"""The payloads of the classic protocol: codes 100-104, 1000-1004 and 9000.

Byte tables and rules: docs/spec/classic.md. All integers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

import msgspec

from hushpost.errors import ProtocolError
from hushpost.ids import FixedBytes
from hushpost.wire.frames import Limits, RequestHeader, ResponseHeader

VERSION = 2
"""What we write. Neither side ever checks it: 0, 1, 3 and 255 were all accepted."""

MAX_PAYLOAD = 1 << 30
"""1 GiB: the original answers 9000 above it, and so do we."""

MAX_RESPONSE_PAYLOAD = (1 << 32) - 1
"""What the u32 size of a response can tell. A larger inbox comes in portions."""

MAX_MESSAGE_ID = (1 << 32) - 1

STREAM_ABOVE = 64 * 1024
"""Contents above this many bytes are streamed through the blob store instead of being collected."""

NAME_FIELD = 255
PUBLIC_KEY_SIZE = 160
REGISTER_SIZE = NAME_FIELD + PUBLIC_KEY_SIZE
MIN_NAME_CHARACTERS = 2


class ClientId(FixedBytes):
    """Who a client is: 16 bytes that the server chose. Knowing them is all the proof there is."""

    __slots__ = ()


NOBODY = ClientId(bytes(16))
"""The header's id in a registration. The server does not read it."""


class Request(IntEnum):
    REGISTER = 100
    LIST_CLIENTS = 101
    PUBLIC_KEY = 102
    SEND_MESSAGE = 103
    GET_MESSAGES = 104


class Response(IntEnum):
    REGISTERED = 1000
    CLIENTS = 1001
    PUBLIC_KEY = 1002
    MESSAGE_STORED = 1003
    MESSAGES = 1004
    ERROR = 9000


class MessageType(IntEnum):
    KEY_REQUEST = 1
    KEY = 2
    TEXT = 3
    FILE = 4


MESSAGE_TYPES = {int(kind): kind for kind in MessageType}
"""A look-up costs a quarter of what calling the enumeration does, and every send needs one."""

SEND_PREFIX = struct.Struct("<16sBI")
LIST_ENTRY = struct.Struct(f"<16s{NAME_FIELD}s")
MESSAGE_ENTRY = struct.Struct("<16sIBI")
KEY_ANSWER = struct.Struct(f"<16s{PUBLIC_KEY_SIZE}s")
STORED_ANSWER = struct.Struct("<16sI")

REQUEST_LIMITS = Limits(
    max_payload=MAX_PAYLOAD, collect=STREAM_ABOVE + SEND_PREFIX.size, prefix=SEND_PREFIX.size
)
"""A server's decoder: small requests whole, a large content streamed behind its 21-byte prefix."""


class Registration(msgspec.Struct, frozen=True):
    """100: name 255 (UTF-8, NUL padded) | public key 160 (any bytes)."""

    name: str
    public_key: bytes

    def encode(self) -> bytes:
        """Raises:
        ValueError: the name has fewer than 2 characters, more than 254 bytes, or a NUL.
        """
        return _encode_name(self.name) + self.public_key

    @classmethod
    def decode(cls, payload: bytes) -> Registration:
        """Raises:
        ProtocolError: another size, no NUL, a field that is not UTF-8 throughout, a short name.
        """
        if len(payload) != REGISTER_SIZE:
            raise ProtocolError("a registration has 415 bytes")
        try:
            field = payload[:NAME_FIELD].decode()
        except UnicodeDecodeError:
            raise ProtocolError("the name is not UTF-8") from None
        name, nul, _ = field.partition("\0")
        if not nul or len(name) < MIN_NAME_CHARACTERS:
            raise ProtocolError("the name is not 2 characters to 254 bytes, ended by a NUL")
        return cls(name, payload[NAME_FIELD:])


class ListedClient(msgspec.Struct, frozen=True):
    """One entry of 1001: client id 16 | name 255."""

    client_id: ClientId
    name: str

    def encode(self) -> bytes:
        return LIST_ENTRY.pack(self.client_id, self.name.encode())

    @classmethod
    def decode(cls, entry: bytes) -> ListedClient:
        """Whatever a server sends becomes a name: bad UTF-8 shows as replacement characters."""
        client_id, field = LIST_ENTRY.unpack(entry)
        return cls(ClientId(client_id), field.split(b"\0", 1)[0].decode(errors="replace"))


class SendPrefix(msgspec.Struct, frozen=True):
    """What stands before the content in 103: recipient 16 | type u8 | content size u32."""

    recipient: ClientId
    message_type: MessageType
    content_size: int

    def encode(self) -> bytes:
        return SEND_PREFIX.pack(self.recipient, self.message_type, self.content_size)

    @classmethod
    def decode(cls, prefix: bytes, payload_size: int) -> SendPrefix:
        """Read the prefix of a payload of `payload_size` bytes.

        Raises:
            ProtocolError: sizes that contradict each other, an unknown type, a key request with
                content.
        """
        if len(prefix) < SEND_PREFIX.size:
            raise ProtocolError("a message needs a recipient, a type and a size")
        recipient, raw_type, size = SEND_PREFIX.unpack_from(prefix)
        if payload_size != SEND_PREFIX.size + size:
            raise ProtocolError("the content size contradicts the payload size")
        message_type = MESSAGE_TYPES.get(raw_type)
        if message_type is None:
            raise ProtocolError("unknown message type")
        if message_type is MessageType.KEY_REQUEST and size:
            raise ProtocolError("a key request has no content")
        return cls(ClientId(recipient), message_type, size)


class MessageHeader(msgspec.Struct, frozen=True):
    """What stands before each content in 1004: sender 16 | id u32 | type u8 | content size u32.

    `message_type` is a plain number: what another server stored may be unknown to us.
    """

    sender: ClientId
    message_id: int
    message_type: int
    content_size: int

    def encode(self) -> bytes:
        return MESSAGE_ENTRY.pack(self.sender, self.message_id, self.message_type, self.content_size)


class ContentEnd(msgspec.Struct, frozen=True):
    """The content of the message whose header came last is complete."""


class MessagesDecoder:
    """Incremental decoder of a 1004 payload of any size; it keeps at most one entry header.

    `feed` yields a `MessageHeader`, then pieces of its content as views (valid until the next
    `feed`), then `ContentEnd`; then the next header. Exhaust it: what was not drawn from it is lost.
    """

    def __init__(self) -> None:
        self._partial = bytearray()
        self._remaining: int | None = None

    @property
    def buffered(self) -> int:
        """Bytes kept inside, for tests of the limit."""
        return len(self._partial)

    def feed(self, data: bytes | memoryview) -> Iterator[MessageHeader | memoryview | ContentEnd]:
        view = memoryview(data)
        while True:
            if self._remaining is None:
                missing = MESSAGE_ENTRY.size - len(self._partial)
                self._partial += view[:missing]
                view = view[missing:]
                if len(self._partial) < MESSAGE_ENTRY.size:
                    return
                sender, message_id, message_type, size = MESSAGE_ENTRY.unpack(self._partial)
                self._partial.clear()
                self._remaining = size
                yield MessageHeader(ClientId(sender), message_id, message_type, size)
            if self._remaining:
                piece = view[: self._remaining]
                if not piece:
                    return
                view = view[len(piece) :]
                self._remaining -= len(piece)
                yield piece
            if not self._remaining:
                self._remaining = None
                yield ContentEnd()

    def finish(self) -> None:
        """The payload is over.

        Raises:
            ProtocolError: it ended inside an entry.
        """
        if self._partial or self._remaining is not None:
            raise ProtocolError("the list of messages ends in the middle of a message")


def request(client_id: bytes, code: Request, payload_size: int = 0) -> bytes:
    """The header of a request as we write it."""
    return RequestHeader(client_id, VERSION, code, payload_size).encode()


def response(code: Response, payload: bytes = b"") -> bytes:
    """A whole response with a small payload."""
    return ResponseHeader(VERSION, code, len(payload)).encode() + payload


_STORED_HEADER = ResponseHeader(VERSION, Response.MESSAGE_STORED, STORED_ANSWER.size).encode()


def stored(recipient: ClientId, message_id: int) -> bytes:
    """The whole answer 1003: recipient 16 | message id u32."""
    return _STORED_HEADER + STORED_ANSWER.pack(recipient, message_id)


REFUSAL = response(Response.ERROR)
"""`02 28 23 00 00 00 00`: the protocol gives no reason."""


def _encode_name(name: str) -> bytes:
    raw = name.encode()
    if len(name) < MIN_NAME_CHARACTERS or len(raw) >= NAME_FIELD or b"\0" in raw:
        raise ValueError("a name has at least 2 characters, at most 254 bytes, and no NUL")
    return raw.ljust(NAME_FIELD, b"\0")
