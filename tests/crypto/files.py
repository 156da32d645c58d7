"""A sealed file with fixed keys and nonces, what can be done to it on the way, and somebody who reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from hushpost.crypto.faults import FileFault
from hushpost.crypto.filekeys import FileDigest, FileKey, PartDigest, PartDigests, PartNonce
from hushpost.crypto.filelayout import CHUNK, NONCE_SIZE, SEALED_CHUNK, FileLayout, Part
from hushpost.crypto.filestream import PartOpener, PartSealer
from hushpost.crypto.layout import u32, u64
from hushpost.crypto.primitives import ChunkCipher, Label, Secret, derive, sha256
from hushpost.errors import FileError
from hushpost.ids import BlobId

KEY, BLOB = FileKey(bytes(range(32))), BlobId(bytes(range(100, 116)))
Edit = Sequence[str | int]
Cutter = Callable[[memoryview], Iterable[memoryview]]


@lru_cache(maxsize=4)
def source(size: int) -> bytes:
    """Bytes that repeat nowhere: SHA-256 of u64(0), of u64(1), and so on, joined and cut."""
    return b"".join(sha256(u64(block)) for block in range(-(-size // 32)))[:size]


def nonce(part: int, attempt: int = 1) -> PartNonce:
    return PartNonce(bytes([part]) * 15 + bytes([attempt]))


def part_key(part: int, attempt: int = 1) -> Secret:
    return Secret(derive(Label.FILE_PART, KEY, BLOB, u32(part), salt=nonce(part, attempt)))


def sealed(part: Part, size: int, attempt: int = 1) -> bytes:
    into = bytearray(part.sealed_size)
    plain = source(size)[part.offset : part.offset + part.true]
    PartSealer(KEY, BLOB).seal(part, [plain], into, nonce(part.index, attempt))
    return bytes(into)


@lru_cache(maxsize=8)
def sealed_parts(size: int) -> tuple[bytes, ...]:
    return tuple(sealed(part, size) for part in FileLayout(size).parts())


def digests(size: int) -> tuple[PartDigest, ...]:
    return tuple(PartDigest.of(part) for part in sealed_parts(size))


def chunk(number: int) -> slice:
    """Where a chunk stands in its part."""
    begin = NONCE_SIZE + number * SEALED_CHUNK
    return slice(begin, begin + SEALED_CHUNK)


@dataclass
class Stored:
    """What a server has of a file, and what may become of it. Each method is an edit of the vectors."""

    size: int
    parts: list[bytes]

    @classmethod
    def of(cls, size: int, edits: Iterable[Edit] = ()) -> Stored:
        stored = cls(size, list(sealed_parts(size)))
        for name, *arguments in edits:
            getattr(stored, str(name))(*arguments)
        return stored

    def cut(self, part: int, at: int) -> None:
        """Only the first bytes are there."""
        self.parts[part] = self.parts[part][:at]

    def append(self, part: int, count: int) -> None:
        """So many zeros more."""
        self.parts[part] += bytes(count)

    def flip(self, part: int, at: int) -> None:
        """The lowest bit of one byte."""
        raw = self.parts[part]
        self.parts[part] = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]

    def put(self, part: int, at: int, from_part: int, from_chunk: int) -> None:
        """A chunk from elsewhere over a chunk."""
        raw = self.parts[part]
        self.parts[part] = (
            raw[: chunk(at).start] + self.parts[from_part][chunk(from_chunk)] + raw[chunk(at).stop :]
        )

    def swap(self, part: int, one: int, other: int) -> None:
        """Two chunks of a part."""
        before = self.parts[part]
        self.put(part, one, part, other)
        raw = self.parts[part]
        self.parts[part] = raw[: chunk(other).start] + before[chunk(one)] + raw[chunk(other).stop :]

    def double(self, part: int, at: int) -> None:
        """A chunk again behind itself."""
        raw, end = self.parts[part], chunk(at).stop
        self.parts[part] = raw[:end] + raw[chunk(at)] + raw[end:]

    def drop(self, part: int, at: int) -> None:
        """A chunk is gone."""
        raw = self.parts[part]
        self.parts[part] = raw[: chunk(at).start] + raw[chunk(at).stop :]

    def swap_parts(self, one: int, other: int) -> None:
        self.parts[one], self.parts[other] = self.parts[other], self.parts[one]

    def copy_part(self, part: int, source: int) -> None:
        self.parts[part] = self.parts[source]

    def again(self, part: int) -> None:
        """The part as another attempt sealed it, under the nonce that ends with 2."""
        self.parts[part] = sealed(FileLayout(self.size).part(part), self.size, attempt=2)

    def reseal(self, part: int, at: int, last: int, offset: int, byte: int) -> None:
        """A chunk sealed with the part's key and this last flag, one byte of the plaintext being `byte`."""
        begin = FileLayout(self.size).part(part).offset + at * CHUNK
        plain = bytearray(source(self.size)[begin : begin + CHUNK].ljust(CHUNK, b"\0"))
        plain[offset] = byte
        into = bytearray(SEALED_CHUNK)
        ChunkCipher(part_key(part)).seal(at.to_bytes(11, "little") + bytes([last]), plain, into)
        raw = self.parts[part]
        self.parts[part] = raw[: chunk(at).start] + into + raw[chunk(at).stop :]


def whole(data: memoryview) -> Iterator[memoryview]:
    yield data


@dataclass
class Read:
    """What somebody got out of a file: a hash of what was released, and the check that ended it."""

    fault: str | None = None
    released: int = 0
    hash: str = ""
    at: int | None = None


@dataclass
class Reader:
    """Reads a file part by part, in order, and writes down what is released.

    Attributes:
        expected: the digest that the offer names.
        told: the server's list of part digests, or nothing.
    """

    size: int
    expected: FileDigest
    told: bytes | None = None
    key: FileKey = KEY
    blob: BlobId = BLOB
    released: bytearray = field(default_factory=bytearray)

    def read(self, parts: Sequence[bytes], cutter: Cutter = whole) -> Read:
        got = Read()
        try:
            self._read(parts, cutter, got)
        except FileError as error:
            got.fault = FileFault(error.reason).name
        got.released, got.hash = len(self.released), hashlib.sha256(self.released).hexdigest()
        return got

    def _read(self, parts: Sequence[bytes], cutter: Cutter, got: Read) -> None:
        layout, collected = FileLayout(self.size), list[PartDigest]()
        if self.told is not None:
            PartDigests.read(self.told, layout, self.expected)
        for part in layout.parts():
            got.at = part.index
            opener = PartOpener(self.key, self.blob, part)
            for piece in cutter(memoryview(parts[part.index] if part.index < len(parts) else b"")):
                for true in opener.feed(piece):
                    self.released += true
            collected.append(opener.finish())
            if self.told is not None:
                PartDigests.read(self.told, layout, self.expected).confirm(part.index, collected[-1])
        got.at = None
        PartDigests.read(b"".join(collected), layout, self.expected)
