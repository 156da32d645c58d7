"""Olm messages, read strictly before the library sees them.

    normal   03 | 0A 20 ratchet key 32 | 10 index varint | 22 size ciphertext | MAC 8
    prekey   03 | 0A 20 one-time key 32 | 12 20 base key 32 | 1A 20 identity key 32 | 22 size normal message

The library takes any protobuf: fields in any order, twice, unknown ones, sizes written long, and keys with
bit 255 set. Each such spelling of a message that was sent once decrypts as well as the first, and a changed
key even gives another session id, so that a replay would not be recognised. Here a message has one spelling.
Normative text: docs/spec/envelope.md, section "Olm messages".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import ClassVar, Self

from hushpost.crypto.identity.keys import DeviceDhKey
from hushpost.crypto.layout import Reader
from hushpost.crypto.prekeys import SessionKey
from hushpost.crypto.primitives import DhKey, Label, digest, sha256
from hushpost.ids import FixedBytes

VERSION = 3
MAC_SIZE = 8
BLOCK = 16

MAX_VARINT_SIZE = 9
"""Bytes: numbers below 2^63, as everywhere."""


class OlmType(Enum):
    """As Olm numbers them."""

    PREKEY = 0
    NORMAL = 1


class SessionHash(FixedBytes):
    """What a header calls a session. Half of a hash: the header is sealed, and both sides know the id."""

    __slots__ = ()

    @classmethod
    def of(cls, session_id: bytes) -> Self:
        """Of Olm's session id, 32 bytes."""
        return cls(digest(Label.SESSION, session_id)[: cls.SIZE])


class RatchetKey(DhKey):
    """Of one step of the ratchet."""

    __slots__ = ()


class BaseKey(DhKey):
    """Made by whoever opens a session, for it alone."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class NormalMessage:
    """In a session that both sides have.

    Attributes:
        encoded: the bytes as they came.
    """

    TYPE: ClassVar[OlmType] = OlmType.NORMAL

    ratchet_key: RatchetKey
    index: int
    encoded: bytes

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read one. Raises ValueError: it is none, or not in its one spelling."""
        reader = Reader(raw)
        reader.constant(VERSION)
        ratchet_key = RatchetKey(_key(reader, 0x0A))
        reader.constant(0x10)
        index = _varint(reader)
        reader.constant(0x22)
        size = _varint(reader)
        if size == 0 or size % BLOCK:
            raise ValueError("a ciphertext that does not consist of whole blocks")
        reader.take(size + MAC_SIZE)
        reader.end()
        return cls(ratchet_key, index, raw)


@dataclass(frozen=True, slots=True)
class PrekeyMessage:
    """Opens a session. Until the recipient answers, every message of the session is one.

    Attributes:
        one_time_key: of the recipient; may be its fallback key.
        identity_key: of the sender: a claim, until the message decrypts.
        inside: the message itself.
        encoded: the bytes as they came.
    """

    TYPE: ClassVar[OlmType] = OlmType.PREKEY

    one_time_key: SessionKey
    base_key: BaseKey
    identity_key: DeviceDhKey
    inside: NormalMessage
    encoded: bytes

    @property
    def session(self) -> SessionHash:
        """Of the session that it opens: Olm's id is a hash of the three keys."""
        return _opened_by(self.identity_key, self.base_key, self.one_time_key)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read one. Raises ValueError: it is none, or not in its one spelling."""
        reader = Reader(raw)
        reader.constant(VERSION)
        one_time_key = SessionKey(_key(reader, 0x0A))
        base_key = BaseKey(_key(reader, 0x12))
        identity_key = DeviceDhKey(_key(reader, 0x1A))
        reader.constant(0x22)
        inside = NormalMessage.decode(reader.take(_varint(reader)))
        reader.end()
        return cls(one_time_key, base_key, identity_key, inside, raw)


@lru_cache(maxsize=256)  # the same for every message of a session that was not answered yet
def _opened_by(identity_key: DeviceDhKey, base_key: BaseKey, one_time_key: SessionKey) -> SessionHash:
    return SessionHash.of(sha256(identity_key + base_key + one_time_key))


OlmMessage = PrekeyMessage | NormalMessage


def decode_olm(kind: OlmType, raw: bytes) -> OlmMessage:
    """Read either. Raises ValueError: it is none, or not in its one spelling."""
    return PrekeyMessage.decode(raw) if kind is OlmType.PREKEY else NormalMessage.decode(raw)


def _key(reader: Reader, tag: int) -> bytes:
    reader.constant(tag)
    reader.constant(DhKey.SIZE)
    return reader.take(DhKey.SIZE)


def _varint(reader: Reader) -> int:
    """A number in as few bytes as it takes."""
    number = 0
    for place in range(MAX_VARINT_SIZE):
        byte = reader.u8()
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            if byte == 0 and place:
                raise ValueError("a number that is written longer than it is")
            return number
    raise ValueError("a number of 2^63 or more")
