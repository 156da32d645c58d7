"""Contents as files: `<2 hex>/<hex id>.part` while they grow, `<2 hex>/<hex id>` once they are durable.

The name tells whether a blob is whole: it changes only after the bytes are on the disk, and `finish`
answers only after the new name is there too. So what a crash leaves behind is a `.part`, or a blob
that no envelope came to refer to; both go with the next sweep.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hushpost.errors import BlobMissing
from hushpost.ids import BlobId
from hushpost.stores.base import StoreLimits
from hushpost.stores.disk import DiskThreads, opened, read_at, sync_folder, write_at
from hushpost.stores.room import disk_room
from hushpost.stores.rules import check_disk

THREADS = 4
"""Enough to keep a disk busy; more would only take turns on it, and on the interpreter."""

FLUSH_EVERY = 64 * 2**20
"""Bytes of one blob between two early flushes: the disk works while the rest is still arriving, and
the fsync at the end, which the sender waits for, has little left to do."""

_BLOB_NAME = re.compile(r"[0-9a-f]{32}(\.part)?")


@dataclass(slots=True)
class _Growth:
    """A blob that is being written.

    Attributes:
        promised: bytes that are still to come, and for which there must be space.
        unflushed: bytes since the last early flush.
        flush: that one: running, done or failed.
    """

    promised: int = 0
    unflushed: int = 0
    flush: asyncio.Future[None] | None = None


class FileBlobs:
    """`base.Blobs` in a folder of a local file system."""

    def __init__(self, folder: Path, min_free_bytes: int = StoreLimits().min_free_bytes) -> None:
        self._folder = folder
        self._min_free = min_free_bytes
        self._threads = DiskThreads(THREADS, "hush-blobs")
        self._growing: dict[BlobId, _Growth] = {}
        self._making = threading.Lock()
        self._made = False

    async def create(self, blob: BlobId, size: int = 0) -> None:
        promised = size + sum(growth.promised for growth in self._growing.values())

        def run() -> None:
            part = self._part(blob)
            self._make_folder()
            part.parent.mkdir(mode=0o700, exist_ok=True)
            check_disk(disk_room(part.parent), self._min_free, promised)
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

        self._growing[blob] = _Growth(size)
        try:
            await self._threads.run(run)
        except BaseException:
            self._growing.pop(blob, None)
            raise

    async def write(self, blob: BlobId, offset: int, data: memoryview) -> None:
        def run() -> None:
            # No O_CREAT: a write that comes after `discard` must not bring the file back.
            with opened(self._part(blob), os.O_WRONLY) as file:
                write_at(file, [data], offset)

        await self._threads.run(run)
        growth = self._growing.setdefault(blob, _Growth())
        growth.promised = max(0, growth.promised - len(data))
        growth.unflushed += len(data)
        if growth.unflushed >= FLUSH_EVERY and (growth.flush is None or growth.flush.done()):
            self._raise_failed(growth)
            growth.flush = self._threads.start(lambda: self._flush(blob))
            growth.unflushed = 0

    async def finish(self, blob: BlobId, size: int) -> None:
        def run() -> None:
            part, final = self._part(blob), self._final(blob)
            with opened(part, os.O_WRONLY) as file:
                if os.fstat(file).st_size != size:
                    raise BlobMissing("this blob is not as long as was said")
                os.fsync(file)
            part.rename(final)
            # The new name is an entry of the inner folder, which may itself be new in the outer one.
            for folder in (final.parent, self._folder):
                sync_folder(folder)

        growth = self._growing.pop(blob, _Growth())
        if growth.flush is not None:
            await asyncio.wait([growth.flush])
            self._raise_failed(growth)
        await self._threads.run(run)

    async def read_into(self, blob: BlobId, offset: int, buffer: memoryview) -> int:
        def run() -> int:
            with opened(self._final(blob), os.O_RDONLY) as file:
                return read_at(file, buffer, offset)

        return await self._threads.run(run)

    async def discard(self, blobs: Iterable[BlobId]) -> None:
        gone = list(blobs)

        def run() -> None:
            for blob in gone:
                self._part(blob).unlink(missing_ok=True)
                self._final(blob).unlink(missing_ok=True)

        for blob in gone:
            self._growing.pop(blob, None)
        if gone:
            await self._threads.run(run)

    async def sweep(self, referenced: set[BlobId]) -> int:
        kept = {str(blob) for blob in referenced}

        def run() -> int:
            lost = [path for path in self._files() if path.name not in kept]
            for path in lost:
                path.unlink()
            return len(lost)

        return await self._threads.run(run)

    async def close(self) -> None:
        """Wait for what was begun; no call may follow."""
        flushes = [growth.flush for growth in self._growing.values() if growth.flush is not None]
        if flushes:
            await asyncio.wait(flushes)
        self._threads.close()

    def _make_folder(self) -> None:
        """Make the outer folder, once; an earlier process may have died before its name was durable."""
        with self._making:
            if not self._made:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                sync_folder(self._folder.parent)
                self._made = True

    def _files(self) -> Iterator[Path]:
        """Every file that is ours by its name; anything else in the folder is not our business."""
        if self._folder.is_dir():
            for path in self._folder.glob("[0-9a-f][0-9a-f]/*"):
                if _BLOB_NAME.fullmatch(path.name) and path.name.startswith(path.parent.name):
                    yield path

    def _final(self, blob: BlobId) -> Path:
        name = str(blob)
        return self._folder / name[:2] / name

    def _part(self, blob: BlobId) -> Path:
        return self._final(blob).with_suffix(".part")

    def _flush(self, blob: BlobId) -> None:
        with suppress(FileNotFoundError), opened(self._part(blob), os.O_WRONLY) as file:
            os.fdatasync(file)

    def _raise_failed(self, growth: _Growth) -> None:
        """Pass on the error of an early flush: the disk tells it once, and a later fsync may say yes."""
        if growth.flush is not None and growth.flush.done():
            growth.flush.result()
