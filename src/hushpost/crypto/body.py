"""The body of a message: its content, encrypted once for all devices of an account.

    SHA-256 over the label and the body key 32 | ChaCha20-Poly1305 of the padded content

The first part commits to the key: without it, one body could open to two contents under two keys, and be
one message to one device and another to the next. Normative text: docs/spec/envelope.md, section "Body".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from hushpost.crypto.faults import EnvelopeFault
from hushpost.crypto.identity.keys import Fingerprint
from hushpost.crypto.padding import pad, padded_size, unpad
from hushpost.crypto.primitives import (
    TAG_SIZE,
    Label,
    Secret,
    digest,
    equal,
    seal,
    sha256,
    transcript,
    unseal,
)
from hushpost.errors import EnvelopeError, Undecryptable
from hushpost.ids import MessageId

MAX_BODY = 256 * 1024 - 1_648
"""Bytes. What the server takes in one envelope, less the header."""

COMMITMENT_SIZE = 32

MAX_CONTENT = 63 * 4_096 - 1
"""Bytes: the largest that is padded to no more than fits into a body. More than that travels as a file."""

_NONCE = bytes(12)
"""A body key encrypts one body, so that its nonce may be always the same."""


class BodyKey(Secret):
    """32 random bytes, for one body."""

    __slots__ = ()


class BodyDigest(Fingerprint):
    """SHA-256 of a whole body: ties headers to it."""

    __slots__ = ()

    @classmethod
    def of(cls, body: bytes) -> Self:
        return cls(sha256(body))


@dataclass(frozen=True, slots=True)
class Body:
    """A body with what opens it.

    Attributes:
        encrypted: what the server gets.
    """

    message: MessageId
    key: BodyKey
    encrypted: bytes = field(repr=False)
    digest: BodyDigest

    @classmethod
    def of(cls, message: MessageId, content: bytes) -> Self:
        """Encrypt a content under a fresh key.

        Raises:
            ValueError: it has more than `MAX_CONTENT` bytes.
        """
        return cls.under(BodyKey.random(), message, content)

    @classmethod
    def under(cls, key: BodyKey, message: MessageId, content: bytes) -> Self:
        """The same with a given key, for vectors: a key serves once."""
        if len(content) > MAX_CONTENT:
            raise ValueError(f"a content of {len(content)} bytes is larger than {MAX_CONTENT}")
        encrypted = _commitment(key) + seal(key, _NONCE, pad(content), _about(message))
        return cls(message, key, encrypted, BodyDigest.of(encrypted))


def open_body(key: BodyKey, message: MessageId, encrypted: bytes) -> bytes:
    """The content.

    Raises:
        EnvelopeError: BODY_KEY, BODY or PADDING.
    """
    if not equal(encrypted[:COMMITMENT_SIZE], _commitment(key)):
        raise EnvelopeError(EnvelopeFault.BODY_KEY)
    try:
        padded = unseal(key, _NONCE, encrypted[COMMITMENT_SIZE:], _about(message))
    except Undecryptable:
        raise EnvelopeError(EnvelopeFault.BODY) from None
    try:
        return unpad(padded)
    except ValueError:
        raise EnvelopeError(EnvelopeFault.PADDING) from None


def encrypted_size(content_size: int) -> int:
    """Of the body that such a content gives."""
    return COMMITMENT_SIZE + padded_size(content_size) + TAG_SIZE


def _commitment(key: BodyKey) -> bytes:
    return digest(Label.BODY_KEY, key)


def _about(message: MessageId) -> bytes:
    return transcript(Label.BODY, message)
