"""Parts of a file as they are fetched over one connection, opened and verified.

Normative text: docs/spec/files.md, "Reading".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
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


class Fetch:
    """Fetches parts of one offered file over one connection. Its methods are for a thread.

    Args:
        ahead: ask for a part before the one in front of it is used, so that it comes meanwhile. Not where
            that may take long: a server ends a connection that reads nothing.
    """

    def __init__(self, source: Source, carrier: Carrier, *, ahead: bool) -> None:
        self._source = source
        self._carrier = carrier
        self._ahead = ahead
        self._buffer = aligned_buffer(source.offer.layout.part(0).chunks * CHUNK)

    def parts(self, waiting: deque[int]) -> Iterator[Fetched]:
        """One part after the other.

        Raises:
            FileError: one does not open, however often it is fetched.
        """
        numbers = taken(waiting)
        number = next(numbers, None)
        self._ask(number)
        while number is not None:
            part = self._source.offer.layout.part(number)
            nonce = self._fetch(part)
            if self._ahead:
                self._ask(number := next(numbers, None))
            yield Fetched(part, nonce, self._buffer[: part.true])
            if not self._ahead:
                self._ask(number := next(numbers, None))

    def _ask(self, number: int | None) -> None:
        if number is not None:
            offer = self._source.offer
            self._carrier.ask_for(GetPart(0, bytes(offer.blob), bytes(offer.read), number))

    def _fetch(self, part: Part) -> PartNonce:
        """What was asked for; and again, where it does not open."""
        for _ in range(TRIES - 1):
            try:
                return self._once(part)
            except FileError:
                self._ask(part.index)
        return self._once(part)

    def _once(self, part: Part) -> PartNonce:
        source, done = self._source, 0
        opener = PartOpener(source.offer.key, source.offer.blob, part, self._buffer)
        pieces = self._carrier.content()
        try:
            for piece in pieces:
                count = sum(map(len, opener.feed(piece)))
                done += count
                source.moved(count)
            source.digests.confirm(part.index, opener.finish())
            return opener.nonce
        except FileError:
            source.moved(-done)
            for _ in pieces:  # what is still to come of a part that failed
                pass
            raise


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
