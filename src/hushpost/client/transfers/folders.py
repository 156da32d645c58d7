"""Folders as tar streams: sent without being packed on the disk first.

What stands where in the stream follows from the names and sizes alone, so that it can be read from any place:
a transfer that was interrupted goes on in the middle.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hushpost.client.store import Stamp
from hushpost.client.transfers.sources import SourceChanged, read_fully, state_of
from hushpost.client.transfers.tarstream import (
    END,
    MAX_DEPTH,
    MAX_ENTRIES,
    MAX_PATH,
    encode_header,
    harmless,
    padded,
)
from hushpost.crypto.filelayout import MAX_SIZE
from hushpost.errors import UsageError

_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
"""What opening a file ends with that was there, and is something else by now."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a folder in the stream.

    Attributes:
        inside: its path below the folder; empty: the folder itself.
        begin: where its header stands in the stream.
        header_size: bytes, a multiple of 512.
        size: bytes of the file; 0 of a folder.
    """

    inside: str
    begin: int
    header_size: int
    mode: int
    modified: int
    size: int
    facts: bytes

    @property
    def content(self) -> int:
        """Where its bytes begin."""
        return self.begin + self.header_size

    @property
    def end(self) -> int:
        """Behind its last block."""
        return self.content + padded(self.size)

    def header(self) -> bytes:
        return encode_header(self.inside, self.mode, self.modified, self.size)


class FolderSource:
    """The tar stream of a folder, as the folder is now.

    Attributes:
        left_out: how many links, devices and other things were: nobody may unpack these.

    Raises:
        UsageError: it has too many entries, is too deep or too large, or has names that become one.
        OSError: something in it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.left_out = 0
        self._entries = list(self._planned())
        self._begins = [entry.begin for entry in self._entries]
        self.size = self._entries[-1].end + END
        self.stamp = Stamp.of(b"".join(entry.facts for entry in self._entries))
        if self.size > MAX_SIZE:
            raise UsageError("a folder holds at most 16 TiB")

    def read_into(self, offset: int, buffer: memoryview) -> None:
        at = bisect_right(self._begins, offset) - 1
        while buffer and at < len(self._entries):
            entry = self._entries[at]
            piece = buffer[: entry.end - offset]
            self._read_entry(entry, offset - entry.begin, piece)
            offset, buffer, at = offset + len(piece), buffer[len(piece) :], at + 1
        buffer[:] = bytes(len(buffer))

    def check(self) -> None:
        try:
            changed = FolderSource(self._path).stamp != self.stamp
        except (OSError, UsageError):
            changed = True
        if changed:
            raise SourceChanged

    def close(self) -> None:
        """There is nothing open between two reads."""

    def _planned(self) -> Iterator[Entry]:
        begin = 0
        for number, (inside, status) in enumerate(self._walk()):
            if number == MAX_ENTRIES:
                raise _to_be_packed(f"a folder of more than {MAX_ENTRIES:,} entries")
            if inside.count("/") >= MAX_DEPTH or len(os.fsencode(inside)) > MAX_PATH:
                raise _to_be_packed("a folder with others too deep inside of it")
            size = status.st_size if stat.S_ISREG(status.st_mode) else 0
            facts = state_of(status) + os.fsencode(inside) + status.st_mode.to_bytes(4, "little")
            modified = int(status.st_mtime)
            draft = Entry(inside, begin, 0, status.st_mode, modified, size, Stamp.of(facts))
            entry = Entry(inside, begin, len(draft.header()), draft.mode, modified, size, draft.facts)
            yield entry
            begin = entry.end

    def _walk(self) -> Iterator[tuple[str, os.stat_result]]:
        """Each folder before what is in it, and no link is followed: the same order each time."""
        folders = [""]
        while folders:
            inside = folders.pop()
            folder = self._path / inside
            yield inside, folder.stat()
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda each: each.name)
            if len({harmless(entry.name) for entry in entries}) != len(entries):
                raise _to_be_packed("a folder with names that differ in nothing but unsafe characters")
            for entry in entries:
                name = f"{inside}/{entry.name}" if inside else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                elif entry.is_file(follow_symlinks=False):
                    if not os.access(entry, os.R_OK):
                        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), entry.path)
                    yield name, entry.stat(follow_symlinks=False)
                else:
                    self.left_out += 1

    def _read_entry(self, entry: Entry, within: int, buffer: memoryview) -> None:
        if within < entry.header_size:
            piece = entry.header()[within : within + len(buffer)]
            buffer[: len(piece)] = piece
            within, buffer = within + len(piece), buffer[len(piece) :]
        at = within - entry.header_size
        wanted = buffer[: max(0, entry.size - at)]
        if wanted:
            self._read_file(entry, at, wanted)
        rest = buffer[len(wanted) :]
        rest[:] = bytes(len(rest))

    def _read_file(self, entry: Entry, at: int, buffer: memoryview) -> None:
        try:
            handle = os.open(self._path / entry.inside, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in _GONE:
                raise SourceChanged from None
            raise UsageError(f"a file in the folder cannot be read: {error.strerror}") from None
        try:
            read_fully(handle, at, buffer)
        finally:
            os.close(handle)


def _to_be_packed(what: str) -> UsageError:
    """Nobody would unpack it as it is."""
    return UsageError(what, hint="pack it: tar c FOLDER | hush send WHO --file - --as NAME.tar")
