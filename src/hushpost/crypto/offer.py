"""The offer of a file: all that a message says about it. Everything else stays at the server, sealed.

    version 1 | mode 1 | blob id 16 | file key 32 | true size 8 | parts 4 | digest 32 | read token 32
    | release token 32 | name: size 1, bytes | media type: size 1, bytes

Normative text: docs/spec/files.md, section "The offer".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import ClassVar, Self

from hushpost.crypto.filekeys import FileDigest, FileKey, ReadToken, ReleaseToken
from hushpost.crypto.filelayout import FileLayout
from hushpost.crypto.layout import Reader, u8, u32, u64
from hushpost.ids import BlobId

VERSION = 1

MAX_NAME = 255
"""Bytes of UTF-8: no file system that people use has longer names."""

MAX_MEDIA_TYPE = 255
"""Characters. RFC 6838 allows 127 before and after the slash."""

MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}", re.ASCII)
"""RFC 6838, section 4.2, in lower case and without parameters: one spelling of each."""


@unique
class Mode(IntEnum):
    """What the bytes of the file are."""

    FILE = 0
    FOLDER = 1
    """A tar stream of a folder of this name, to be unpacked."""


@dataclass(frozen=True, slots=True)
class FileOffer:
    """Kind 16. Here is a file, and this opens it.

    Attributes:
        size: true bytes.
        name: what it is called where it comes from. Hostile: see `hushpost.filenames`.
        media_type: what its writer says that it is, or empty. Never acted upon without asking.
    """

    KIND: ClassVar[int] = 16

    blob: BlobId
    key: FileKey
    size: int
    digest: FileDigest
    read: ReadToken
    release: ReleaseToken
    name: str = field(repr=False)
    media_type: str = field(default="", repr=False)
    mode: Mode = Mode.FILE

    @property
    def kind(self) -> int:
        return self.KIND

    @property
    def layout(self) -> FileLayout:
        return FileLayout(self.size)

    def encode(self) -> bytes:
        """Raises ValueError: a size or text that is too large."""
        name, media_type = self.name.encode(), self.media_type.encode()
        if max(len(name), len(media_type)) > MAX_NAME:
            raise ValueError("a name or media type of too many bytes")
        return b"".join((
            u8(VERSION), u8(self.mode), self.blob, self.key, u64(self.size), u32(self.layout.count),
            self.digest, self.read, self.release, u8(len(name)), name, u8(len(media_type)), media_type,
        ))  # fmt: skip

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read one. Raises ValueError: it is none."""
        reader = Reader(raw)
        reader.constant(VERSION)
        mode = Mode(reader.u8())
        blob = BlobId(reader.take(BlobId.SIZE))
        key = FileKey(reader.take(FileKey.SIZE))
        layout = FileLayout(reader.u64())
        if reader.u32() != layout.count:
            raise ValueError("another number of parts than the size gives")
        offer = cls(
            blob,
            key,
            layout.size,
            FileDigest(reader.take(FileDigest.SIZE)),
            ReadToken(reader.take(ReadToken.SIZE)),
            ReleaseToken(reader.take(ReleaseToken.SIZE)),
            reader.take(reader.u8()).decode(),
            reader.take(reader.u8()).decode(),
            mode,
        )
        reader.end()
        if not offer.name or (offer.media_type and not MEDIA_TYPE.fullmatch(offer.media_type)):
            raise ValueError("no name, or a media type that is none")
        return offer
