"""HPKE in base mode with X-Wing, written down once more from RFC 9180 and X-Wing's definition.

It checks that the library's suite is the one that the specification names, and it makes what no honest sender
makes: encapsulated keys whose X25519 half is another spelling, or of low order, and which open all the same
unless they are refused.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from hushpost.crypto.primitives import SealKey

SUITE = b"HPKE" + bytes.fromhex("647a 0001 0003")
"""X-Wing, HKDF-SHA256, ChaCha20-Poly1305."""

XWING_LABEL = b"\\.//^\\"
LOW_ORDER = bytes(32)


def honest(to: SealKey, info: bytes, plaintext: bytes) -> bytes:
    half, shared = _x25519(to)
    return _seal(to, info, plaintext, half, shared)


def with_bit_255(to: SealKey, info: bytes, plaintext: bytes) -> bytes:
    """The X25519 half has its highest bit set: the curve ignores it, the secret is made of what is sent."""
    half, shared = _x25519(to)
    return _seal(to, info, plaintext, half[:31] + bytes([half[31] | 0x80]), shared)


def of_low_order(to: SealKey, info: bytes, plaintext: bytes) -> bytes:
    """The X25519 half is 0, so that half of the secret is 0, too, whoever the recipient is."""
    return _seal(to, info, plaintext, LOW_ORDER, bytes(32))


def _x25519(to: SealKey) -> tuple[bytes, bytes]:
    fresh = x25519.X25519PrivateKey.generate()
    shared = fresh.exchange(x25519.X25519PublicKey.from_public_bytes(to[1_184:]))
    return fresh.public_key().public_bytes_raw(), shared


def _seal(to: SealKey, info: bytes, plaintext: bytes, half: bytes, shared: bytes) -> bytes:
    post_quantum, ciphertext = mlkem.MLKEM768PublicKey.from_public_bytes(to[:1_184]).encapsulate()
    secret = hashlib.sha3_256(post_quantum + shared + half + to[1_184:] + XWING_LABEL).digest()
    key, nonce = _schedule(secret, info)
    return ciphertext + half + ChaCha20Poly1305(key).encrypt(nonce, plaintext, b"")


def _schedule(secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    """RFC 9180, section 5.1, without a pre-shared key."""
    context = b"\0" + _extract(b"", b"psk_id_hash", b"") + _extract(b"", b"info_hash", info)
    start = _extract(secret, b"secret", b"")
    return _expand(start, b"key", context, 32), _expand(start, b"base_nonce", context, 12)


def _extract(salt: bytes, label: bytes, keying: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + SUITE + label + keying, "sha256")


def _expand(secret: bytes, label: bytes, info: bytes, size: int) -> bytes:
    labelled = size.to_bytes(2, "big") + b"HPKE-v1" + SUITE + label + info
    return hmac.digest(secret, labelled + b"\1", "sha256")[:size]
