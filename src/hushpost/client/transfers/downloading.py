"""One download, from wherever it stands: parts fetched side by side, opened, verified, put in their places.

A part is written when all of it is verified, its digest as well, which is that of the list that the offer
vouches for; and only into a file of another name. Normative text: docs/spec/files.md, "Reading".
"""

from __future__ import annotations

import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

from hushpost.client.context import Context
from hushpost.client.store import Offered
from hushpost.client.threads import wait_until_ready
from hushpost.client.transfers.carrier import Carrier
from hushpost.client.transfers.dialing import crew, taken
from hushpost.client.transfers.partial import PartialFile
from hushpost.client.transfers.progress import Meter
from hushpost.client.transfers.uploading import told_digests
from hushpost.crypto.filekeys import PartDigests
from hushpost.crypto.filelayout import CHUNK, PART, Part
from hushpost.crypto.filestream import PartOpener
from hushpost.crypto.offer import FileOffer
from hushpost.directio import aligned_buffer
from hushpost.errors import FileError
from hushpost.wire.limits import MAX_STATUS_PARTS
from hushpost.wire.messages import GetPart

TRIES = 3
"""For a part that does not open: what a disk or a line has spoilt may come whole the next time."""

SYNC_PARTS = 16
"""Parts, 64 MB, between two times that the disk is waited for: what a power cut costs at most."""


class Fetch:
    """Fetches parts of one offered file. Its methods are for threads."""

    def __init__(self, offer: FileOffer, digests: PartDigests, moved: Callable[[int], None]) -> None:
        self.layout = offer.layout
        self._offer = offer
        self._digests = digests
        self._moved = moved

    def parts(self, carrier: Carrier, waiting: deque[int]) -> Iterator[tuple[Part, memoryview]]:
        """One part after the other, with its true bytes: verified, and good until the next.

        Each is asked for before the one in front of it is used, so that it comes meanwhile.

        Raises:
            FileError: one does not open, however often it is fetched.
        """
        buffer, numbers = aligned_buffer(self.layout.part(0).chunks * CHUNK), taken(waiting)
        number = next(numbers, None)
        if number is not None:
            carrier.ask_for(self._request(number))
        while number is not None:
            part = self.layout.part(number)
            self._fetch(carrier, part, buffer)
            number = next(numbers, None)
            if number is not None:
                carrier.ask_for(self._request(number))
            yield part, buffer[: part.true]

    def _fetch(self, carrier: Carrier, part: Part, buffer: memoryview) -> None:
        """What was asked for; and again, where it does not open."""
        for left in reversed(range(TRIES)):
            try:
                return self._once(part, carrier.content(), buffer)
            except FileError:
                if not left:
                    raise
            carrier.ask_for(self._request(part.index))
        return None

    def _request(self, number: int) -> GetPart:
        return GetPart(0, bytes(self._offer.blob), bytes(self._offer.read), number)

    def _once(self, part: Part, pieces: Iterator[memoryview], buffer: memoryview) -> None:
        opener, done = PartOpener(self._offer.key, self._offer.blob, part, buffer), 0
        try:
            for piece in pieces:
                count = sum(map(len, opener.feed(piece)))
                done += count
                self._moved(count)
            self._digests.confirm(part.index, opener.finish())
        except FileError:
            self._moved(-done)
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


class Downloader:
    """Fills a partial file.

    Args:
        have: the parts that are in it.
    """

    def __init__(
        self, ctx: Context, download: Offered, offer: FileOffer, file: PartialFile, have: frozenset[int]
    ) -> None:
        self._ctx = ctx
        self._download = download
        self._offer = offer
        self._file = file
        self._have = have
        self._unsynced: list[int] = []
        self._lock = threading.Lock()

    async def run(self, meter: Meter) -> None:
        """Until all of it is there, verified and durable. Again, it goes on where it was.

        Raises:
            FileError: the server does not have the file that was offered.
            Unreachable, RetryLater: later, perhaps.
            UnknownBlob: the server does not have it any more.
            OSError: the disk is full, or failed.
        """
        layout = self._offer.layout
        meter.starts(len(self._have) * PART, layout.size)
        waiting = deque(number for number in range(layout.count) if number not in self._have)
        async with crew(self._ctx) as hands:
            digests = await hands.one(lambda carrier: trusted_digests(carrier, self._offer))
            fetch = Fetch(self._offer, digests, meter.moved)
            await hands.each(partial(self._work, fetch=fetch, waiting=waiting))
            await hands.one(lambda _: self._file.sync())
        meter.check()

    def _work(self, carrier: Carrier, fetch: Fetch, waiting: deque[int]) -> None:
        for part, data in fetch.parts(carrier, waiting):
            self._file.write(part.offset, data)
            self._note(part.index)

    def _note(self, number: int) -> None:
        """It counts from now on; for longer than this system runs, when many were synced at once."""
        self._ctx.db.change_briefly(lambda t: t.downloads.written(self._download, number)).result()
        with self._lock:
            self._unsynced.append(number)
            if len(self._unsynced) < SYNC_PARTS:
                return
            numbers, self._unsynced = self._unsynced, []
        self._file.sync()
        self._ctx.db.change_soon(lambda t: t.downloads.synced(self._download, numbers)).result()


class Streamer:
    """Writes a file to a pipe, in order, each part when all of it is verified: nothing can be taken back.

    What has broken a run does not end it: the next one goes on behind the last byte that was written.
    """

    def __init__(self, ctx: Context, offer: FileOffer, handle: int) -> None:
        self._ctx = ctx
        self._offer = offer
        self._handle = handle
        is_file = stat.S_ISREG(os.fstat(handle).st_mode)
        self._piece = PART if is_file else select.PIPE_BUF  # more than that might wait for the reader
        self._written = 0
        self._turn = 0
        self._failed = False
        self._moved = threading.Condition()

    async def run(self, meter: Meter) -> None:
        """All of it. What was written when it fails is the file's beginning.

        Raises:
            As `Downloader.run`. OSError: nobody reads.
        """
        self._failed = False
        meter.starts(self._turn * PART, self._offer.size)
        waiting = deque(range(self._turn, self._offer.layout.count))
        async with crew(self._ctx) as hands:
            digests = await hands.one(lambda carrier: trusted_digests(carrier, self._offer))
            fetch = Fetch(self._offer, digests, meter.moved)
            await hands.each(partial(self._work, fetch=fetch, waiting=waiting))
        meter.check()

    def _work(self, carrier: Carrier, fetch: Fetch, waiting: deque[int]) -> None:
        try:
            for part, data in fetch.parts(carrier, waiting):
                self._write(carrier, part, data)
        except BaseException:
            with self._moved:
                self._failed = True
                self._moved.notify_all()
            raise

    def _write(self, carrier: Carrier, part: Part, data: memoryview) -> None:
        """When it is this part's turn. A reader that takes nothing keeps nobody from ending this."""
        with self._moved:
            self._moved.wait_for(lambda: self._turn == part.index or self._failed)
            if self._failed:
                return
        data = data[self._written - part.offset :] if data else data  # padding alone has no bytes
        while data:
            wait_until_ready(self._handle, select.POLLOUT, carrier.check)
            count = os.write(self._handle, data[: self._piece])
            data, self._written = data[count:], self._written + count
        with self._moved:
            self._turn += 1
            self._moved.notify_all()
