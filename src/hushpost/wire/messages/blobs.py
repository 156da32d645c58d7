"""Files, as the server sees them: blobs of sealed parts, which belong to nobody. See docs/spec/files.md.

Two messages *carry* data: their payload is a head, the MessagePack array of their fields, and behind it the
bytes of a part as they are, so that nobody has to keep them whole.

    payload = head size u16 | head | data
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from hushpost.wire import limits
from hushpost.wire.fields import (
    U32,
    BlobSize,
    Hash32,
    Hash32OrEmpty,
    Id16,
    Token32,
    distinct,
    exact_or_empty,
)
from hushpost.wire.messages.base import RequestMessage, ResponseMessage


class CreateBlob(RequestMessage, frozen=True):
    """Announce a blob: the server keeps room for it. Again with a larger size: more room.

    Attributes:
        blob: 16 random bytes. Until the commit, whoever knows them may put parts.
        size: bytes of all sealed parts, at most so many.
        read_hash: SHA-256 of the read token.
        release_hashes: SHA-256 of each recipient's release token, each once.
    """

    CODE: ClassVar[int] = 120
    blob: Id16
    size: BlobSize
    read_hash: Hash32
    release_hashes: Annotated[list[Hash32], Meta(min_length=1, max_length=limits.MAX_RELEASES)]

    def __post_init__(self) -> None:
        distinct(self.release_hashes)


class BlobCreated(ResponseMessage, frozen=True):
    """It may be filled, for a day after the last part that arrived. Durable."""

    CODE: ClassVar[int] = 1120


class PutPart(RequestMessage, frozen=True):
    """Put one part in its place; its bytes follow as data. The same part again changes nothing.

    Attributes:
        index: counted from 0.
        digest: BLAKE3 of the data.
    """

    CODE: ClassVar[int] = 121
    blob: Id16
    index: U32
    digest: Hash32


class PartPut(ResponseMessage, frozen=True):
    """The part is there, durably."""

    CODE: ClassVar[int] = 1121


class CommitBlob(RequestMessage, frozen=True):
    """All parts are there: from now on the blob can be read, and is not changed any more.

    Attributes:
        size: bytes of all sealed parts, exactly.
    """

    CODE: ClassVar[int] = 122
    blob: Id16
    size: BlobSize


class BlobCommitted(ResponseMessage, frozen=True):
    """It can be read, until it is released or expires. Durable."""

    CODE: ClassVar[int] = 1122


class GetBlobStatus(RequestMessage, frozen=True):
    """Which parts are there?

    Attributes:
        first: the part to begin with.
        limit: how many at most; the server may tell fewer.
    """

    CODE: ClassVar[int] = 123
    blob: Id16
    read_token: Token32
    first: U32
    limit: U32


class BlobStatus(ResponseMessage, frozen=True):
    """What the server has of a blob.

    Attributes:
        size: as announced; once committed, exactly.
        parts: how many parts a blob of this size has.
        present: how many of them are there.
        digests: of the parts from `first` on, in order; none for one that is not there.
    """

    CODE: ClassVar[int] = 1123
    size: BlobSize
    parts: U32
    present: U32
    committed: bool
    digests: Annotated[list[Hash32OrEmpty], Meta(max_length=limits.MAX_STATUS_PARTS)]

    def __post_init__(self) -> None:
        for digest in self.digests:
            exact_or_empty(digest, 32)


class GetPart(RequestMessage, frozen=True):
    """Read a part of a committed blob, or the rest of it.

    Attributes:
        index: counted from 0.
        offset: bytes of the part to leave out: those that the reader has.
    """

    CODE: ClassVar[int] = 124
    blob: Id16
    read_token: Token32
    index: U32
    offset: U32 = 0


class PartContent(ResponseMessage, frozen=True):
    """The part follows as data, from the offset to its end.

    Attributes:
        size: bytes of the whole part.
        digest: BLAKE3 of the whole part.
    """

    CODE: ClassVar[int] = 1124
    size: U32
    digest: Hash32


class ReleaseBlob(RequestMessage, frozen=True):
    """Whoever had these tokens needs the blob no more. When all were shown, it is deleted.

    Attributes:
        release_tokens: some of the blob's, each once. Shown again they change nothing.
    """

    CODE: ClassVar[int] = 125
    blob: Id16
    release_tokens: Annotated[list[Token32], Meta(min_length=1, max_length=limits.MAX_RELEASES)]

    def __post_init__(self) -> None:
        distinct(self.release_tokens)


class BlobReleased(ResponseMessage, frozen=True):
    """It is noted, durably.

    Attributes:
        waiting: how many release tokens were not shown yet; 0: it is gone.
    """

    CODE: ClassVar[int] = 1125
    waiting: U32
