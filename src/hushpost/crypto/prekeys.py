"""Prekeys: what a device publishes so that others can write to it while it sleeps.

    one-time, fallback   kind u8 = 1, 2 | key id u64 | Curve25519 32 | signature 64                     105
    seal                 kind u8 = 3 | key id u64 | expires u64 | X-Wing 1216 | signature 64           1297

Each is signed by its device, so that no server can put its own in place. Server and client run the same
checks: the one before it stores, the other before it uses. Normative text: docs/spec/keys.md, "Prekeys".
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import ClassVar, Self

from hushpost.crypto.identity import Device
from hushpost.crypto.layout import Reader, u8, u64
from hushpost.crypto.primitives import DhKey, Label, SealKey, Signature, Signer, verify
from hushpost.errors import PrekeyError
from hushpost.ids import AccountId

MAX_SEAL_LIFETIME = 90 * 86_400
"""Seconds. Who is away for longer cannot be written to; who stole a key cannot have it handed out longer."""

CLOCK_SKEW = 3_600
"""Seconds that two clocks may differ."""


class PrekeyFault(StrEnum):
    """Why a prekey is refused, as a sentence. docs/spec/keys.md names the checks in their order."""

    MALFORMED = "the prekey is malformed"
    WRONG_KIND = "the prekey is of another kind than what was asked for"
    BAD_SIGNATURE = "the prekey is not signed by the device"
    EXPIRED = "the seal key has expired"
    TOO_LONG = "the seal key would live longer than a seal key may"
    OLD_ID = "the seal key is older than one that is known"
    REPEATED = "two prekeys have the same id, or the same key"


class Kind(Enum):
    """What a prekey is for. Ids of different kinds have nothing to do with each other."""

    ONE_TIME = 1
    FALLBACK = 2
    SEAL = 3


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose prekeys these are: a device, from the newest verified manifest of its account."""

    account: AccountId
    device: Device

    def signed(self, signature: Signature, *about: bytes) -> bool:
        return verify(self.device.signing_key, signature, Label.PREKEY, self.account, self.device.id, *about)

    def sign(self, signer: Signer, *about: bytes) -> Signature:
        return signer.sign(Label.PREKEY, self.account, self.device.id, *about)


class SessionKey(DhKey):
    """Curve25519, for the first message of a session."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SessionPrekey:
    """A one-time key, which the server hands out at most once, or the fallback key for when none is left."""

    SIZE: ClassVar[int] = 105

    kind: Kind
    key_id: int
    key: SessionKey
    signature: Signature

    @classmethod
    def by(cls, signer: Signer, owner: Owner, kind: Kind, key_id: int, key: SessionKey) -> Self:
        """As the device makes it; `signer` holds the secret of its device key."""
        return cls(kind, key_id, key, owner.sign(signer, u8(kind.value), u64(key_id), key))

    def is_signed(self, owner: Owner) -> bool:
        return owner.signed(self.signature, u8(self.kind.value), u64(self.key_id), self.key)

    def encode(self) -> bytes:
        return u8(self.kind.value) + u64(self.key_id) + self.key + self.signature

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read one. Raises ValueError: it is none."""
        reader = Reader(raw)
        kind = Kind(reader.u8())
        if kind is Kind.SEAL:
            raise ValueError("a seal key in place of a session's")
        prekey = cls(kind, reader.u64(), SessionKey(reader.take(32)), Signature(reader.take(64)))
        reader.end()
        return prekey


@dataclass(frozen=True, slots=True)
class SealPrekey:
    """The key that headers are sealed to. `key_id` only grows; `expires`: seconds since 1970."""

    SIZE: ClassVar[int] = 1297

    key_id: int
    expires: int
    key: SealKey
    signature: Signature

    @classmethod
    def by(cls, signer: Signer, owner: Owner, key_id: int, key: SealKey, expires: int) -> Self:
        """As the device makes it; `signer` holds the secret of its device key."""
        about = (u8(Kind.SEAL.value), u64(key_id), key, u64(expires))
        return cls(key_id, expires, key, owner.sign(signer, *about))

    def is_expired(self, now: int) -> bool:
        """Whether nobody may seal to it any more, by a clock that may be an hour off."""
        return now > self.expires + CLOCK_SKEW

    def is_signed(self, owner: Owner) -> bool:
        about = (u8(Kind.SEAL.value), u64(self.key_id), self.key, u64(self.expires))
        return owner.signed(self.signature, *about)

    def encode(self) -> bytes:
        return u8(Kind.SEAL.value) + u64(self.key_id) + u64(self.expires) + self.key + self.signature

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read one. Raises ValueError: it is none."""
        reader = Reader(raw)
        reader.constant(Kind.SEAL.value)
        numbers = reader.u64(), reader.u64()
        prekey = cls(*numbers, SealKey(reader.take(SealKey.SIZE)), Signature(reader.take(64)))
        reader.end()
        return prekey


@dataclass(frozen=True, slots=True)
class Upload:
    """What a device publishes at once, checked. An empty tuple or None: nothing of that kind."""

    one_time: tuple[SessionPrekey, ...]
    fallback: SessionPrekey | None
    seal: SealPrekey | None


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is needed to write to one device, checked. `session` is None where none was asked for."""

    owner: Owner
    seal: SealPrekey
    session: SessionPrekey | None


@dataclass(frozen=True, slots=True)
class PrekeyCheck:
    """Reads what a device published. Every method raises PrekeyError for what it refuses.

    Attributes:
        now: seconds since 1970.
        newest_seal: of the device's seal keys that were accepted before, the one with the highest id.
            Handing out an older one is how a server would help a thief of its secret.
    """

    owner: Owner
    now: int
    newest_seal: SealPrekey | None = None

    def session(self, raw: bytes, kinds: AbstractSet[Kind]) -> SessionPrekey:
        """A one-time or fallback key, of a kind that is acceptable here."""
        try:
            prekey = SessionPrekey.decode(raw)
        except ValueError:
            raise PrekeyError(PrekeyFault.MALFORMED) from None
        if prekey.kind not in kinds:
            raise PrekeyError(PrekeyFault.WRONG_KIND)
        if not prekey.is_signed(self.owner):
            raise PrekeyError(PrekeyFault.BAD_SIGNATURE)
        return prekey

    def seal(self, raw: bytes) -> SealPrekey:
        """A seal key that is current and not older than what is known."""
        try:
            prekey = SealPrekey.decode(raw)
        except ValueError:
            raise PrekeyError(PrekeyFault.MALFORMED) from None
        if not prekey.is_signed(self.owner):
            raise PrekeyError(PrekeyFault.BAD_SIGNATURE)
        if prekey.is_expired(self.now):
            raise PrekeyError(PrekeyFault.EXPIRED)
        if prekey.expires > self.now + MAX_SEAL_LIFETIME + CLOCK_SKEW:
            raise PrekeyError(PrekeyFault.TOO_LONG)
        if (newest := self.newest_seal) is not None:
            if prekey.key_id < newest.key_id:
                raise PrekeyError(PrekeyFault.OLD_ID)
            if (prekey.key_id == newest.key_id) != (prekey.key == newest.key):
                raise PrekeyError(PrekeyFault.REPEATED)
        return prekey

    def upload(self, one_time: Sequence[bytes] = (), fallback: bytes = b"", seal: bytes = b"") -> Upload:
        """What the server checks before it stores any of it; empty bytes: not sent."""
        keys = [self.session(raw, {Kind.ONE_TIME}) for raw in one_time]
        spare = self.session(fallback, {Kind.FALLBACK}) if fallback else None
        if len({key.key_id for key in keys}) < len(keys):
            raise PrekeyError(PrekeyFault.REPEATED)
        every = [key.key for key in keys] + ([spare.key] if spare else [])
        if len(set(every)) < len(every):
            raise PrekeyError(PrekeyFault.REPEATED)
        return Upload(tuple(keys), spare, self.seal(seal) if seal else None)

    def bundle(self, seal: bytes, session: bytes = b"") -> Bundle:
        """What a client checks before it writes to the device; empty bytes: none was asked for."""
        key = self.session(session, {Kind.ONE_TIME, Kind.FALLBACK}) if session else None
        return Bundle(self.owner, self.seal(seal), key)
