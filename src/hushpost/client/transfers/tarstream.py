"""The tar stream of a folder: written by the standard library, and read strictly, since a stranger wrote it.

Normative text: docs/spec/files.md, "Folders". A reader of all that tar can say can be made to use any amount
of time, memory and disk. This one takes what our writer makes, and keeps nothing but one header.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import tarfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from hushpost.crypto.filelayout import MAX_SIZE
from hushpost.errors import FileError
from hushpost.filenames import JOINERS, MAX_BYTES, REPLACED

BLOCK = tarfile.BLOCKSIZE
END = 2 * BLOCK
"""Bytes of zeros behind the last entry."""

MAX_ENTRIES = 100_000
"""In one folder: what a sender knows of them stays in memory, 40 MB. More are packed by tar, and piped in."""

MAX_DEPTH = 100
"""Names in a path. Each is an open handle while it is unpacked, of the 1,024 that a process usually has."""

MAX_PATH = 3_072
"""Bytes of a path below the folder. Linux takes 4,096: the rest is for the path of the folder itself."""

MAX_EXTENSION = 4_096
"""Bytes of a pax header: the longest path, and numbers."""

_HEADER = struct.Struct("100s 8s 16x 12s 12s 8s c 100x 8s 80x 155s 12x")
_CHECKSUM = slice(148, 156)
_EXTENSION = b"x"
_KINDS = {tarfile.REGTYPE: stat.S_IFREG, tarfile.DIRTYPE: stat.S_IFDIR}
_OCTAL = re.compile(rb"[0-7]+\0")
_RECORD = re.compile(rb"([1-9][0-9]{0,3}) (path|size|mtime|hdrcharset)=")
_SAID = {
    b"path": re.compile(rb".+", re.DOTALL),
    b"size": re.compile(rb"[0-9]{1,14}"),
    b"mtime": re.compile(rb"-?[0-9]{1,20}"),
    b"hdrcharset": re.compile(rb"BINARY"),
}
"""What a pax header may say: nothing of sparse files, links or owners."""


class UnsafeFolder(FileError):
    """A folder that holds something that nobody should unpack. Nothing of it was kept."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file or a folder in a stranger's stream.

    Attributes:
        path: safe names, from the folder down; empty: the folder itself.
        mode: its kind and its permissions, as they were told.
        modified: seconds; any integer.
        begin: where its bytes stand in the stream.
    """

    path: tuple[str, ...]
    mode: int
    modified: int
    begin: int
    size: int

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def end(self) -> int:
        """Behind its last block."""
        return self.begin + padded(self.size)


def padded(size: int) -> int:
    """What so many bytes take in the stream."""
    return -(-size // BLOCK) * BLOCK


def harmless(name: str) -> str:
    """A name inside of a folder, or a path, as it is stored: without what forges lines or is not seen."""
    if name.isprintable():  # nearly all are; looking at each character of a path takes its time
        return name
    return "".join("_" if _is_replaced(char) else char for char in name)


def _is_replaced(char: str) -> bool:
    return unicodedata.category(char) in REPLACED and char not in JOINERS


def encode_header(inside: str, mode: int, modified: int, size: int) -> bytes:
    """As tar writes it: owners are nobody's business, and are left out."""
    info = tarfile.TarInfo(inside or ".")
    info.mode = stat.S_IMODE(mode) & 0o777
    info.mtime = modified
    if stat.S_ISDIR(mode):
        info.type = tarfile.DIRTYPE
    else:
        info.size = size
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def members(handle: int) -> Iterator[Member]:
    """What stands in a stream, in its order; all that it tells of a file's bytes is where they are.

    Raises:
        UnsafeFolder: it is not what `encode_header` makes, breaks a limit, or has an unsafe name.
        OSError: the disk failed.
    """
    total, at, count = os.fstat(handle).st_size, 0, 0
    while any(block := read_exactly(handle, at, BLOCK)):
        if count == MAX_ENTRIES:
            raise UnsafeFolder("the folder holds too many entries")
        said: dict[bytes, bytes] = {}
        header = _Header.decode(block)
        at += BLOCK
        if header.kind == _EXTENSION:
            if header.size > MAX_EXTENSION:
                raise _malformed()
            said = _records(read_exactly(handle, at, header.size))
            at += padded(header.size)
            header = _Header.decode(read_exactly(handle, at, BLOCK))
            at += BLOCK
        member = header.member(said, at)
        is_itself = not member.path  # comes first, and once
        if is_itself != (count == 0) or member.end + END > total:
            raise _malformed()
        yield member
        at, count = member.end, count + 1
    if count == 0 or at + END != total or any(read_exactly(handle, at, END)):
        raise _malformed()


def read_exactly(handle: int, at: int, size: int) -> bytes:
    """Raises:
    UnsafeFolder: the stream ends before.
    """
    found = os.pread(handle, size, at)
    if len(found) != size:
        raise _malformed()
    return found


@dataclass(frozen=True, slots=True)
class _Header:
    """One block, of which nothing but its form is believed."""

    name: bytes
    mode: int
    size: int
    modified: int
    kind: bytes

    @classmethod
    def decode(cls, block: bytes) -> _Header:
        name, mode, size, modified, checksum, kind, magic, prefix = _HEADER.unpack(block)
        numbers = mode, size, modified, checksum[:7]
        if magic != tarfile.POSIX_MAGIC or any(prefix) or not all(map(_OCTAL.fullmatch, numbers)):
            raise _malformed()
        mode, size, modified, told = (int(number[:-1], 8) for number in numbers)
        if told != sum(block) - sum(block[_CHECKSUM]) + len(checksum) * ord(" "):
            raise _malformed()
        return cls(name.partition(b"\0")[0], mode, size, modified, kind)

    def member(self, said: dict[bytes, bytes], begin: int) -> Member:
        """What it tells of, with what a pax header said before."""
        kind = _KINDS.get(self.kind)
        if kind is None:
            raise UnsafeFolder("the folder holds something that is neither a file nor a folder")
        is_folder = kind == stat.S_IFDIR
        size = int(said.get(b"size", self.size))
        if size > (0 if is_folder else MAX_SIZE):
            raise _malformed()
        path = _path(said.get(b"path", self.name), is_folder=is_folder)
        return Member(
            path, kind | stat.S_IMODE(self.mode), int(said.get(b"mtime", self.modified)), begin, size
        )


def _records(raw: bytes) -> dict[bytes, bytes]:
    """The records of a pax header: `LENGTH KEY=VALUE`, and a line feed, each key once."""
    said: dict[bytes, bytes] = {}
    while raw:
        found = _RECORD.match(raw)
        if found is None:
            raise _malformed()
        length, key = int(found[1]), found[2]
        value = raw[found.end() : length - 1]
        is_whole = length <= len(raw) and raw[length - 1 : length] == b"\n"
        if not is_whole or key in said or not _SAID[key].fullmatch(value):
            raise _malformed()
        said[key], raw = value, raw[length:]
    return said


def _path(raw: bytes, *, is_folder: bool) -> tuple[str, ...]:
    """Safe names that lead to something below the folder, wherever that is."""
    if is_folder:
        if raw == b"./":
            return ()
        raw = raw.removesuffix(b"/")
    names = tuple(harmless(raw.decode("utf-8", "surrogateescape")).split("/"))
    if len(raw) > MAX_PATH or len(names) > MAX_DEPTH:
        raise UnsafeFolder("the folder holds a path that is too long")
    if any(name in {"", ".", ".."} or len(name.encode()) > MAX_BYTES for name in names):
        raise UnsafeFolder("the folder holds a name that is not safe to unpack")
    return names


def _malformed() -> UnsafeFolder:
    return UnsafeFolder("the folder is not packed as folders are: nothing of it is safe to unpack")
