"""One download, from wherever it stands: parts fetched side by side, verified, put in their places.

A part is written when all of it is verified, its digest as well, which is that of the list that the offer
vouches for; and only into a file of another name. Normative text: docs/spec/files.md, "Reading".
"""

from __future__ import annotations

import os
import select
import stat
import threading
from collections import deque
from functools import partial

from hushpost.client.context import Context
from hushpost.client.store import Offered, Tables
from hushpost.client.threads import wait_until_ready
from hushpost.client.transfers.carrier import Carrier
from hushpost.client.transfers.dialing import crew
from hushpost.client.transfers.fetching import Fetch, Source, trusted_digests
from hushpost.client.transfers.partial import PartialFile
from hushpost.client.transfers.progress import Meter
from hushpost.crypto.filelayout import PART, Part
from hushpost.crypto.offer import FileOffer


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
            source = Source(self._offer, digests, meter.moved)
            await hands.each(partial(self._work, source=source, waiting=waiting))
        meter.check()

    def _work(self, carrier: Carrier, source: Source, waiting: deque[int]) -> None:
        for part, data in Fetch(source, carrier, ahead=True).parts(waiting):
            self._file.write(part.offset, data)
            self._file.sync()  # what counts must be there, even if this disk is pulled out or fails
            self._ctx.db.change_soon(partial(_note, self._download, part.index)).result()


def _note(download: Offered, number: int, t: Tables) -> None:
    t.downloads.written(download, number)


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
            source = Source(self._offer, digests, meter.moved)
            await hands.each(partial(self._work, source=source, waiting=waiting))
        meter.check()

    def _work(self, carrier: Carrier, source: Source, waiting: deque[int]) -> None:
        try:
            for part, data in Fetch(source, carrier, ahead=False).parts(waiting):
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
