"""Work on files, in threads of its own, with our own errors."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from hushpost.errors import BlobMissing, StoreError, StoreFailed, StoreFull

T = TypeVar("T")


class DiskThreads:
    """A few threads that wait for the disk."""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    def start(self, action: Callable[[], T]) -> asyncio.Future[T]:
        """Begin; every error of the operating system becomes one of ours."""
        return asyncio.get_running_loop().run_in_executor(self._pool, _translating, action)

    async def run(self, action: Callable[[], T]) -> T:
        """Do it in a thread and wait until it has ended, even when cancelled.

        The thread works on the caller's buffer and must not outlive the call.
        """
        work = self.start(action)
        cancelled: asyncio.CancelledError | None = None
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            work.exception()
            raise cancelled
        return work.result()

    def close(self) -> None:
        """Take nothing more; what was begun ends by itself."""
        self._pool.shutdown(wait=False)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    with opened(folder, os.O_RDONLY | os.O_DIRECTORY) as directory:
        os.fsync(directory)


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """A file's descriptor, for as long as the block lasts."""
    file = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def write_at(file: int, pieces: Sequence[memoryview], offset: int) -> None:
    """Write all of these, one behind the other."""
    for piece in pieces:
        done = 0
        while done < len(piece):
            done += os.pwrite(file, piece[done:], offset + done)
        offset += len(piece)


def read_at(file: int, buffer: memoryview, offset: int) -> int:
    """Fill the buffer as far as the file goes; the number of bytes."""
    done = 0
    while done < len(buffer):
        count = os.preadv(file, [buffer[done:]], offset + done)
        if not count:
            break
        done += count
    return done


def _translating(action: Callable[[], T]) -> T:
    try:
        return action()
    except FileNotFoundError as missing:
        raise BlobMissing("this content is gone") from missing
    except OSError as error:
        raise _translated(error) from error


def _translated(error: OSError) -> StoreError:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return StoreFull("the server has too many files open", retry_after=1)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreFull("the server's disk is full", hint="make room on the server's disk")
    return StoreFailed(f"the disk refused a content: {os.strerror(error.errno or errno.EIO)}")
