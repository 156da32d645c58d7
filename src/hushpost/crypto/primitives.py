"""The borrowed parts, each behind one function that asks for a purpose.

The only module of `crypto` that imports `cryptography`, and the only source of randomness. Every hash, key
derivation and signature names a `Label`, and its parts are length-prefixed, so that bytes made for one
purpose mean nothing for another. Normative text: docs/spec/keys.md, section "Notation".
"""

from __future__ import annotations

import hashlib
import hmac
import os
from datetime import UTC, datetime
from enum import Enum, unique
from functools import lru_cache
from typing import ClassVar, Protocol, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, hpke, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import NameOID

from hushpost.errors import Undecryptable
from hushpost.ids import FixedBytes

Buffer = bytes | bytearray | memoryview

TAG_SIZE = 16
"""Bytes that every sealed text is longer than its plaintext."""


@unique
class Label(Enum):
    """What bytes were hashed, derived or signed for. A label is never used for two things."""

    ACCOUNT = b"hushpost/account/1"
    AUTHENTICATE = b"hushpost/authenticate/1"
    BODY = b"hushpost/body/1"
    BODY_KEY = b"hushpost/body-key/1"
    CONSENT = b"hushpost/consent/1"
    DEVICE = b"hushpost/device/1"
    FILE_DIGEST = b"hushpost/file-digest/1"
    FILE_PART = b"hushpost/file-part/1"
    HEADER = b"hushpost/header/1"
    MANIFEST = b"hushpost/manifest/1"
    MANIFEST_HASH = b"hushpost/manifest-hash/1"
    PREKEY = b"hushpost/prekey/1"
    RECOVERY_CHECK = b"hushpost/recovery-check/1"
    RECOVERY_KEY = b"hushpost/recovery-key/1"
    SERVER = b"hushpost/server/1"
    SERVER_STATEMENT = b"hushpost/server-statement/1"
    SESSION = b"hushpost/session/1"
    VAULT = b"hushpost/vault/1"


def transcript(label: Label, *parts: bytes) -> bytes:
    """What is hashed or signed: the label, then the parts, each behind its u32 length.

    Without lengths, two lists of parts could give the same bytes, and a signature on one would fit the other.
    """
    return b"".join(len(part).to_bytes(4, "little") + part for part in (label.value, *parts))


def random_bytes(count: int) -> bytes:
    """From the operating system's generator."""
    return os.urandom(count)


def equal(one: bytes, other: bytes) -> bool:
    """Compare without telling by the time taken how much of it fits."""
    return hmac.compare_digest(one, other)


def sha256(data: bytes) -> bytes:
    """The plain hash, for contents that are too large to be copied behind a label. 32 bytes."""
    return hashlib.sha256(data).digest()


def digest(label: Label, *parts: bytes) -> bytes:
    """SHA-256 over the transcript. 32 bytes."""
    return hashlib.sha256(transcript(label, *parts)).digest()


def derive(label: Label, secret: bytes, *context: bytes, salt: bytes = b"", size: int = 32) -> bytes:
    """HKDF-SHA256 (RFC 5869) with the transcript as `info`. `size` bytes."""
    return HKDF(hashes.SHA256(), size, salt or None, transcript(label, *context)).derive(secret)


# --- keys and secrets


class Secret(FixedBytes):
    """A value that nothing prints and that is compared in constant time."""

    __slots__ = ()
    SIZE: ClassVar[int] = 32

    def __repr__(self) -> str:
        return f"{type(self).__name__}(redacted)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, bytes) and equal(self, other)

    __hash__ = bytes.__hash__

    @classmethod
    def random(cls) -> Self:
        return cls(random_bytes(cls.SIZE))


class PublicKey(FixedBytes):
    """Not secret, and yet not printed: keys are looked up by id, and logs are to name nobody.

    Raises:
        ValueError: the bytes are no key that anybody honest would have (see each kind).
    """

    __slots__ = ()
    SIZE: ClassVar[int] = 32

    def __new__(cls, raw: bytes) -> Self:
        key = super().__new__(cls, raw)
        if not cls.usable(key):
            raise ValueError(f"these bytes are not a usable {cls.__name__}")
        return key

    @staticmethod
    def usable(raw: bytes) -> bool:
        """Whether this is an encoding that we accept."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}(redacted)"

    __str__ = __repr__


P = 2**255 - 19
"""The field of both curves."""

_ORDER_8_U = 325606250916557431795983626356110631294008115727848805560023387167927233504
_OTHER_ORDER_8_U = 39382357235489614581723060781553021112529911719440698176882885853963445705823
LOW_ORDER_X25519 = frozenset({0, 1, P - 1, _ORDER_8_U, _OTHER_ORDER_8_U})
"""With these, a shared secret is zero whatever the other key is: whoever sent one could be anybody."""

_ORDER_8_Y = 2707385501144840649318225287225658788936804267575313519463743609750303402022
LOW_ORDER_ED25519 = frozenset({0, 1, P - 1, _ORDER_8_Y, P - _ORDER_8_Y})
"""With these, one signature fits every message."""


class VerifyKey(PublicKey):
    """Ed25519 (RFC 8032): 32 bytes, canonical, and not of low order."""

    __slots__ = ()

    @staticmethod
    def usable(raw: bytes) -> bool:
        y = int.from_bytes(raw, "little") & (2**255 - 1)
        return y < P and y not in LOW_ORDER_ED25519


class DhKey(PublicKey):
    """X25519 (RFC 7748): 32 bytes, canonical, and not of low order.

    The curve ignores bit 255 and reduces the rest, so that each key has other spellings that work as well;
    they would give one key several ids and signatures. The libraries below us accept them.
    """

    __slots__ = ()

    @staticmethod
    def usable(raw: bytes) -> bool:
        u = int.from_bytes(raw, "little")
        return u < P and u not in LOW_ORDER_X25519


# --- signatures


class Signature(FixedBytes):
    """Ed25519: 64 bytes."""

    __slots__ = ()
    SIZE: ClassVar[int] = 64


class Signer(Protocol):
    """Whoever has an Ed25519 key to sign with: a `SigningSecret`, or the ratchet's device account."""

    def sign(self, label: Label, *parts: bytes) -> Signature: ...


class SigningSecret(Secret):
    """An Ed25519 seed: 32 bytes."""

    __slots__ = ()

    def sign(self, label: Label, *parts: bytes) -> Signature:
        """Sign the transcript of these parts."""
        key = ed25519.Ed25519PrivateKey.from_private_bytes(self)
        return Signature(key.sign(transcript(label, *parts)))

    def public_bytes(self) -> bytes:
        """The 32 bytes of the public key, which each kind of secret gives its own type."""
        return ed25519.Ed25519PrivateKey.from_private_bytes(self).public_key().public_bytes_raw()


def verify(key: VerifyKey, signature: Signature, label: Label, *parts: bytes) -> bool:
    """Whether this key signed these parts for this purpose."""
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(key).verify(signature, transcript(label, *parts))
    except (InvalidSignature, ValueError):
        return False
    return True


# --- one key, one text


def seal(key: Secret, nonce: bytes, plaintext: bytes, ad: bytes) -> bytes:
    """ChaCha20-Poly1305 (RFC 8439). A pair of key (32 bytes) and nonce (12 bytes) serves once."""
    return ChaCha20Poly1305(key).encrypt(nonce, plaintext, ad)


def unseal(key: Secret, nonce: bytes, sealed: bytes, ad: bytes) -> bytes:
    """Undo `seal`.

    Raises:
        Undecryptable: other key, nonce or associated data, or changed bytes.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, ad)
    except InvalidTag:
        raise Undecryptable("the sealed text does not open") from None


class ChunkCipher:
    """AES-256-GCM (NIST SP 800-38D) between buffers, for the many chunks of a part, without associated data.

    A pair of key (32 bytes) and nonce (12 bytes) serves once. Why not the cipher of `seal`: docs/adr/0013.
    """

    def __init__(self, key: Secret) -> None:
        self._aead = AESGCM(key)

    def seal(self, nonce: bytes, plaintext: Buffer, into: Buffer) -> None:
        """`into` has exactly the plaintext's size and `TAG_SIZE` more."""
        self._aead.encrypt_into(nonce, plaintext, None, into)

    def unseal(self, nonce: bytes, sealed: Buffer, into: Buffer) -> None:
        """Undo `seal`. Where it raises, `into` holds bytes that nobody vouches for.

        Raises:
            Undecryptable: other key or nonce, or changed bytes.
        """
        try:
            self._aead.decrypt_into(nonce, sealed, None, into)
        except InvalidTag:
            raise Undecryptable("the sealed text does not open") from None


# --- HPKE (RFC 9180) in base mode with X-Wing: ML-KEM-768 and X25519 together

_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
_MLKEM_PUBLIC_SIZE, _MLKEM_SEED_SIZE, _MLKEM_CIPHERTEXT_SIZE = 1184, 64, 1088
HPKE_OVERHEAD = _MLKEM_CIPHERTEXT_SIZE + 32 + TAG_SIZE
"""1,136 bytes: what an HPKE ciphertext is longer than its plaintext."""


@lru_cache(maxsize=256)  # expanding the ML-KEM matrix costs a fifth of a whole seal; contacts repeat
def _xwing_public(raw: bytes) -> hpke.MLKEM768X25519PublicKey:
    return hpke.MLKEM768X25519PublicKey(
        mlkem.MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC_SIZE]),
        x25519.X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC_SIZE:]),
    )


class SealKey(PublicKey):
    """X-Wing: ML-KEM-768 key (1184, coefficients reduced) | X25519 key (32, as a `DhKey`). 1,216 bytes."""

    __slots__ = ()
    SIZE: ClassVar[int] = _MLKEM_PUBLIC_SIZE + 32

    @staticmethod
    def usable(raw: bytes) -> bool:
        if not DhKey.usable(raw[_MLKEM_PUBLIC_SIZE:]):
            return False
        try:
            _xwing_public(bytes(raw))
        except ValueError:
            return False
        return True

    def seal(self, info: bytes, plaintext: bytes) -> bytes:
        """HPKE single shot: encapsulated key (1120) | ciphertext | tag (16)."""
        return _SUITE.encrypt(plaintext, _xwing_public(bytes(self)), info=info)


class SealSecret(Secret):
    """ML-KEM seed (64) | X25519 key (32): 96 bytes. The library's own object cannot be exported."""

    __slots__ = ()
    SIZE: ClassVar[int] = _MLKEM_SEED_SIZE + 32

    def halves(self) -> tuple[mlkem.MLKEM768PrivateKey, x25519.X25519PrivateKey]:
        return (
            mlkem.MLKEM768PrivateKey.from_seed_bytes(self[:_MLKEM_SEED_SIZE]),
            x25519.X25519PrivateKey.from_private_bytes(self[_MLKEM_SEED_SIZE:]),
        )

    @property
    def public(self) -> SealKey:
        post_quantum, classical = self.halves()
        return SealKey(
            post_quantum.public_key().public_bytes_raw() + classical.public_key().public_bytes_raw()
        )


class SealOpener:
    """A `SealSecret` made ready: expanding it costs as much as opening, so it is done once."""

    def __init__(self, secret: SealSecret) -> None:
        self._key = hpke.MLKEM768X25519PrivateKey(*secret.halves())

    def open(self, info: bytes, sealed: bytes) -> bytes:
        """Undo `SealKey.seal`.

        Raises:
            Undecryptable: other key or `info`, changed bytes, or a sender's X25519 key that is not canonical.
        """
        if not DhKey.usable(sealed[_MLKEM_CIPHERTEXT_SIZE:][:32]) or len(sealed) < HPKE_OVERHEAD:
            raise Undecryptable("the sealed text does not open")
        try:
            return _SUITE.decrypt(sealed, self._key, info=info)
        except (InvalidTag, ValueError):
            raise Undecryptable("the sealed text does not open") from None


# --- passphrases and certificates


class WrapKey(Secret):
    """What a passphrase turns into."""

    __slots__ = ()


ARGON2_ITERATIONS, ARGON2_LANES, ARGON2_MEMORY_KIB = 3, 4, 64 * 1024
"""RFC 9106, section 4, second choice: a Raspberry Pi can spare 64 MiB, and no 2 GiB."""


def stretch(passphrase: bytes, salt: bytes, *, memory_kib: int = ARGON2_MEMORY_KIB) -> WrapKey:
    """Argon2id (RFC 9106). `salt`: 16 random bytes, kept beside what is wrapped."""
    kdf = Argon2id(
        salt=salt, length=32, iterations=ARGON2_ITERATIONS, lanes=ARGON2_LANES, memory_cost=memory_kib
    )
    return WrapKey(kdf.derive(passphrase))


def leaf_key_digest(certificate: bytes) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo in a DER certificate: what a server's identity key vouches for.

    Raises:
        ValueError: not a certificate, or of a kind of key that we do not know.
    """
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None
    return sha256(
        key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def new_certificate(name: str, not_before: int, not_after: int) -> tuple[bytes, bytes]:
    """A fresh P-256 key and a certificate that it signs itself: PKCS #8 in PEM, and DER.

    P-256, since every TLS library has it and OpenSSL signs with it faster than with Ed25519. Times are
    seconds since 1970.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(not_before, UTC))
        .not_valid_after(datetime.fromtimestamp(not_after, UTC))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret, certificate.public_bytes(serialization.Encoding.DER)
