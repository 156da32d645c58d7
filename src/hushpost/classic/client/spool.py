"""What a fetch brought, on disk before it is looked at: the server may have forgotten it by then.

The file is `head 512 | payload of 1004`, the head u64 numbers, little-endian:

    position u64 | put off u64 x 63

`position` counts the payload bytes whose messages were dealt with, so that a process that died goes on
where it was: at worst the message that it died in is shown again. `put off` are messages before that for
whose files there was no room: where each begins, plus 1; 0 is a free place.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import msgspec

from hushpost.classic.client.files import PRIVATE, sync_directory
from hushpost.classic.crypto import PIECE
from hushpost.classic.payloads import (
    MESSAGE_ENTRY,
    NOBODY,
    ClientId,
    ContentEnd,
    MessageHeader,
    MessagesDecoder,
)
from hushpost.errors import ProtocolError

MAX_PUT_OFF = 63
"""With the position, one sector of a disk: it is written whole or not at all."""

HEAD = struct.Struct(f"<{1 + MAX_PUT_OFF}Q")
POSITION = struct.Struct("<Q")

_NOTHING = MessageHeader(NOBODY, 0, 0, 0)
"""No server sends this. A file system may leave zeros where a power failure met the last writes."""


class Fate(Enum):
    """What has become of a message so far."""

    WAITING = 1
    DEALT_WITH = 2  # by a process that died before it came to the end of the spool
    PUT_OFF = 3  # for want of room


class SpooledMessage(msgspec.Struct, frozen=True):
    """One whole message of the spool.

    Attributes:
        header: as the server sent it.
        digest: SHA-256 of the header and the content: the same message shown again has the same.
        fate: whether it was dealt with already.
        spool: where the content lies.
        start: where in the file.
    """

    header: MessageHeader
    digest: bytes
    fate: Fate
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
        self.path = path
        self._handle = -1
        self._position = 0
        self._put_off: list[int] = []

    def exists(self) -> bool:
        """There is something to deal with before the next fetch."""
        return self.path.exists()

    @property
    def put_off_count(self) -> int:
        """Messages that still wait for room, once `messages` has come to its end."""
        return len(self._put_off)

    def write(self, data: memoryview) -> None:
        """Append payload bytes; the first call creates the file. Nothing is kept in this process.

        Raises:
            OSError: the disk refuses.
        """
        if self._handle < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._handle = os.open(self.path, flags, PRIVATE)
            self._position, self._put_off = 0, []
            os.write(self._handle, bytes(HEAD.size))
        while data:
            data = data[os.write(self._handle, data) :]

    def commit(self) -> None:
        """Make what was written durable. Safe to call when nothing was.

        Raises:
            OSError: the disk refuses; the server must not be told that we have it.
        """
        if self._handle >= 0:
            os.fsync(self._handle)
            sync_directory(self.path.parent)

    def messages(self) -> Iterator[SpooledMessage]:
        """Every whole message; coming back for the next says that this one is dealt with, or put off.

        Raises:
            ProtocolError: after the last whole message, if there was anything else.
        """
        self._open()
        decoder, position, damage = MessagesDecoder(), 0, ""
        header, digest = _NOTHING, hashlib.sha256()
        for data in self.read(HEAD.size, None):
            for item in decoder.feed(data):
                match item:
                    case MessageHeader():
                        header, digest = item, hashlib.sha256(item.encode())
                    case ContentEnd():
                        if header == _NOTHING:
                            damage = "there are zeros in the place of a message"
                        else:
                            yield from self._message(header, digest.digest(), position)
                        position += MESSAGE_ENTRY.size + header.content_size
                        if position > self._position:
                            self._position = position
                            os.pwrite(self._handle, POSITION.pack(position), 0)
                    case _:
                        digest.update(item)
        decoder.finish()
        if damage:
            raise ProtocolError(damage)

    def headers(self) -> Iterator[MessageHeader]:
        """What stands before each content, without reading the contents."""
        self._open()
        start = HEAD.size
        while len(raw := os.pread(self._handle, MESSAGE_ENTRY.size, start)) == MESSAGE_ENTRY.size:
            sender, message_id, kind, size = MESSAGE_ENTRY.unpack(raw)
            yield MessageHeader(ClientId(sender), message_id, kind, size)
            start += MESSAGE_ENTRY.size + size

    def put_off(self, message: SpooledMessage) -> bool:
        """Keep this message for another time. False where too many are kept already."""
        if len(self._put_off) >= MAX_PUT_OFF:
            return False
        self._put_off.append(message.start - MESSAGE_ENTRY.size - HEAD.size)
        self._write_put_off()
        return True

    def shrink(self) -> None:
        """Let go of what stands behind the last message that is put off: all of it was dealt with."""
        last = HEAD.size + max(self._put_off)
        size = MESSAGE_ENTRY.unpack(os.pread(self._handle, MESSAGE_ENTRY.size, last))[3]
        os.ftruncate(self._handle, last + MESSAGE_ENTRY.size + size)

    def _message(self, header: MessageHeader, digest: bytes, position: int) -> Iterator[SpooledMessage]:
        start = HEAD.size + position + MESSAGE_ENTRY.size
        if position in self._put_off:
            self._put_off.remove(position)
            yield SpooledMessage(header, digest, Fate.PUT_OFF, self, start)
            self._write_put_off()  # only now: until then, the disk says that it waits
        else:
            fate = Fate.DEALT_WITH if position < self._position else Fate.WAITING
            yield SpooledMessage(header, digest, fate, self, start)

    def _open(self) -> None:
        if self._handle < 0:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            raw = os.pread(self._handle, HEAD.size, 0)
            self._position, *put_off = HEAD.unpack(raw) if len(raw) == HEAD.size else [0]
            self._put_off = [place - 1 for place in put_off if place]

    def _write_put_off(self) -> None:
        places = [position + 1 for position in self._put_off]
        head = HEAD.pack(self._position, *places, *[0] * (MAX_PUT_OFF - len(places)))
        os.pwrite(self._handle, head, 0)

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

    def move(self, path: Path) -> None:
        """Give the file another name, durably; nothing is left here."""
        self.path.rename(path)
        sync_directory(path.parent)

    def remove(self) -> None:
        """All of it was dealt with, durably."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file; what is in it stays for the next time."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
