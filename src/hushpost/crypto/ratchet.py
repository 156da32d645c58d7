"""The ratchet: a device's Olm account and its sessions. The only importer of `vodozemac`.

The library makes Olm sessions of version 1, whose MAC has 8 bytes, and its Python binding offers no other;
the 16-byte tags of seal and body stand around it. It draws its own randomness from the operating system.

**Pickles.** The library only gives out encrypted ones, under a key of 32 bytes that it wants to be told. Ours
is constant and public: pickles live in the client's database, which is encrypted as a whole, and a second key
beside the first would keep nobody out.

**Order.** Nothing here is changed by a message that does not decrypt. What does decrypt moves the ratchet on:
the caller stores the pickle in the transaction that stores what came out, and never uses an object again that
was loaded in another one. Normative text: docs/spec/envelope.md, section "Sessions".
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol, Self, cast

import vodozemac

from hushpost.crypto.faults import EnvelopeFault
from hushpost.crypto.identity.keys import DeviceDhKey, DeviceKey, device_id
from hushpost.crypto.olm import OlmMessage, OlmType, PrekeyMessage, SessionHash, decode_olm
from hushpost.crypto.prekeys import Bundle, Kind, SessionKey
from hushpost.crypto.primitives import Label, Signature, transcript
from hushpost.errors import EnvelopeError
from hushpost.ids import DeviceId

ONE_TIME_KEYS = 50
"""So many a device keeps published: as many people can write to it for the first time while it sleeps."""

FALLBACK_LIFETIME = 7 * 86_400
"""Seconds that a fallback key is kept for at least before the next is made."""

_PICKLE_KEY = bytes(32)


class _FallbackKeys(Protocol):
    """What the library's type stubs lack."""

    @property
    def fallback_key(self) -> Mapping[str, vodozemac.Curve25519PublicKey]: ...

    def generate_fallback_key(self) -> None: ...


@dataclass(frozen=True, slots=True)
class NewKey:
    """A one-time or fallback key that is to be signed and published.

    Attributes:
        key_id: grows by each key of its kind that the device makes, and is never used again.
    """

    kind: Kind
    key_id: int
    key: SessionKey


@dataclass(frozen=True, slots=True)
class Unpublished:
    """The keys that were made and not yet marked as published, in the order of their ids."""

    one_time: tuple[NewKey, ...]
    fallback: NewKey | None


@dataclass(frozen=True, slots=True)
class Decrypted:
    """What a session opened: whoever holds the secret of `their_key` wrote it. Only this module makes any.

    Attributes:
        session: the session that was used.
    """

    plaintext: bytes = field(repr=False)
    their_key: DeviceDhKey
    session: SessionHash


class Session:
    """A ratchet between two devices."""

    def __init__(self, their_key: DeviceDhKey, inside: vodozemac.Session) -> None:
        """For this module; others use `DeviceAccount` and `unpickle`."""
        self._their_key = their_key
        self._inside = inside
        self._hash = SessionHash.of(_unbase64(inside.session_id))

    @property
    def their_key(self) -> DeviceDhKey:
        """The identity key of the other device."""
        return self._their_key

    @property
    def hash(self) -> SessionHash:
        return self._hash

    def encrypt(self, plaintext: bytes) -> OlmMessage:
        """The next message; moves the ratchet on."""
        kind, raw = self._inside.encrypt(plaintext).to_parts()
        return decode_olm(OlmType(kind), raw)

    def decrypt(self, message: OlmMessage) -> Decrypted:
        """Open a message and move the ratchet on.

        Raises:
            EnvelopeError: WRONG_SESSION, or RATCHET: not of this session, changed, or opened before. The
                session is as it was.
        """
        if isinstance(message, PrekeyMessage) and message.session != self._hash:
            raise EnvelopeError(EnvelopeFault.WRONG_SESSION)
        try:
            plaintext = self._inside.decrypt(_for_library(message))
        except ValueError:
            raise EnvelopeError(EnvelopeFault.RATCHET) from None
        return Decrypted(plaintext, self._their_key, self._hash)

    def pickle(self) -> bytes:
        """Everything, for the encrypted database: their key, then the library's pickle."""
        return self._their_key + self._inside.pickle(_PICKLE_KEY).encode()

    @classmethod
    def unpickle(cls, raw: bytes) -> Self:
        """Undo `pickle`. Raises ValueError: the bytes are none."""
        size = DeviceDhKey.SIZE
        return cls(
            DeviceDhKey(raw[:size]), vodozemac.Session.from_pickle(raw[size:].decode("ascii"), _PICKLE_KEY)
        )


class DeviceAccount:
    """The secrets of a device: its identity keys and its prekeys. A `Signer` with its device key."""

    def __init__(self, inside: vodozemac.Account) -> None:
        """For this module; others use `create` and `unpickle`."""
        self._inside = inside
        self._fallback = cast("_FallbackKeys", inside)

    @classmethod
    def create(cls) -> Self:
        """A new device."""
        return cls(vodozemac.Account())

    def pickle(self) -> bytes:
        """Everything, for the encrypted database."""
        return self._inside.pickle(_PICKLE_KEY).encode()

    @classmethod
    def unpickle(cls, raw: bytes) -> Self:
        """Undo `pickle`. Raises ValueError: the bytes are none."""
        return cls(vodozemac.Account.from_pickle(raw.decode("ascii"), _PICKLE_KEY))

    @property
    def signing_key(self) -> DeviceKey:
        return DeviceKey(_unbase64(self._inside.ed25519_key.to_base64()))

    @property
    def dh_key(self) -> DeviceDhKey:
        return DeviceDhKey(self._inside.curve25519_key.to_bytes())

    @property
    def id(self) -> DeviceId:
        return device_id(self.signing_key, self.dh_key)

    def sign(self, label: Label, *parts: bytes) -> Signature:
        """Sign the transcript of these parts with the device key."""
        signature = self._inside.sign(transcript(label, *parts))
        return Signature(_unbase64(signature.to_base64()))

    # --- prekeys

    @property
    def unpublished(self) -> Unpublished:
        """What is to be uploaded, at the first attempt and at every other."""
        fallback = _new_keys(Kind.FALLBACK, self._fallback.fallback_key)
        return Unpublished(
            _new_keys(Kind.ONE_TIME, self._inside.one_time_keys), fallback[0] if fallback else None
        )

    def make_one_time_keys(self, count: int) -> None:
        """So many more that are `unpublished`; at most `ONE_TIME_KEYS` in all.

        Raises:
            ValueError: it would be more.
        """
        if not 0 <= count <= ONE_TIME_KEYS - len(self._inside.one_time_keys):
            raise ValueError("more one-time keys than a device publishes")
        self._inside.generate_one_time_keys(count)

    def may_make_fallback_key(self, *, drained: bool, age: int) -> bool:
        """Whether it is time for the next fallback key.

        The account keeps the secrets of two: the newest, and the one before for messages that are under
        way. A second generation while the first was never published would throw the published one away.

        Args:
            drained: everything that waited in the mailbox is committed.
            age: seconds since the last one was made.
        """
        return drained and age >= FALLBACK_LIFETIME and not self._fallback.fallback_key

    def make_fallback_key(self) -> None:
        """The next fallback key, `unpublished`; the one before the last is forgotten.

        Raises:
            RuntimeError: the last one was not published yet.
        """
        if self._fallback.fallback_key:
            raise RuntimeError("the last fallback key was not published yet")
        self._fallback.generate_fallback_key()

    def mark_published(self, keys: Unpublished) -> None:
        """The server has these.

        Raises:
            ValueError: others are unpublished now; the library marks all or none.
        """
        if keys != self.unpublished:
            raise ValueError("other keys than these are unpublished")
        self._inside.mark_keys_as_published()

    # --- sessions

    def open_session(self, to: Bundle) -> Session:
        """A session with the device of a checked bundle; its first messages are prekey messages.

        Raises:
            ValueError: the bundle has no session key.
        """
        if to.session is None:
            raise ValueError("a bundle without a session key opens no session")
        their_key = to.owner.device.dh_key
        inside = self._inside.create_outbound_session(
            vodozemac.Curve25519PublicKey.from_bytes(their_key),
            vodozemac.Curve25519PublicKey.from_bytes(to.session.key),
        )
        return Session(their_key, inside)

    def accept(
        self, message: PrekeyMessage, *, remembered: AbstractSet[SessionHash]
    ) -> tuple[Session, Decrypted]:
        """Open the session that a message opens, and the message. Its one-time key is gone then.

        A fallback key serves many times, so that a repeat of the first message would open the same session
        again, at its beginning.

        Args:
            remembered: of the inbound sessions that were opened since the fallback key before the present
                one was published, at least those with the hash of this message.

        Raises:
            EnvelopeError: REPLAYED, or RATCHET: the key is unknown, used up or another's, or the message was
                changed. The account is as it was.
        """
        if message.session in remembered:
            raise EnvelopeError(EnvelopeFault.REPLAYED)
        their_key = vodozemac.Curve25519PublicKey.from_bytes(message.identity_key)
        prekey = _for_library(message).to_pre_key()
        if prekey is None:
            raise EnvelopeError(EnvelopeFault.OLM_MESSAGE)
        try:
            inside, plaintext = self._inside.create_inbound_session(their_key, prekey)
        except ValueError:
            raise EnvelopeError(EnvelopeFault.RATCHET) from None
        session = Session(message.identity_key, inside)
        return session, Decrypted(plaintext, message.identity_key, session.hash)


def _for_library(message: OlmMessage) -> vodozemac.AnyOlmMessage:
    """Bytes that were read strictly before; the library agrees with what they are.

    Raises:
        EnvelopeError: OLM_MESSAGE: it does not.
    """
    try:
        return vodozemac.AnyOlmMessage.from_parts(message.TYPE.value, message.encoded)
    except ValueError:
        raise EnvelopeError(EnvelopeFault.OLM_MESSAGE) from None


def _new_keys(kind: Kind, keys: Mapping[str, vodozemac.Curve25519PublicKey]) -> tuple[NewKey, ...]:
    """The library counts keys of each kind from 0, and writes numbers big-endian in base64; we begin at 1."""
    numbered = {int.from_bytes(_unbase64(name), "big") + 1: key for name, key in keys.items()}
    return tuple(NewKey(kind, number, SessionKey(numbered[number].to_bytes())) for number in sorted(numbered))


def _unbase64(text: str) -> bytes:
    """The library's base64 has no padding."""
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
