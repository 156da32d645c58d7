"""The content of blobs of parts: one file each, `<2 hex>/<hex id>`, with every part in a slot of its own.

What of it counts is in the database, as far as parts were synced before their rows. See docs/adr/0007
and 0010.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from blake3 import blake3

from hushpost import directio
from hushpost.errors import StoreFailed
from hushpost.ids import BlobId
from hushpost.stores.base import StoredPart, parts_of
from hushpost.stores.disk import DiskThreads, opened, sync_folder
from hushpost.stores.room import disk_room
from hushpost.wire.limits import PART_SIZE

WRITERS = 2
"""Threads that write and read: one for each of two cores, beside the event loop."""

SYNCERS = 2
"""Syncs at once. They keep the disk busy, while an envelope's commit has at most two parts before it."""

SLOT = 4 << 20
"""Bytes from one part's place to the next one's: a part, and a gap that takes no room. Whole blocks."""

_NAME = re.compile(r"[0-9a-f]{32}")


def extent(size: int) -> int:
    """Bytes of the file of a blob that has so many, all of them in their slots."""
    return (parts_of(size) - 1) * (SLOT - PART_SIZE) + size if size else 0


class PartDigester:
    """BLAKE3 of a part, as it is written."""

    __slots__ = ("_hash", "size")

    def __init__(self) -> None:
        self._hash = blake3()
        self.size = 0

    def update(self, piece: memoryview) -> None:
        """The next bytes."""
        self._hash.update(piece)
        self.size += len(piece)

    def digest(self) -> bytes:
        """Of everything so far."""
        return self._hash.digest()


class _Sync:
    """The syncs of one file: whoever waits for a running one shares the next."""

    __slots__ = ("done", "lock", "users")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.done = 0
        self.users = 0


class PartFiles:
    """A folder of a local file system. Used by one event loop; `close` ends it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._working = DiskThreads(WRITERS, "hush-parts")
        self._syncing = DiskThreads(SYNCERS, "hush-syncs")
        self._tickets = itertools.count(1)
        self._last_ticket = 0
        self._syncs: dict[BlobId, _Sync] = {}
        self._failure: StoreFailed | None = None

    async def create(self, blob: BlobId) -> None:
        """An empty file, whose name is durable. Harmless if there is one."""

        def run() -> None:
            path = self._path(blob)
            for folder in (self._folder, path.parent):
                if not folder.is_dir():
                    folder.mkdir(mode=0o700, exist_ok=True)
                    sync_folder(folder.parent)
            with opened(path, os.O_WRONLY | os.O_CREAT):
                sync_folder(path.parent)

        await self._working.run(run)

    async def write(
        self, blob: BlobId, index: int, pieces: Sequence[memoryview], digester: PartDigester
    ) -> None:
        """Write these behind what the digester has had of this part. Durable only after a `sync`.

        Raises:
            BlobMissing: there is no such file.
            StoreFull, StoreFailed.
        """

        def run() -> None:
            with directio.opened(self._path(blob), os.O_WRONLY) as file:
                for piece in pieces:
                    file.write(piece, index * SLOT + digester.size)
                    digester.update(piece)

        await self._working.run(run)

    async def sync(self, blob: BlobId) -> None:
        """Make durable what was written before.

        Raises:
            StoreFailed: the disk has lost something: at every later call, too, since it tells so once.
            BlobMissing.
        """
        self._last_ticket = ticket = next(self._tickets)
        each = self._syncs.setdefault(blob, _Sync())
        each.users += 1
        try:
            await self._syncing.run(lambda: self._sync(blob, each, ticket))
        except StoreFailed as failure:
            self._failure = failure
            raise
        finally:
            each.users -= 1
            if not each.users:
                self._syncs.pop(blob, None)

    def _sync(self, blob: BlobId, each: _Sync, ticket: int) -> None:
        with each.lock:
            if self._failure is not None:
                raise self._failure
            if each.done >= ticket:
                return
            covered = self._last_ticket
            with opened(self._path(blob), os.O_WRONLY) as file:
                try:
                    os.fdatasync(file)
                except OSError as error:
                    self._failure = StoreFailed("the disk has lost a part", hint="look at the system's log")
                    raise self._failure from error
            each.done = covered

    async def read(self, part: StoredPart, offset: int, buffer: memoryview) -> int:
        """Fill the buffer as far as the part goes; how many bytes. Behind them it may be written over, too.

        Raises:
            BlobMissing.
        """
        wanted = min(len(buffer), max(0, part.size - offset))
        blocks = buffer[: -(-wanted // directio.BLOCK) * directio.BLOCK]

        def run() -> int:
            with directio.opened(self._path(part.blob), os.O_RDONLY) as file:
                return min(file.read(blocks, part.index * SLOT + offset), wanted)

        return await self._working.run(run)

    async def remove(self, blob: BlobId) -> None:
        """Harmless if there is none."""
        await self._working.run(lambda: self._path(blob).unlink(missing_ok=True))

    async def sizes(self) -> dict[BlobId, int]:
        """Of every file that is there. Anything in the folder that has another name is not our business."""

        def run() -> dict[BlobId, int]:
            return {BlobId.parse(path.name): path.stat().st_size for path in self._files()}

        return await self._working.run(run)

    def room(self) -> int:
        """Free bytes of the disk. It may block for a moment: not for the event loop."""
        return disk_room(self._folder if self._folder.is_dir() else self._folder.parent)

    def close(self) -> None:
        """No call may follow."""
        self._working.close()
        self._syncing.close()

    def _files(self) -> Iterator[Path]:
        if self._folder.is_dir():
            for path in self._folder.glob("[0-9a-f][0-9a-f]/*"):
                if _NAME.fullmatch(path.name) and path.name.startswith(path.parent.name):
                    yield path

    def _path(self, blob: BlobId) -> Path:
        name = str(blob)
        return self._folder / name[:2] / name
