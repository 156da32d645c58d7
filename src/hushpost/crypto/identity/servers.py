"""How a server proves itself to a device, and a device to a server.

The server's long-term identity key, which links pin, signs a statement about the key of its TLS certificate:
certificates are renewed and links live on. The device signs nonces together with the certificate that it saw:
whoever sits in between has shown another certificate, and the signature is worth nothing at the real server.
Normative text: docs/spec/auth.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Self

from hushpost.crypto.identity.keys import DeviceKey, Fingerprint
from hushpost.crypto.identity.links import Authority, ServerFingerprint, ServerPin
from hushpost.crypto.layout import Reader, u8, u64
from hushpost.crypto.primitives import (
    Label,
    Signature,
    Signer,
    SigningSecret,
    VerifyKey,
    digest,
    equal,
    leaf_key_digest,
    new_certificate,
    sha256,
    verify,
)
from hushpost.errors import ServerUntrusted
from hushpost.ids import AccountId, DeviceId

SUITE = 1

CLOCK_SKEW = 3_600
"""Seconds that a device's clock may differ: small machines start without the time."""


class ServerFault(StrEnum):
    """Why a server's statement is refused, as a sentence. docs/spec/auth.md has the checks in their order."""

    MALFORMED = "the server's statement is malformed"
    WRONG_SERVER = "this is not the server that the link named"
    BAD_SIGNATURE = "the server's statement is not signed by its identity key"
    WRONG_CERTIFICATE = "the server's statement is about another certificate"
    NOT_YET_VALID = "the server's statement is not valid yet, or the clock of this device is wrong"
    EXPIRED = "the server's statement has expired, or the clock of this device is wrong"
    OLD_SERIAL = "the server showed an older certificate than before"
    TWO_STATEMENTS = "the server made two statements under one number"


class ServerKey(VerifyKey):
    """Ed25519, long-term. Signs statements, and nothing else."""

    __slots__ = ()

    @property
    def fingerprint(self) -> ServerFingerprint:
        return ServerFingerprint(digest(Label.SERVER, self))


class ServerSecret(SigningSecret):
    """Made at a server's first start; whoever loses it needs new links."""

    __slots__ = ()

    @property
    def public(self) -> ServerKey:
        return ServerKey(self.public_bytes())


class LeafKeyDigest(Fingerprint):
    """SHA-256 of the SubjectPublicKeyInfo of a server's certificate."""

    __slots__ = ()

    @classmethod
    def of(cls, certificate: bytes) -> Self:
        """Of a DER certificate. Raises ValueError: it is none."""
        return cls(leaf_key_digest(certificate))


@dataclass(frozen=True, slots=True)
class LeafCertificate:
    """What the server shows in TLS, with its secret key: `certificate` is DER, `secret` PKCS #8 in PEM."""

    certificate: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def make(cls, not_before: int, not_after: int) -> Self:
        """A fresh one. Its names mean nothing: what counts is the statement about its key."""
        secret, certificate = new_certificate("hushpost", not_before, not_after)
        return cls(certificate, secret)


@dataclass(frozen=True, slots=True)
class ServerStatement:
    """suite u8 = 1 | server key 32 | leaf key 32 | serial u64 | not before u64 | not after u64 | signature 64

    153 bytes. Times are seconds since 1970; the serial grows by each statement.
    """

    SIZE: ClassVar[int] = 153

    server: ServerKey
    leaf_key: LeafKeyDigest
    serial: int
    not_before: int
    not_after: int
    signature: Signature

    @classmethod
    def by(
        cls, secret: ServerSecret, leaf_key: LeafKeyDigest, serial: int, not_before: int, not_after: int
    ) -> Self:
        """As the server makes it, at its start and whenever the certificate is renewed."""
        about = _statement_parts(leaf_key, serial, not_before, not_after)
        signature = secret.sign(Label.SERVER_STATEMENT, *about)
        return cls(secret.public, leaf_key, serial, not_before, not_after, signature)

    def is_signed(self) -> bool:
        about = _statement_parts(self.leaf_key, self.serial, self.not_before, self.not_after)
        return verify(self.server, self.signature, Label.SERVER_STATEMENT, *about)

    def encode(self) -> bytes:
        numbers = u64(self.serial) + u64(self.not_before) + u64(self.not_after)
        return u8(SUITE) + self.server + self.leaf_key + numbers + self.signature

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read one; it proves nothing before `verify_server`.

        Raises:
            ServerUntrusted: MALFORMED.
        """
        reader = Reader(raw)
        try:
            reader.constant(SUITE)
            server, leaf_key = ServerKey(reader.take(32)), LeafKeyDigest(reader.take(32))
            numbers = reader.u64(), reader.u64(), reader.u64()
            signature = Signature(reader.take(64))
            reader.end()
        except ValueError:
            raise ServerUntrusted(ServerFault.MALFORMED) from None
        return cls(server, leaf_key, *numbers, signature)


def _statement_parts(leaf_key: LeafKeyDigest, serial: int, not_before: int, not_after: int) -> list[bytes]:
    return [u8(SUITE), leaf_key, u64(serial), u64(not_before), u64(not_after)]


def verify_server(
    raw: bytes, *, pin: ServerPin, certificate: bytes, now: int, known: ServerStatement | None
) -> ServerStatement:
    """Check a server before anything is told to it.

    Args:
        raw: the statement that came with its hello.
        pin: what the link said; with `Authority.CA` the caller has checked the certificate as usual.
        certificate: the leaf certificate of this very TLS connection, DER.
        now: seconds since 1970.
        known: the last statement that was accepted from this server, or None at the first meeting.

    Returns:
        The statement, to be kept as known.

    Raises:
        ServerUntrusted: any of `ServerFault`.
    """
    statement = ServerStatement.decode(raw)
    for fault, failed in _checks(statement, pin, certificate, now, known):
        if failed:
            raise ServerUntrusted(fault)
    return statement


def _checks(
    new: ServerStatement, pin: ServerPin, certificate: bytes, now: int, known: ServerStatement | None
) -> list[tuple[ServerFault, bool]]:
    """Every check with whether it failed, in the order of docs/spec/auth.md."""
    pinned = isinstance(pin, Authority) or equal(new.server.fingerprint, pin)
    if known is not None:
        pinned &= equal(new.server, known.server)
    try:
        leaf_fits = equal(new.leaf_key, LeafKeyDigest.of(certificate))
    except ValueError:
        leaf_fits = False
    repeated = known is not None and new.serial == known.serial
    return [
        (ServerFault.WRONG_SERVER, not pinned),
        (ServerFault.BAD_SIGNATURE, not new.is_signed()),
        (ServerFault.WRONG_CERTIFICATE, not leaf_fits),
        (ServerFault.NOT_YET_VALID, now < new.not_before - CLOCK_SKEW),
        (ServerFault.EXPIRED, now > new.not_after + CLOCK_SKEW),
        # An old certificate whose key was stolen must not come back once a newer one was seen.
        (ServerFault.OLD_SERIAL, known is not None and new.serial < known.serial),
        (ServerFault.TWO_STATEMENTS, repeated and new != known),
    ]


class ServerNonce(Fingerprint):
    """32 random bytes of the server's hello, good for one login within 30 seconds."""

    __slots__ = ()


class ClientNonce(Fingerprint):
    """32 random bytes of the device's hello: no server can have a login signed that it prepared."""

    __slots__ = ()


class CertificateDigest(Fingerprint):
    """SHA-256 of a whole certificate, DER: Python's TLS offers no better binding to a connection."""

    __slots__ = ()

    @classmethod
    def of(cls, certificate: bytes) -> Self:
        return cls(sha256(certificate))


@dataclass(frozen=True, slots=True)
class Login:
    """Everything that one authentication is about. Both sides fill it in from what they know themselves."""

    server: ServerFingerprint
    certificate: CertificateDigest
    server_nonce: ServerNonce
    client_nonce: ClientNonce
    account: AccountId
    device: DeviceId
    version: int = 3

    def _parts(self) -> tuple[bytes, ...]:
        nonces = self.server_nonce, self.client_nonce
        return (self.server, self.certificate, *nonces, self.account, self.device, u8(self.version))

    def sign(self, device: Signer) -> Signature:
        """As the device does; `device` holds the secret of its `DeviceKey`."""
        return device.sign(Label.AUTHENTICATE, *self._parts())

    def is_signed(self, key: DeviceKey, signature: Signature) -> bool:
        """As the server asks; `key` comes from the account's manifest, never from the device."""
        return verify(key, signature, Label.AUTHENTICATE, *self._parts())
