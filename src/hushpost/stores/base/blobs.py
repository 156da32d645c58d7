"""Contents beside the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from hushpost.ids import BlobId


class Blobs(Protocol):
    """Contents beside the database.

    B1  A blob can be read only when it is finished; `finish` returns when it is durable whole.
    B2  Nothing of a discarded blob stays behind, on disk neither.
    B3  No file stays open between two calls, and no call needs memory beyond the caller's buffer.
    B4  After a crash, `unfinished` blobs are gone with the next `sweep`, and so are those that
        nothing refers to.
    """

    async def create(self, blob: BlobId, size: int = 0) -> None:
        """Begin an empty blob that will have about `size` bytes; the space is kept free for it.

        Raises:
            StoreFull: too little space is left, beside what was promised to others.
        """

    async def write(self, blob: BlobId, offset: int, data: memoryview) -> None:
        """Put bytes at an offset. Durable only with `finish`. `data` may be reused afterwards, also
        after a cancellation.

        Raises:
            StoreFull: the disk is full.
            BlobMissing: it was not begun, is finished, or was discarded.
            StoreFailed: the disk refuses it.
        """

    async def finish(self, blob: BlobId, size: int) -> None:
        """Make it durable and readable.

        Raises:
            BlobMissing: it does not have this size.
        """

    async def read_into(self, blob: BlobId, offset: int, buffer: memoryview) -> int:
        """Fill the buffer as far as the blob goes; the number of bytes that were read.

        Raises:
            BlobMissing: no finished blob of this id.
        """

    async def discard(self, blobs: Iterable[BlobId]) -> None:
        """Remove them, finished or not; unknown ones are harmless."""

    async def sweep(self, referenced: set[BlobId]) -> int:
        """Before serving: remove everything unfinished or not referenced; how many were removed."""
