"""Where the bytes of an upload come from: they can be read at any place, and it is noticed if they change.

A changed source must not meet what was sealed of it before: see docs/spec/files.md, "Sending".
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from hushpost.client.store import SourceKind, Stamp
from hushpost.crypto.filelayout import MAX_SIZE, Part
from hushpost.errors import HushpostError, UsageError


class SourceChanged(HushpostError):
    """A file is not what it was when its sending began."""

    def __init__(self) -> None:
        super().__init__(
            "the file has changed while it was sent",
            hint="when nothing writes to it any more: hush files resume",
        )


class Source(Protocol):
    """One state of something that can be read. Everything here blocks; several threads may read at once.

    Attributes:
        size: bytes.
        stamp: what shows that it is still in this state.
    """

    @property
    def size(self) -> int: ...

    @property
    def stamp(self) -> Stamp: ...

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer with the bytes from there on.

        Raises:
            SourceChanged: there are not so many.
        """

    def check(self) -> None:
        """Raises:
        SourceChanged: it is in another state by now.
        """

    def close(self) -> None:
        """Let go of it."""


def facts_of(status: os.stat_result) -> bytes:
    """Device, inode, size and time of modification: what makes it this file."""
    numbers = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return b"".join(number.to_bytes(16, "little", signed=True) for number in numbers)


def state_of(status: os.stat_result) -> bytes:
    """That, and the time of its last change of any kind, which nobody can set back: what must not change."""
    return facts_of(status) + status.st_ctime_ns.to_bytes(16, "little", signed=True)


class FileSource:
    """A regular file.

    Raises:
        UsageError: it is none, or larger than any file that can be sent.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = os.fstat(self._handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_SIZE:
            os.close(self._handle)
            raise UsageError("this is no regular file, or one of more than 16 TiB")
        self.size = status.st_size
        self.stamp = Stamp.of(state_of(status))

    def read_into(self, offset: int, buffer: memoryview) -> None:
        read_fully(self._handle, offset, buffer)

    def check(self) -> None:
        """By its handle and by its name: it may have been replaced, too."""
        try:
            found = state_of(os.fstat(self._handle)), state_of(os.stat(self._path))
        except OSError:
            raise SourceChanged from None
        if any(Stamp.of(each) != self.stamp for each in found):
            raise SourceChanged

    def close(self) -> None:
        os.close(self._handle)


def read_fully(handle: int, offset: int, buffer: memoryview) -> None:
    """Raises:
    SourceChanged: the file ends before.
    """
    while buffer:
        count = os.preadv(handle, [buffer], offset)
        if not count:
            raise SourceChanged
        offset, buffer = offset + count, buffer[count:]


def pieces_of(
    part: Part, read_into: Callable[[int, memoryview], None], buffer: memoryview
) -> Iterator[memoryview]:
    """The true bytes of a part, as much at once as the buffer takes. Each piece is good until the next."""
    for at in range(0, part.true, len(buffer)):
        piece = buffer[: part.true - at]
        read_into(part.offset + at, piece)
        yield piece


def kind_of(path: Path) -> SourceKind:
    """What can be sent.

    Raises:
        UsageError: there is nothing there, or nothing that could be sent.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UsageError(f"{path} cannot be sent: {os.strerror(error.errno or 0)}") from None
    if not os.access(path, os.R_OK):
        raise UsageError(f"{path} cannot be sent: {os.strerror(errno.EACCES)}")
    if stat.S_ISDIR(mode):
        return SourceKind.FOLDER
    if not stat.S_ISREG(mode):
        raise UsageError(
            "this is neither a file nor a folder", hint="pipe it in: hush send WHO --file - --as NAME < PIPE"
        )
    return SourceKind.FILE
