"""Fixed-size identifiers: each kind is a type of its own, so that no two can be swapped.

They are `bytes` underneath: a struct packs them, a database stores them, and equality is that of bytes.
"""

from __future__ import annotations

import os
import struct
from typing import ClassVar, Self


class FixedBytes(bytes):
    """An immutable value of exactly `SIZE` bytes. Printed as lower-case hexadecimal.

    Raises:
        ValueError: any other length.
    """

    __slots__ = ()
    SIZE: ClassVar[int] = 16

    def __new__(cls, raw: bytes) -> Self:
        if len(raw) != cls.SIZE:
            raise ValueError(f"a {cls.__name__} has {cls.SIZE} bytes, not {len(raw)}")
        return super().__new__(cls, raw)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read hexadecimal of either case.

        Raises:
            ValueError: not hexadecimal, or another length.
        """
        return cls(bytes.fromhex(text))

    @classmethod
    def random(cls) -> Self:
        """A fresh one from the operating system's generator."""
        return cls(os.urandom(cls.SIZE))

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()})"


class AccountId(FixedBytes):
    """Whoever is registered: in the classic protocol, a client."""

    __slots__ = ()


class DeviceId(FixedBytes):
    """One device of an account: a digest of its two keys (docs/spec/keys.md)."""

    __slots__ = ()


class MessageId(FixedBytes):
    """What a message is called end to end; repeats are dropped by it. The server never sees it."""

    __slots__ = ()


class MailboxId(FixedBytes):
    """Where envelopes wait: a device of version 3, or a client of the classic protocol."""

    __slots__ = ()


class BlobId(FixedBytes):
    """A content kept beside the database because of its size."""

    __slots__ = ()


class TokenHash(FixedBytes):
    """SHA-256 of a secret token: all that a server keeps of an invitation or a delivery token."""

    __slots__ = ()
    SIZE: ClassVar[int] = 32


class EnvelopeId(FixedBytes):
    """What makes a send repeatable: 4 bytes of server time (seconds, big-endian), then 12 random.

    The time comes first so that the records of used ids sort by age.
    """

    __slots__ = ()

    @classmethod
    def at(cls, seconds: int) -> Self:
        """A fresh id carrying this server time (seconds since 1970), or the nearest that can be carried."""
        return cls(struct.pack(">I", min(max(0, seconds), 2**32 - 1)) + os.urandom(12))

    @property
    def seconds(self) -> int:
        """The server time that it carries."""
        return int.from_bytes(self[:4], "big")
