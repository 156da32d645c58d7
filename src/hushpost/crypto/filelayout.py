"""Where each byte of a file stands: padded size, parts, chunks. All of it follows from the true size.

    file = true bytes | zeros, up to the padded size
    part = nonce 16 | 1 to 63 chunks; every part but the last has 63
    chunk = 65,536 bytes, sealed 65,552

Normative text: docs/spec/files.md, section "Layout".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from hushpost.crypto.padding import padme
from hushpost.crypto.primitives import TAG_SIZE

NONCE_SIZE = 16
"""Bytes, fresh for every attempt to encrypt a part."""

CHUNK = 64 * 1024
"""Bytes of a file that are sealed together: as little as is released at once, and a tag costs 0.02 %."""

SEALED_CHUNK = CHUNK + TAG_SIZE

PART_CHUNKS = 63
"""So that a part and its frame's header stay below 4 MiB: what a torn connection loses at most."""

PART = PART_CHUNKS * CHUNK
"""Bytes of a file in every part but the last."""

SEALED_PART = NONCE_SIZE + PART_CHUNKS * SEALED_CHUNK

MAX_SIZE = 2**44
"""16 TiB, the largest file of ext4. The digests of its parts are 137 MB: more would need a tree of them."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a file.

    Attributes:
        index: counted from 0.
        chunks: 1 to 63.
        true: how many of its bytes are the file's own; the rest is padding.
        last: there is none behind it.
    """

    index: int
    chunks: int
    true: int
    last: bool

    @classmethod
    def inner(cls, index: int) -> Self:
        """One that is full and not the last, as long as nobody knows how long the file will be."""
        return cls(index, PART_CHUNKS, PART, last=False)

    @property
    def offset(self) -> int:
        """Where its first byte stands in the file."""
        return self.index * PART

    @property
    def sealed_size(self) -> int:
        """Bytes on the wire."""
        return NONCE_SIZE + self.chunks * SEALED_CHUNK

    def true_in(self, chunk: int) -> int:
        """How many bytes of a chunk are the file's own."""
        return min(max(self.true - chunk * CHUNK, 0), CHUNK)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a byte of a file is found: in which part, in which of its chunks, and how far in."""

    part: int
    chunk: int
    offset: int


@dataclass(frozen=True, slots=True)
class FileLayout:
    """The parts of a file of so many true bytes.

    Raises:
        ValueError: a size below 0 or above `MAX_SIZE`.
    """

    size: int

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE:
            raise ValueError(f"a file of {self.size} bytes; possible are 0 to {MAX_SIZE}")

    @property
    def chunks(self) -> int:
        """In all parts. An empty file has one, so that it looks like any other small one."""
        return -(-padme(max(self.size, 1)) // CHUNK)

    @property
    def padded_size(self) -> int:
        """Bytes with the padding: above 64 KiB, at most a 32nd and a chunk more."""
        return self.chunks * CHUNK

    @property
    def count(self) -> int:
        """How many parts there are: one at least."""
        return -(-self.chunks // PART_CHUNKS)

    @property
    def sealed_size(self) -> int:
        """Bytes of all parts on the wire."""
        return self.count * NONCE_SIZE + self.chunks * SEALED_CHUNK

    def part(self, index: int) -> Part:
        """One of them.

        Raises:
            IndexError: there is none of this number.
        """
        if not 0 <= index < self.count:
            raise IndexError("a file has no such part")
        chunks = min(self.chunks - index * PART_CHUNKS, PART_CHUNKS)
        true = min(max(self.size - index * PART, 0), PART)
        return Part(index, chunks, true, last=index == self.count - 1)

    def parts(self) -> Iterator[Part]:
        """All of them, in order."""
        return map(self.part, range(self.count))

    def place(self, offset: int) -> Place:
        """Where a byte of the file is found.

        Raises:
            IndexError: the file has no such byte.
        """
        if not 0 <= offset < self.size:
            raise IndexError("a file has no such byte")
        part, within = divmod(offset, PART)
        return Place(part, *divmod(within, CHUNK))
