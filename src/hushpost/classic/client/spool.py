"""What a fetch brought, on disk before it is looked at: the server may have forgotten it by then.

The file is `position u64, little-endian | payload of 1004`. `position` counts the payload bytes whose
messages were dealt with, so that a process that died goes on where it was: at worst the message that
it died in is shown again.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hushpost.classic.client.files import PRIVATE, sync_directory
from hushpost.classic.payloads import MESSAGE_ENTRY, NOBODY, ContentEnd, MessageHeader, MessagesDecoder
from hushpost.errors import ProtocolError

POSITION = struct.Struct("<Q")
PIECE = 1 << 20

_NOTHING = MessageHeader(NOBODY, 0, 0, 0)
"""No server sends this. A file system may leave zeros where a power failure met the last writes."""


class SpooledMessage(msgspec.Struct, frozen=True):
    """One whole message of the spool.

    Attributes:
        header: as the server sent it.
        digest: SHA-256 of the header and the content: the same message shown again has the same.
        dealt_with: by a process that died before it came to the end of the spool.
        spool: where the content lies.
        start: where in the file.
    """

    header: MessageHeader
    digest: bytes
    dealt_with: bool
    spool: Spool
    start: int

    def pieces(self) -> Iterator[memoryview]:
        """The content as views, each valid until the next."""
        yield from self.spool.read(self.start, self.header.content_size)

    def content(self, last: int | None = None) -> bytes:
        """The content, or its `last` bytes. For what is known to be small."""
        size = self.header.content_size
        count = size if last is None else min(last, size)
        return b"".join(bytes(piece) for piece in self.spool.read(self.start + size - count, count))


class Spool:
    """The spool file. It exists only while there is something in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1

    def exists(self) -> bool:
        """There is something to deal with before the next fetch."""
        return self._path.exists()

    def write(self, data: memoryview) -> None:
        """Append payload bytes; the first call creates the file. Nothing is kept in this process.

        Raises:
            OSError: the disk refuses.
        """
        if self._handle < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._handle = os.open(self._path, flags, PRIVATE)
            os.write(self._handle, POSITION.pack(0))
        while data:
            data = data[os.write(self._handle, data) :]

    def commit(self) -> None:
        """Make what was written durable. Safe to call when nothing was.

        Raises:
            OSError: the disk refuses; the server must not be told that we have it.
        """
        if self._handle >= 0:
            os.fsync(self._handle)
            sync_directory(self._path.parent)

    def messages(self) -> Iterator[SpooledMessage]:
        """Every whole message; coming back for the next says that this one is dealt with.

        Raises:
            ProtocolError: after the last whole message, if something unfinished follows it.
        """
        if self._handle < 0:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        raw = os.pread(self._handle, POSITION.size, 0)
        dealt_with = POSITION.unpack(raw)[0] if len(raw) == POSITION.size else 0
        decoder, position = MessagesDecoder(), 0
        header, digest = _NOTHING, hashlib.sha256()
        for data in self.read(POSITION.size, None):
            for item in decoder.feed(data):
                match item:
                    case MessageHeader():
                        if item == _NOTHING:
                            raise ProtocolError("the messages on disk are damaged")
                        header, digest = item, hashlib.sha256(item.encode())
                    case ContentEnd():
                        start = POSITION.size + position + MESSAGE_ENTRY.size
                        done = position < dealt_with
                        yield SpooledMessage(header, digest.digest(), done, self, start)
                        position += MESSAGE_ENTRY.size + header.content_size
                        if not done:
                            os.pwrite(self._handle, POSITION.pack(position), 0)
                    case _:
                        digest.update(item)
        decoder.finish()

    def read(self, start: int, size: int | None) -> Iterator[memoryview]:
        """Bytes of the file as views, each valid until the next; to its end where no size is given."""
        buffer = memoryview(bytearray(PIECE if size is None else min(PIECE, size)))
        while size is None or size > 0:
            view = buffer if size is None else buffer[:size]
            count = os.preadv(self._handle, [view], start)
            if not count:
                return
            start += count
            size = None if size is None else size - count
            yield view[:count]

    def remove(self) -> None:
        """All of it was dealt with, durably."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file; what is in it stays for the next time."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
