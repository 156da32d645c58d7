"""The header of a message: sealed to one device, so that only it learns who wrote, and in which session.

    version u8 = 1 | sender: account fingerprint 32, device id 16 | session hash 16
    | Olm type u8 | Olm size u16 | Olm message | zeros up to 512

sealed with HPKE, base mode, to the recipient's seal key: 1,648 bytes, always. HPKE's `info` binds the seal
to the device, the key's id, the envelope id and the body. Anybody can seal, so nothing in it is proven: it
is a claim until the ratchet opens its message. Normative text: docs/spec/envelope.md, "Header".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from hushpost.crypto.body import BodyDigest
from hushpost.crypto.faults import EnvelopeFault
from hushpost.crypto.identity.keys import AccountFingerprint
from hushpost.crypto.layout import Reader, u8, u16, u64
from hushpost.crypto.olm import OlmMessage, OlmType, PrekeyMessage, SessionHash, decode_olm
from hushpost.crypto.primitives import HPKE_OVERHEAD, Label, SealKey, SealOpener, transcript
from hushpost.errors import EnvelopeError, Undecryptable
from hushpost.ids import DeviceId, EnvelopeId

VERSION = 1

PLAIN_SIZE = 512
"""Bytes: an Olm prekey message around an inner record has 426 to 434, and 68 stand before it."""

HEADER_SIZE = PLAIN_SIZE + HPKE_OVERHEAD
"""1,648 bytes."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a seal belongs to: it opens nowhere else."""

    recipient: DeviceId
    seal_key_id: int
    envelope: EnvelopeId
    body: BodyDigest

    @property
    def info(self) -> bytes:
        return transcript(Label.HEADER, self.recipient, u64(self.seal_key_id), self.envelope, self.body)


@dataclass(frozen=True, slots=True)
class Header:
    """What is sealed. Nobody has proven any of it: each field is what whoever sealed it wants us to believe.

    The outbox keeps it encoded. It holds the exact Olm message, and can be sealed again under another
    envelope id or to a newer seal key, while the ratchet is never asked twice.
    """

    claimed_account: AccountFingerprint
    claimed_device: DeviceId
    session: SessionHash
    message: OlmMessage

    SIZE: ClassVar[int] = PLAIN_SIZE

    def encode(self) -> bytes:
        """512 bytes.

        Raises:
            ValueError: an Olm message that does not fit.
        """
        olm = self.message.encoded
        sender = self.claimed_account + self.claimed_device + self.session
        filled = u8(VERSION) + sender + u8(self.message.TYPE.value) + u16(len(olm)) + olm
        if len(filled) > PLAIN_SIZE:
            raise ValueError(f"an Olm message of {len(olm)} bytes does not fit into a header")
        return filled.ljust(PLAIN_SIZE, b"\0")

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read one.

        Raises:
            EnvelopeError: HEADER, OLM_MESSAGE, or WRONG_SESSION: a prekey message opens another session
                than the one that is named.
        """
        try:
            reader = Reader(raw)
            reader.constant(VERSION)
            sender = AccountFingerprint(reader.take(32)), DeviceId(reader.take(16))
            session, kind = SessionHash(reader.take(16)), OlmType(reader.u8())
            olm = reader.take(reader.u16())
            if len(raw) != PLAIN_SIZE or reader.rest().strip(b"\0"):
                raise ValueError("the padding is not as it should be")
        except ValueError:
            raise EnvelopeError(EnvelopeFault.HEADER) from None
        try:
            message = decode_olm(kind, olm)
        except ValueError:
            raise EnvelopeError(EnvelopeFault.OLM_MESSAGE) from None
        if isinstance(message, PrekeyMessage) and message.session != session:
            raise EnvelopeError(EnvelopeFault.WRONG_SESSION)
        return cls(*sender, session, message)


def seal_header(header: Header, key: SealKey, binding: Binding) -> bytes:
    """Seal to the key that `binding` names. 1,648 bytes, others each time."""
    return key.seal(binding.info, header.encode())


def open_header(sealed: bytes, opener: SealOpener, binding: Binding) -> Header:
    """Undo `seal_header`.

    Raises:
        EnvelopeError: SEAL, HEADER, OLM_MESSAGE or WRONG_SESSION.
    """
    try:
        raw = opener.open(binding.info, sealed)
    except Undecryptable:
        raise EnvelopeError(EnvelopeFault.SEAL) from None
    return Header.decode(raw)
