"""Reading and writing that goes past the system's page cache, for bytes that nobody wants again soon.

Filling the cache with them costs more than the disk does: in a virtual machine, whose memory has to be found
first, many times as much; and everything else is pushed out of it. What cannot go past it (a file system
that does not know how, bytes that begin or end within a block) goes through it, and the kernel keeps both in
step.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BLOCK = 4096
"""Bytes. Places and sizes have to be multiples of it; some disks could do with less."""

LARGE_PAGE = 2 << 20
"""Bytes. In pages of this size, large buffers spare the processor looking up where each 4 KiB of them are."""

_UNABLE = {errno.EINVAL, errno.EOPNOTSUPP}
"""This disk's blocks are larger, the bytes lie badly in memory, or the file system cannot after all."""


def aligned_buffer(size: int, *, large: bool = True) -> memoryview:
    """Zeros, of which a disk can read and to which it can write: from the beginning of a page on.

    From half a large page on it is in large ones, where the system has them; then it takes whole ones. Such
    a page is found and cleared when it is first touched, for which a virtual machine can take 6 ms.

    Args:
        large: that is worth it.
    """
    if size < LARGE_PAGE // 2 or not large:
        return memoryview(_memory(size, "MADV_NOHUGEPAGE"))
    # Of address space, not of memory. Where there are no large pages, small ones do.
    pages = _memory(-(-size // LARGE_PAGE) * LARGE_PAGE + LARGE_PAGE, "MADV_HUGEPAGE")
    skipped = -ctypes.addressof(ctypes.c_char.from_buffer(pages)) % LARGE_PAGE
    return memoryview(pages)[skipped : skipped + size]


def _memory(size: int, pages: str) -> mmap.mmap:
    """Of this process alone: one that forks while the disk is at work must not share it.

    Args:
        pages: which ones it should be in, by the name of the advice.
    """
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE)
    for advice in ("MADV_DONTFORK", pages):
        with contextlib.suppress(OSError, AttributeError):
            memory.madvise(getattr(mmap, advice))
    return memory


class DirectFile:
    """An open file, for any number of threads.

    Args:
        handle: it is closed with this.
    """

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self._direct = _reopened(handle)

    @property
    def is_direct(self) -> bool:
        """Whether anything goes past the page cache."""
        return self._direct is not None

    def close(self) -> None:
        """Once."""
        os.close(self.handle)
        if self._direct is not None:
            os.close(self._direct)

    def write(self, data: memoryview, offset: int) -> None:
        """All of it."""
        while data:
            count = self._write_some(data, offset)
            data, offset = data[count:], offset + count

    def write_padded(self, data: memoryview, offset: int) -> None:
        """All of it, and zeros up to the end of its last block: so all of it can go past the page cache.

        No zeros where it begins within a block, and cannot.
        """
        whole = len(data) if offset % BLOCK else len(data) // BLOCK * BLOCK
        self.write(data[:whole], offset)
        if rest := data[whole:]:
            block = aligned_buffer(BLOCK)
            block[: len(rest)] = rest
            self.write(block, offset + whole)

    def read(self, buffer: memoryview, offset: int) -> int:
        """Fill the buffer as far as the file goes; the number of bytes."""
        done = 0
        while done < len(buffer):
            count = self._read_some(buffer[done:], offset + done)
            if not count:
                break
            done += count
        return done

    def _write_some(self, data: memoryview, offset: int) -> int:
        whole = len(data) // BLOCK * BLOCK
        if self._direct is not None and whole and not offset % BLOCK:
            try:
                return os.pwrite(self._direct, data[:whole], offset)
            except OSError as error:
                if error.errno not in _UNABLE:
                    raise
        return os.pwrite(self.handle, data, offset)

    def _read_some(self, buffer: memoryview, offset: int) -> int:
        whole = len(buffer) // BLOCK * BLOCK
        if self._direct is not None and whole and not offset % BLOCK:
            try:
                return os.preadv(self._direct, [buffer[:whole]], offset)
            except OSError as error:
                if error.errno not in _UNABLE:
                    raise
        return os.preadv(self.handle, [buffer], offset)


def _reopened(handle: int) -> int | None:
    """The very same file, whatever has its name by now, without the page cache; None: that cannot be."""
    access = fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE
    try:
        return os.open(f"/proc/self/fd/{handle}", access | os.O_DIRECT | os.O_CLOEXEC)
    except (OSError, AttributeError):
        return None


@contextmanager
def opened(path: Path, flags: int) -> Iterator[DirectFile]:
    """One, for as long as the block lasts.

    Raises:
        OSError: it cannot be opened.
    """
    file = DirectFile(os.open(path, flags | os.O_CLOEXEC))
    try:
        yield file
    finally:
        file.close()
