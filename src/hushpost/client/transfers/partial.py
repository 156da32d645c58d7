"""A file that is being put together, under a name that nobody takes for the finished one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hushpost.crypto.filelayout import CHUNK
from hushpost.directio import DirectFile
from hushpost.errors import HushpostError

SPARE = 16 * 2**20
"""Bytes that a download leaves free: the database beside it has to go on."""

_ZEROS = bytes(CHUNK)


class NoRoom(HushpostError):
    """The disk has less room than the file needs."""

    def __init__(self, size: int, free: int) -> None:
        super().__init__(
            f"the disk has no room for this file: {size:,} bytes are to come, {SPARE:,} must stay free,"
            f" and {free:,} are",
            hint="make room, or choose another folder; what has come is kept",
        )


class PartialFile:
    """Open, and written by several threads at once, each at its own places."""

    def __init__(self, path: Path, file: DirectFile) -> None:
        self.path = path
        self._file = file

    @classmethod
    def create(cls, path: Path, size: int) -> PartialFile:
        """A new one, all zeros, which take no room.

        Raises:
            OSError: it cannot be made, or is there.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(path, flags, 0o666)
        try:
            os.ftruncate(handle, size)
        except BaseException:
            os.close(handle)
            path.unlink()
            raise
        return cls(path, DirectFile(handle))

    @classmethod
    def reopen(cls, path: Path, size: int) -> PartialFile | None:
        """The one from before; None: somebody has moved, cut or replaced it."""
        try:
            handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            os.close(handle)
            return None
        return cls(path, DirectFile(handle))

    def write(self, offset: int, data: memoryview) -> None:
        """Put bytes into their place. Chunks of zeros take no room where nothing was written before."""
        begin = 0
        for at in range(0, len(data), CHUNK):
            chunk = data[at : at + CHUNK]
            if _is_zero(chunk) and self._is_zero(offset + at, len(chunk)):
                self._file.write(data[begin:at], offset + begin)
                begin = at + len(chunk)
        self._file.write(data[begin:], offset + begin)

    def read(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer: with what the disk has, where it can be asked; behind the file, with zeros."""
        count = self._file.read(buffer, offset)
        buffer[count:] = bytes(len(buffer) - count)

    def sync(self) -> None:
        """What was written is on the disk."""
        os.fdatasync(self._file.handle)

    def close(self) -> None:
        self._file.close()

    def _is_zero(self, offset: int, size: int) -> bool:
        """An attempt that failed may have left something there."""
        return os.pread(self._file.handle, size, offset) == _ZEROS[:size]


def _is_zero(chunk: memoryview) -> bool:
    return not chunk[0] and chunk.tobytes() == _ZEROS[: len(chunk)]  # views compare byte by byte


def check_room(folder: Path, size: int) -> None:
    """Raises:
    NoRoom: there is less than this free.
    """
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free < size + SPARE:
        raise NoRoom(size, free)
