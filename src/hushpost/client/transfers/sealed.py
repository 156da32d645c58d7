"""Parts as they are sent: sealed from a source now, or kept sealed since a pipe was read."""

from __future__ import annotations

import os
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple, Protocol

from hushpost.client.store import Attempt, StoreThread
from hushpost.client.transfers.sources import Source, SourceChanged, pieces_of, read_fully
from hushpost.crypto.filekeys import PartDigest
from hushpost.crypto.filelayout import Part
from hushpost.crypto.filestream import STEP, PartSealer


class Sealed(NamedTuple):
    """A part's digest, and when it is in the database: not before that may the part be sent."""

    digest: PartDigest
    kept: Future[None]


class PartSource(Protocol):
    """Where sealed parts come from. Everything here blocks, and is called by several threads at once."""

    def sealed(self, part: Part, into: memoryview) -> Sealed:
        """A part.

        Args:
            into: its `sealed_size` bytes are written over.

        Raises:
            SourceChanged: the source is not what it was.
        """

    def check(self) -> None:
        """Raises:
        SourceChanged: it is in another state by now.
        """


class Records:
    """The digests of what we have sealed of one attempt, in the database; for threads."""

    def __init__(self, db: StoreThread, attempt: Attempt) -> None:
        self._db = db
        self._blob = attempt.blob

    def keep(self, number: int, digest: PartDigest) -> Future[None]:
        """We made this part; durable when it is done."""
        return self._db.change_soon(lambda t: t.uploads.sealed(self._blob, number, digest))

    def of(self, number: int) -> set[bytes]:
        """The digests that we made of a part."""
        found = self._db.read_soon(lambda t: t.uploads.parts(self._blob, number, 1)).result()
        return found.get(number, set())


class FreshParts:
    """Sealed now, each time under a new nonce."""

    def __init__(self, source: Source, attempt: Attempt, records: Records) -> None:
        self._source = source
        self._sealer = PartSealer(attempt.key, attempt.blob)
        self._records = records
        self._buffers: list[memoryview] = []

    def sealed(self, part: Part, into: memoryview) -> Sealed:
        try:
            buffer = self._buffers.pop()
        except IndexError:
            buffer = memoryview(bytearray(STEP))
        digest = self._sealer.seal(part, pieces_of(part, self._source.read_into, buffer), into)
        self._buffers.append(buffer)
        return Sealed(digest, self._records.keep(part.index, digest))

    def check(self) -> None:
        self._source.check()


class SpooledParts:
    """Sealed when a pipe was read, and kept in a folder until the server has them.

    Only the very bytes that were recorded count: a crash may have left anything.
    """

    def __init__(self, folder: Path, records: Records) -> None:
        self._folder = folder
        self._records = records

    def sealed(self, part: Part, into: memoryview) -> Sealed:
        """Raises SourceChanged: it is not there, or damaged, and nobody can make it again."""
        try:
            handle = os.open(self._folder / str(part.index), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            raise SourceChanged from None
        try:
            read_fully(handle, 0, into)
        finally:
            os.close(handle)
        digest = PartDigest.of(into)
        if digest not in self._records.of(part.index):
            raise SourceChanged
        kept: Future[None] = Future()
        kept.set_result(None)
        return Sealed(digest, kept)

    def check(self) -> None:
        """A pipe cannot change behind our back: it was read once."""
