"""What a file is opened and recognised by: its key, nonces, digests, and the tokens of its blob.

Normative text: docs/spec/files.md, sections "Parts", "Digests" and "Capabilities".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Self

from blake3 import blake3

from hushpost.crypto.faults import FileFault
from hushpost.crypto.filelayout import NONCE_SIZE, FileLayout
from hushpost.crypto.identity.keys import Fingerprint
from hushpost.crypto.layout import u64
from hushpost.crypto.primitives import Buffer, Label, Secret, digest, equal, sha256
from hushpost.errors import FileError
from hushpost.ids import FixedBytes, TokenHash


class BlobToken(Secret):
    """32 random bytes: whoever shows them may do something with a blob. No account stands beside it."""

    __slots__ = ()

    @property
    def hash(self) -> TokenHash:
        """What the server keeps of it."""
        return TokenHash(sha256(self))


class ReadToken(BlobToken):
    """May read the blob. One for all recipients."""

    __slots__ = ()


class ReleaseToken(BlobToken):
    """Says that one recipient needs the blob no more. One for each of them."""

    __slots__ = ()


class FileKey(Secret):
    """32 random bytes, for one blob. A source that has changed is another file, with another key."""

    __slots__ = ()


class PartNonce(FixedBytes):
    """16 random bytes, for one attempt to encrypt one part."""

    __slots__ = ()
    SIZE: ClassVar[int] = NONCE_SIZE


class PartDigest(Fingerprint):
    """BLAKE3 of a whole sealed part, nonce and all."""

    __slots__ = ()

    @classmethod
    def of(cls, sealed: Buffer) -> Self:
        """Of one that is there as a whole."""
        return cls(blake3(sealed).digest())


class FileDigest(Fingerprint):
    """A file as it was sealed: of its true size and the digests of all its parts."""

    __slots__ = ()

    @classmethod
    def of(cls, size: int, parts: Iterable[PartDigest]) -> Self:
        """`size`: true bytes. `parts`: all of them, in order."""
        return cls(digest(Label.FILE_DIGEST, u64(size), b"".join(parts)))


class PartDigests(tuple[PartDigest, ...]):
    """The digests of a file's parts, as its `FileDigest` vouches for them. Make them with `read`."""

    __slots__ = ()

    @classmethod
    def read(cls, raw: bytes, layout: FileLayout, expected: FileDigest) -> Self:
        """Check a list: a server's, or what a reader has collected. 32 bytes for each part, in order.

        Raises:
            FileError: FILE_DIGEST.
        """
        size = PartDigest.SIZE
        if len(raw) != layout.count * size:
            raise FileError(FileFault.FILE_DIGEST)
        parts = cls(PartDigest(raw[at : at + size]) for at in range(0, len(raw), size))
        if not equal(FileDigest.of(layout.size, parts), expected):
            raise FileError(FileFault.FILE_DIGEST)
        return parts

    def confirm(self, index: int, found: PartDigest) -> None:
        """Check one part of the file.

        Raises:
            FileError: PART_DIGEST.
        """
        if not 0 <= index < len(self) or not equal(self[index], found):
            raise FileError(FileFault.PART_DIGEST)
