"""A stranger's folder, unpacked without any trust.

Nothing is looked up by a path: each file is made in a folder that we made before, and that is open since.
So no link can lead away, whoever puts one there, and a file costs the same however deep it lies.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from hushpost.client.threads import Check
from hushpost.client.transfers.tarstream import Member, UnsafeFolder, members, read_exactly

PIECE = 2**20
"""Bytes between two looks whether anybody still wants it."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(packed: Path, folder: Path, check: Check = lambda: None) -> None:
    """Unpack the tar stream of a folder into a new, empty one. Blocks.

    Files and folders only, each inside of it, without special modes and owners. Nothing is overwritten, and
    no more is written than the stream has bytes.

    Args:
        check: is called before each entry and each MiB. What it raises comes out.

    Raises:
        UnsafeFolder: there is anything else in it, or it is no such stream.
        OSError: the disk is full, or a name cannot be stored.
    """
    source = os.open(packed, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.closing(_Branch(folder)) as branch:
            for member in members(source):
                check()
                try:
                    made = branch.make(member)
                except FileExistsError:
                    raise UnsafeFolder("the folder holds two files of one name") from None
                if made is not None:
                    _fill(made, source, member, check)
    finally:
        os.close(source)


class _Branch:
    """The folder that was made last and those around it, all open. A sender never comes back to any other."""

    def __init__(self, root: Path) -> None:
        self._path: list[str] = []
        self._handles = [os.open(root, _FOLDER)]

    def make(self, member: Member) -> int | None:
        """Make a folder; or a file, and return its handle.

        Raises:
            UnsafeFolder: it does not belong into any open folder.
            FileExistsError: there is something of this name.
        """
        if not member.path:
            return None
        *around, last = member.path
        if self._path[: len(around)] != around:
            raise UnsafeFolder("the folder holds something whose folder does not stand before it")
        while len(self._path) > len(around):
            self._path.pop()
            os.close(self._handles.pop())
        parent, name = self._handles[-1], last.encode()
        if not member.is_folder:
            allowed = 0o755 if member.mode & 0o100 else 0o644  # its owner may write, and nobody else
            return os.open(name, _NEW_FILE, member.mode & allowed | 0o600, dir_fd=parent)
        os.mkdir(name, dir_fd=parent)
        self._handles.append(os.open(name, _FOLDER, dir_fd=parent))
        self._path.append(last)
        return None

    def close(self) -> None:
        while self._handles:
            os.close(self._handles.pop())


def _fill(handle: int, source: int, member: Member, check: Check) -> None:
    """Copy a file's bytes out of the stream, and close it."""
    with open(handle, "wb") as file:
        for at in range(0, member.size, PIECE):
            check()
            file.write(read_exactly(source, member.begin + at, min(PIECE, member.size - at)))
        file.flush()
        with contextlib.suppress(OSError, OverflowError):  # a time that cannot be stored is no loss
            os.utime(handle, (member.modified, member.modified))
