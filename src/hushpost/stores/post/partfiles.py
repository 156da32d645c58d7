"""The content of blobs of parts: one file each, `<2 hex>/<hex id>`, with every part in a slot of its own.

What of it counts is in the database, as far as parts were synced before their rows. What is to go is called
`<hex id>.gone` until it is unlinked, for which nobody waits. See docs/adr/0007 and 0010.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import structlog
from blake3 import blake3

from hushpost import directio
from hushpost.errors import BadDigest, StoreFailed
from hushpost.ids import BlobId
from hushpost.stores.base import StoredPart, parts_of
from hushpost.stores.disk import DiskThreads, opened, sync_folder
from hushpost.stores.room import disk_room
from hushpost.wire.limits import PART_SIZE

WRITERS = 4
"""Threads that write parts, each for as long as one comes quickly: that of the connection which is read, and
a few that wait for the disk. They keep it busy, while an envelope's commit has few parts before it."""

READERS = 2
"""Threads for everything else: one for each of two cores, beside the event loop."""

SLOT = 4 << 20
"""Bytes from one part's place to the next one's: a part, and a gap that takes no room. Whole blocks."""

GONE = ".gone"
"""What is behind the name of a file that nobody shall find any more."""

log = structlog.get_logger()

_NAME = re.compile(r"[0-9a-f]{32}")


def extent(size: int) -> int:
    """Bytes of the file of a blob that has so many, all of them in their slots."""
    return (parts_of(size) - 1) * (SLOT - PART_SIZE) + size if size else 0


class LostPart(StoreFailed):
    """The disk has lost what it was given. It tells so once, so nothing counts from then on."""


class PartDigester:
    """BLAKE3 of a part, as it is written.

    Args:
        expected: bytes of all of it.
    """

    __slots__ = ("_expected", "_hash", "size")

    def __init__(self, expected: int) -> None:
        self._hash = blake3()
        self._expected = expected
        self.size = 0

    @property
    def whole(self) -> bool:
        return self.size == self._expected

    def completed_by(self, piece: memoryview) -> bool:
        """Whether nothing follows this one. Raises BadDigest: there is no room for it."""
        left = self._expected - self.size - len(piece)
        if left < 0:
            raise BadDigest("the part is longer than was announced")
        return not left

    def update(self, piece: memoryview) -> None:
        """The next bytes."""
        self._hash.update(piece)
        self.size += len(piece)

    def digest(self) -> bytes:
        """Of everything so far."""
        return self._hash.digest()


class _Sync:
    """The syncs of one file: whoever waits for a running one shares the next."""

    __slots__ = ("_tickets", "done", "last", "lock", "users")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._tickets = itertools.count(1)
        self.last = self.done = self.users = 0

    def ticket(self) -> int:
        """For what has been written by now. Two threads at once may set `last` too low: that costs a sync."""
        self.last = ticket = next(self._tickets)
        return ticket


class PartFiles:
    """A folder of a local file system. Used by one event loop; `close` ends it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._working = DiskThreads(READERS, "hush-parts")
        self._writing = DiskThreads(WRITERS, "hush-puts")
        self._unlinking = DiskThreads(1, "hush-gone")
        self._syncs: dict[BlobId, _Sync] = {}
        self._failure: LostPart | None = None

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
        self, blob: BlobId, index: int, pieces: Iterable[memoryview], digester: PartDigester
    ) -> None:
        """Write these behind what the digester has had of this part. When it is whole, it is durable, too.

        Raises:
            BlobMissing: there is no such file.
            BadDigest: they are more than the part has.
            LostPart: the disk has lost something: at every later call, too.
            StoreFull, StoreFailed.
        """
        sync = self._syncs.setdefault(blob, _Sync())
        sync.users += 1

        def run() -> None:
            with directio.opened(self._path(blob), os.O_WRONLY) as file:
                for piece in pieces:
                    write = file.write_padded if digester.completed_by(piece) else file.write
                    write(piece, index * SLOT + digester.size)
                    digester.update(piece)
                if digester.whole:
                    self._sync(file.handle, sync)

        try:
            await self._writing.run(run)
        finally:
            sync.users -= 1
            if not sync.users:
                self._syncs.pop(blob, None)

    def _sync(self, file: int, sync: _Sync) -> None:
        ticket = sync.ticket()
        with sync.lock:
            if self._failure is not None:
                raise self._failure
            if sync.done >= ticket:
                return
            covered = sync.last
            try:
                os.fdatasync(file)
            except OSError as error:
                self._failure = LostPart("the disk has lost a part", hint="look at the system's log")
                raise self._failure from error
            sync.done = covered

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

    def has(self, part: StoredPart) -> bool:
        """Whether the file reaches so far: it may have been cut or deleted by others. It blocks."""
        try:
            return self._path(part.blob).stat().st_size >= part.index * SLOT + part.size
        except FileNotFoundError:
            return False

    async def remove(self, blob: BlobId) -> None:
        """From now on it is gone. Harmless if there is none.

        Its room comes back when it is unlinked, for which nobody waits: of 100 GB that takes 20 s.
        """

        def run() -> Path | None:
            path = self._path(blob)
            try:
                return path.replace(path.with_suffix(GONE))
            except FileNotFoundError:
                return None

        gone = await self._working.run(run)
        if gone is not None:
            self._unlink_soon(gone)

    async def remove_gone(self) -> None:
        """What an earlier life has removed, and not come to give the room of back."""
        for path in await self._working.run(lambda: list(self._folder.glob(f"[0-9a-f][0-9a-f]/*{GONE}"))):
            self._unlink_soon(path)

    def _unlink_soon(self, path: Path) -> None:
        def run() -> None:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.error("the room of a file that is gone cannot be given back", reason=error.strerror)

        self._unlinking.start(run)

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
        self._writing.close()
        self._unlinking.close()

    def _files(self) -> Iterator[Path]:
        if self._folder.is_dir():
            for path in self._folder.glob("[0-9a-f][0-9a-f]/*"):
                if _NAME.fullmatch(path.name) and path.name.startswith(path.parent.name):
                    yield path

    def _path(self, blob: BlobId) -> Path:
        name = str(blob)
        return self._folder / name[:2] / name
