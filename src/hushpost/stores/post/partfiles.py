"""The content of blobs of parts: one file each, `<2 hex>/<hex id>`, with every part in its place.

What of it counts is in the database, as far as parts were synced before their rows. See docs/adr/0007.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from blake3 import blake3

from hushpost.errors import StoreFailed
from hushpost.ids import BlobId
from hushpost.stores.base import StoredPart
from hushpost.stores.disk import DiskThreads, opened, read_at, sync_folder, write_at
from hushpost.stores.room import disk_room
from hushpost.wire.limits import PART_SIZE

WRITERS = 2
"""Threads that write and read: one for each of two cores, beside the event loop."""

SYNCERS = 2
"""Syncs at once. They keep the disk busy, while an envelope's commit has at most two parts before it."""

_NAME = re.compile(r"[0-9a-f]{32}")


class PartDigester:
    """BLAKE3 of a part, as it is written."""

    __slots__ = ("_hash", "size")

    def __init__(self) -> None:
        self._hash = blake3()
        self.size = 0

    def update(self, pieces: Sequence[memoryview]) -> None:
        """The next bytes."""
        for piece in pieces:
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
        self, blob: BlobId, offset: int, pieces: Sequence[memoryview], digester: PartDigester
    ) -> None:
        """Write these, and have the digester look at them. Durable only after a `sync`.

        Raises:
            BlobMissing: there is no such file.
            StoreFull, StoreFailed.
        """

        def run() -> None:
            digester.update(pieces)
            with opened(self._path(blob), os.O_WRONLY) as file:
                write_at(file, pieces, offset)

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
        """Fill the buffer as far as the part goes; how many bytes.

        Raises:
            BlobMissing.
        """
        place, wanted = part.index * PART_SIZE + offset, buffer[: max(0, part.size - offset)]

        def run() -> int:
            with opened(self._path(part.blob), os.O_RDONLY) as file:
                return read_at(file, wanted, place)

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
