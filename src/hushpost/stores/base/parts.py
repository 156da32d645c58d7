"""Files of version 3: blobs of sealed parts, which belong to nobody, and the tokens that open and close them.

What is in a part, and who has which token, says docs/spec/files.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from hushpost.ids import AccountId, BlobId, TokenHash
from hushpost.wire.limits import PART_SIZE

UNFINISHED_SECONDS = 86_400
"""How long a blob that is not committed stays after the last part that came."""

LEAST_CHARGE = 2**20
"""Bytes that a blob counts at least: a row, a file and its name are no less of a burden for being small."""


def parts_of(size: int) -> int:
    """How many parts a blob of so many bytes has; all but the last are full."""
    return -(-size // PART_SIZE)


class NewBlob(msgspec.Struct, frozen=True):
    """A blob to be.

    Attributes:
        size: bytes of all sealed parts, at most.
        read: of the token that it is read with.
        releases: of one token for each recipient.
    """

    id: BlobId
    size: int
    read: TokenHash
    releases: tuple[TokenHash, ...]


class BlobState(msgspec.Struct, frozen=True):
    """How far a blob is.

    Attributes:
        size: as announced; once committed, exactly.
        present: how many parts are there.
        digests: of those that were asked for, in order; None for one that is not there.
    """

    size: int
    present: int
    committed: bool
    digests: tuple[bytes | None, ...]


class StoredPart(msgspec.Struct, frozen=True):
    """A part of a committed blob: its place, its bytes and their digest."""

    blob: BlobId
    index: int
    size: int
    digest: bytes


class PartWriter(Protocol):
    """One part on its way in, piece by piece. To be ended with `finish` or `abandon`."""

    async def write(self, pieces: Iterable[memoryview]) -> None:
        """The next bytes. Another thread asks for one piece after the other, and may have to wait for it.

        Each may be reused when the next is asked for; all of them afterwards, also after a cancellation.

        Raises:
            BadDigest: it is longer than was announced.
            BlobConflict: another writer has taken over.
            UnknownBlob: the blob is gone.
            StoreFull: the disk is full.
        """

    async def finish(self) -> None:
        """The part is whole: make it count, durably.

        Raises:
            BadDigest: it is not what was announced, in size or in content.
            BlobConflict, UnknownBlob, StoreFull: as above.
        """

    async def abandon(self) -> None:
        """Nothing more will come. Harmless afterwards, and more than once."""


class Parts(Protocol):
    """Blobs of parts.

    F1  A blob is read when it is committed, with its read token, and not before. From then on it does not
        change. A wrong token and an unknown id are one answer, `UnknownBlob`; hashes are compared in constant
        time.
    F2  When `finish` returns, the part is durable and has the digest that was announced. Parts come in any
        order and over several connections. A part that is there is not written again: the same digest is
        harmless, another one is `BlobConflict`.
    F3  A part has one writer: a later one ends the earlier, whose calls then raise `BlobConflict`.
    F4  `commit` needs every part, all but the last of them full, and is durable. Again it is harmless.
    F5  When all release tokens were shown, the blob goes; so it does `StoreLimits.blob_seconds` to a day more
        after its commit, and, if it is not committed, a day after the last part. Only time in which the store
        was open counts (see `Upkeep`, U3). Its row goes before its content.
    F6  Nothing says whose a blob is. What an account may put is a sum for each day on which blobs go. A blob
        that is released before its commit is taken off the sum of who does so.
    F7  Full is an answer: `QuotaFull` and `StoreFull` change nothing. What was announced is kept free, beside
        `StoreLimits.blob_free_bytes`, so that no blob takes the last room from envelopes.
    F8  After a crash everything that was answered is there, and of everything else nothing but parts of blobs
        that are not committed. A blob whose content is gone, since a backup was restored, is gone.
    F9  No file stays open between two calls, and no call needs memory beyond the caller's buffers.
    """

    async def create(self, account: AccountId, blob: NewBlob) -> None:
        """Announce a blob. Again it is harmless, and with a larger size it makes room for more.

        Raises:
            BlobConflict: it has other tokens.
            QuotaFull, StoreFull, UnknownAccount.
        """

    async def begin_part(self, blob: BlobId, index: int, digest: bytes, size: int) -> PartWriter | None:
        """Begin to put a part; None if it is there already.

        Raises:
            UnknownBlob.
            BlobConflict: another one is there, or the blob is committed without it.
            BlobIncomplete: it does not fit into a blob of the announced size.
        """

    async def commit(self, account: AccountId, blob: BlobId, size: int) -> None:
        """Let it be read. What was announced beyond `size` counts no more.

        Raises:
            UnknownBlob.
            BlobIncomplete: parts are missing, or too short, or there are more.
            BlobConflict: it is committed with another size.
        """

    async def state(self, blob: BlobId, read: TokenHash, first: int, limit: int) -> BlobState:
        """How far it is, committed or not.

        Raises:
            UnknownBlob.
        """

    async def find_part(self, blob: BlobId, read: TokenHash, index: int) -> StoredPart:
        """A part of a committed blob.

        Raises:
            UnknownBlob: or not committed, or it has no such part.
        """

    async def read_part(self, part: StoredPart, offset: int, buffer: memoryview) -> int:
        """Fill the buffer with bytes of a part, as far as it goes; how many.

        Raises:
            UnknownBlob: it is gone by now.
        """

    async def release(self, account: AccountId, blob: BlobId, tokens: Sequence[TokenHash]) -> int:
        """Note who needs it no more; how many tokens were not shown yet. At 0 it is gone.

        Raises:
            UnknownBlob: or one of the tokens is not one of its.
        """
