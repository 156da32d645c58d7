"""What a message says: parts, each of one kind.

    version u8 = 1 | number of parts u8 | each: kind u16, size u32, bytes

Kinds ascend, so each is there at most once. A kind that we do not know is kept as `Unknown`, so that a newer
client can say more to us than we understand; a known kind that is malformed is refused with everything. No
parts at all is a message, too: it answers, and so keeps the ratchet healing. Normative text:
docs/spec/envelope.md, section "Content".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Protocol, Self, TypeVar

from hushpost.crypto.body import MAX_CONTENT
from hushpost.crypto.layout import Reader, u8, u16, u32
from hushpost.crypto.offer import VERSION as OFFER_VERSION
from hushpost.crypto.offer import FileOffer
from hushpost.crypto.olm import SessionHash
from hushpost.crypto.prekeys import SealPrekey
from hushpost.crypto.primitives import Secret
from hushpost.ids import MessageId

VERSION = 1

MAX_PARTS = 16
"""Three times what a message of today can have."""

MAX_TEXT = 128 * 1024
"""Bytes of UTF-8: a long book chapter. More than that is a file."""

MAX_RECEIPTS = 256
"""Messages in one receipt: a device that comes back after weeks says so in few of them."""

MAX_RESENDS = 32
"""Messages asked for at once: an answer costs the peer one message for each."""

MAX_PROFILE_NAME = 128
"""Bytes of UTF-8."""

MAX_MANIFESTS = 200
"""In one introduction. What is longer does not fit into a body anyway once it lists many devices."""

MANIFEST_BOUND = 24 * 1024
"""Bytes of one manifest: as many as the server takes."""


class DeliveryToken(Secret):
    """Whoever shows it may write to an account without being a request. 32 random bytes."""

    __slots__ = ()


class Part(Protocol):
    """One thing that a message says."""

    @property
    def kind(self) -> int: ...

    def encode(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Text:
    """Kind 1. What a person wrote, UTF-8, at least one byte. Hostile to a terminal until it is escaped."""

    KIND: ClassVar[int] = 1

    text: str = field(repr=False)

    @property
    def kind(self) -> int:
        return self.KIND

    def encode(self) -> bytes:
        return self.text.encode()

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        if not 1 <= len(raw) <= MAX_TEXT:
            raise ValueError("a text of no or too many bytes")
        return cls(raw.decode())


@dataclass(frozen=True, slots=True)
class Receipt:
    """Kind 2. These messages of yours are stored on my device: 1 to 256 ids of 16 bytes."""

    KIND: ClassVar[int] = 2

    messages: tuple[MessageId, ...]

    @property
    def kind(self) -> int:
        return self.KIND

    def encode(self) -> bytes:
        return b"".join(self.messages)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        return cls(_message_ids(raw, MAX_RECEIPTS))


@dataclass(frozen=True, slots=True)
class Card:
    """Kind 3. For contacts: delivery token 32 | what I like to be called, UTF-8, 0 to 128 bytes."""

    KIND: ClassVar[int] = 3

    token: DeliveryToken
    name: str = field(repr=False)

    @property
    def kind(self) -> int:
        return self.KIND

    def encode(self) -> bytes:
        return self.token + self.name.encode()

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        reader = Reader(raw)
        token, name = DeliveryToken(reader.take(DeliveryToken.SIZE)), reader.rest()
        if len(name) > MAX_PROFILE_NAME:
            raise ValueError("a name of too many bytes")
        return cls(token, name.decode())


@dataclass(frozen=True, slots=True)
class Introduction:
    """Kind 4. Who I am, so that nobody has to be asked: seal key 1297 | manifests, each u32 size and bytes.

    Attributes:
        seal: of the sending device, encoded and signed; checked with `PrekeyCheck.seal`.
        manifests: encoded, oldest first; checked with `verify_chain`. From the first on, or those that the
            recipient seemed to lack.
    """

    KIND: ClassVar[int] = 4

    seal: bytes
    manifests: tuple[bytes, ...]

    @property
    def kind(self) -> int:
        return self.KIND

    def encode(self) -> bytes:
        return self.seal + b"".join(u32(len(each)) + each for each in self.manifests)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        reader = Reader(raw)
        seal = reader.take(SealPrekey.SIZE)
        manifests: list[bytes] = []
        while reader.left:
            size = reader.u32()
            if size > MANIFEST_BOUND or len(manifests) == MAX_MANIFESTS:
                raise ValueError("a manifest that is too large, or too many of them")
            manifests.append(reader.take(size))
        if not manifests:
            raise ValueError("an introduction without a manifest")
        return cls(seal, tuple(manifests))


@dataclass(frozen=True, slots=True)
class ResendRequest:
    """Kind 5. These messages of yours did not open here: 1 to 32 ids of 16 bytes.

    Whoever gets it sends again only what it addressed to the asking device, and only if that device is in the
    account's manifest now.
    """

    KIND: ClassVar[int] = 5

    messages: tuple[MessageId, ...]

    @property
    def kind(self) -> int:
        return self.KIND

    def encode(self) -> bytes:
        return b"".join(self.messages)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        return cls(_message_ids(raw, MAX_RESENDS))


@dataclass(frozen=True, slots=True)
class SessionReset:
    """Kind 6. This session did not work here and is used no more; this message opens another: 16 bytes."""

    KIND: ClassVar[int] = 6

    session: SessionHash

    @property
    def kind(self) -> int:
        return self.KIND

    def encode(self) -> bytes:
        return bytes(self.session)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        return cls(SessionHash(raw))


@dataclass(frozen=True, slots=True)
class Unknown:
    """A kind, or a version of a file's offer, that a newer client understands. Shown, and never an error."""

    kind: int
    raw: bytes = field(repr=False)

    def encode(self) -> bytes:
        return self.raw


def _offer(raw: bytes) -> Part:
    if raw and raw[0] != OFFER_VERSION:
        return Unknown(FileOffer.KIND, raw)
    return FileOffer.decode(raw)


P = TypeVar("P", bound=Part)

_DECODERS: Mapping[int, Callable[[bytes], Part]] = MappingProxyType(
    {
        Text.KIND: Text.decode,
        Receipt.KIND: Receipt.decode,
        Card.KIND: Card.decode,
        Introduction.KIND: Introduction.decode,
        ResendRequest.KIND: ResendRequest.decode,
        SessionReset.KIND: SessionReset.decode,
        FileOffer.KIND: _offer,
    }
)
"""By kind. 17 to 31 are kept for files, 32 to 47 for groups."""


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that one message says.

    Attributes:
        parts: in the order of their kinds, no kind twice.
    """

    parts: tuple[Part, ...] = ()

    @classmethod
    def of(cls, *parts: Part) -> Self:
        """These parts, in order."""
        return cls(tuple(sorted(parts, key=lambda part: part.kind)))

    def get(self, kind: type[P]) -> P | None:
        """The part of this kind, if there is one."""
        return next((part for part in self.parts if isinstance(part, kind)), None)

    @property
    def unknown(self) -> Sequence[Unknown]:
        """What only a newer client understands."""
        return [part for part in self.parts if isinstance(part, Unknown)]

    def encode(self) -> bytes:
        """The one spelling of this content.

        Raises:
            ValueError: something in it is larger than may be, or a kind is there twice.
        """
        parts = [(part.kind, part.encode()) for part in self.parts]
        raw = (
            u8(VERSION) + u8(len(parts)) + b"".join(u16(kind) + u32(len(each)) + each for kind, each in parts)
        )
        if len(raw) > MAX_CONTENT:
            raise ValueError(f"a content of {len(raw)} bytes is larger than {MAX_CONTENT}")
        type(self).decode(raw)  # what others would refuse is not sent
        return raw

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read one. Raises ValueError: it is none."""
        reader = Reader(raw)
        reader.constant(VERSION)
        count, parts = reader.u8(), list[Part]()
        if count > MAX_PARTS:
            raise ValueError("too many parts")
        for _ in range(count):
            kind, each = reader.u16(), reader.take(reader.u32())
            if parts and kind <= parts[-1].kind:
                raise ValueError("parts that are not in order")
            decode = _DECODERS.get(kind)
            parts.append(Unknown(kind, each) if decode is None else decode(each))
        reader.end()
        return cls(tuple(parts))


def _message_ids(raw: bytes, most: int) -> tuple[MessageId, ...]:
    """Raises ValueError: none, too many, or no whole ids."""
    size = MessageId.SIZE
    if not 1 <= len(raw) // size <= most or len(raw) % size:
        raise ValueError("no ids, or too many")
    return tuple(MessageId(raw[at : at + size]) for at in range(0, len(raw), size))
