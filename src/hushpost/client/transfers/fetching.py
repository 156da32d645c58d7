"""Parts of a file as they are fetched over one connection, opened and verified.

Normative text: docs/spec/files.md, "Reading".
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import NamedTuple

from hushpost.client.transfers.carrier import Carrier
from hushpost.client.transfers.dialing import taken
from hushpost.client.transfers.uploading import told_digests
from hushpost.crypto.filekeys import PartDigests, PartNonce
from hushpost.crypto.filelayout import CHUNK, Part
from hushpost.crypto.filestream import PartOpener
from hushpost.crypto.offer import FileOffer
from hushpost.directio import aligned_buffer
from hushpost.errors import FileError
from hushpost.wire.limits import MAX_STATUS_PARTS
from hushpost.wire.messages import GetPart

TRIES = 3
"""For a part that does not open: what a disk or a line has spoilt may come whole the next time."""


@dataclass(frozen=True, slots=True)
class Source:
    """What all connections of a download share.

    Attributes:
        digests: as the offer vouches for them.
        moved: is told of the bytes that are verified; of a part that failed in the end, less than nothing.
    """

    offer: FileOffer
    digests: PartDigests
    moved: Callable[[int], None]


class Fetched(NamedTuple):
    """A part that is verified.

    Attributes:
        nonce: under which it was sealed.
        data: its true bytes, good until the next part.
    """

    part: Part
    nonce: PartNonce
    data: memoryview


Keep = Callable[[int, memoryview], Future[None]]
"""Begins to write bytes to their place in the file."""


class Fetch:
    """Fetches parts of one offered file over one connection. Its methods are for a thread.

    Args:
        keep: gets the true bytes of each part as they open. It may be that the rest does not, and that the
            part comes once more.
    """

    def __init__(self, source: Source, carrier: Carrier, keep: Keep | None = None) -> None:
        self._source = source
        self._carrier = carrier
        self._keep = keep
        self._buffer = aligned_buffer(source.offer.layout.part(0).chunks * CHUNK)

    def parts(self, waiting: deque[int]) -> Iterator[Fetched]:
        """One part after the other, each kept.

        Raises:
            FileError: one does not open, however often it is fetched.
            OSError: one could not be kept.
        """
        for part in map(self._source.offer.layout.part, taken(waiting)):
            yield Fetched(part, self._fetch(part), self._buffer[: part.true])

    def _fetch(self, part: Part) -> PartNonce:
        """A part; and again, where it does not open."""
        for _ in range(TRIES - 1):
            with contextlib.suppress(FileError):
                return self._once(part)
        return self._once(part)

    def _once(self, part: Part) -> PartNonce:
        source, done = self._source, 0
        offer = source.offer
        pieces = self._carrier.content(GetPart(0, bytes(offer.blob), bytes(offer.read), part.index))
        kept: list[Future[None]] = []
        opener = PartOpener(offer.key, offer.blob, part, self._buffer)
        try:
            for piece in pieces:
                count = sum(map(len, opener.feed(piece)))
                source.moved(count)
                if count and self._keep is not None:
                    kept.append(self._keep(part.offset + done, self._buffer[done : done + count]))
                done += count
            source.digests.confirm(part.index, opener.finish())
            for each in kept:
                each.result()
            return opener.nonce
        except FileError:
            source.moved(-done)
            for _ in pieces:  # what is still to come of it
                pass
            raise
        finally:
            wait(kept)  # the buffer is wanted again


def trusted_digests(carrier: Carrier, offer: FileOffer) -> PartDigests:
    """The server's list, as far as the offer vouches for it.

    Raises:
        FileError: FILE_DIGEST.
    """
    count, found = offer.layout.count, bytearray()
    for first in range(0, count, MAX_STATUS_PARTS):
        told = told_digests(carrier, offer.blob, offer.read, first, min(MAX_STATUS_PARTS, count - first))
        found += b"".join(told)
    return PartDigests.read(bytes(found), offer.layout, offer.digest)
