"""Folders as tar streams: sent without being packed on the disk first, and unpacked without any trust.

What stands where in the stream follows from the names and sizes alone, so that it can be read from any place:
a transfer that was interrupted goes on in the middle.
"""

from __future__ import annotations

import os
import stat
import tarfile
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hushpost.client.store import Stamp
from hushpost.client.transfers.sources import SourceChanged, facts_of, read_fully
from hushpost.crypto.filelayout import MAX_SIZE
from hushpost.errors import FileError, UsageError
from hushpost.filenames import REPLACED

BLOCK = tarfile.BLOCKSIZE
END = 2 * BLOCK
"""Bytes of zeros behind the last entry."""

MAX_ENTRIES = 100_000
"""In one folder: what is known of them stays in memory, 40 MB. More are packed by tar, and piped in."""


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
        return self.content + -(-self.size // BLOCK) * BLOCK

    def header(self) -> bytes:
        """As tar writes it: owners are nobody's business, and are left out."""
        info = tarfile.TarInfo(self.inside or ".")
        info.mode = stat.S_IMODE(self.mode) & 0o777
        info.mtime = self.modified
        if stat.S_ISDIR(self.mode):
            info.type = tarfile.DIRTYPE
        else:
            info.size = self.size
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


class FolderSource:
    """The tar stream of a folder, as the folder is now.

    Attributes:
        left_out: how many links, devices and other things were: nobody may unpack these.

    Raises:
        UsageError: it has too many entries, or is too large.
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
                raise UsageError(
                    f"a folder of more than {MAX_ENTRIES:,} entries",
                    hint="pack it: tar c FOLDER | hush send WHO --file - --as NAME.tar",
                )
            size = status.st_size if stat.S_ISREG(status.st_mode) else 0
            facts = facts_of(status) + os.fsencode(inside) + status.st_mode.to_bytes(4, "little")
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
            for entry in entries:
                name = f"{inside}/{entry.name}" if inside else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                elif entry.is_file(follow_symlinks=False):
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
        except OSError:
            raise SourceChanged from None
        try:
            read_fully(handle, at, buffer)
        finally:
            os.close(handle)


class UnsafeFolder(FileError):
    """A folder that holds something that nobody should unpack. Nothing of it was kept."""


def unpack(packed: Path, folder: Path) -> None:
    """Unpack a tar stream of a stranger into a new, empty folder.

    Files and folders only, each inside of it, without special modes and owners. Nothing is overwritten.

    Raises:
        UnsafeFolder: there is anything else in it, or it is no tar stream.
        OSError: the disk is full, or a name cannot be stored.
    """
    root = os.fspath(folder.resolve())
    try:
        with tarfile.open(packed, "r:") as archive:
            for member in archive:
                safe = _checked(member, root)
                if safe is not None:
                    archive.extract(safe, root, filter="data")
    except (tarfile.TarError, UnicodeError, EOFError) as error:
        raise UnsafeFolder("the folder holds something that is not safe to unpack") from error


def _checked(member: tarfile.TarInfo, root: str) -> tarfile.TarInfo | None:
    """What may be extracted; None: a folder that is there.

    Raises:
        UnsafeFolder, tarfile.FilterError.
    """
    if not (member.isreg() or member.isdir()):
        raise UnsafeFolder("the folder holds a link or a device, which nobody should unpack")
    member.name = "".join("_" if unicodedata.category(char) in REPLACED else char for char in member.name)
    safe = tarfile.data_filter(member, root)
    place = Path(root, safe.name)
    if member.isdir() and place.is_dir() and not place.is_symlink():
        return None
    if os.path.lexists(place):
        raise UnsafeFolder("the folder holds two files of one name")
    return safe
