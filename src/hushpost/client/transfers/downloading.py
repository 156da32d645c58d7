"""One download, from wherever it stands: parts fetched side by side, verified, put in their places.

Chunks are written as they open, only into a file of another name. A part counts when all of it is verified,
its digest as well, which is that of the list that the offer vouches for. That it is there is noted at once,
so that the end of this process takes nothing away, and with its nonce: the disk is told to keep what it was
given for many parts together, and whoever goes on seals again what it may not have kept. Normative text:
docs/spec/files.md, "Reading".
"""

from __future__ import annotations

import os
import select
import stat
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from hushpost.client.context import Context
from hushpost.client.store import Arrived, Offered, Tables
from hushpost.client.threads import Check, wait_until_ready
from hushpost.client.transfers.carrier import Carrier
from hushpost.client.transfers.dialing import crew
from hushpost.client.transfers.fetching import Fetch, Source, trusted_digests
from hushpost.client.transfers.partial import PartialFile
from hushpost.client.transfers.progress import Meter
from hushpost.client.transfers.sources import pieces_of
from hushpost.crypto.filekeys import PartDigests, PartNonce
from hushpost.crypto.filelayout import PART, SEALED_PART, Part
from hushpost.crypto.filestream import STEP, PartSealer
from hushpost.crypto.offer import FileOffer
from hushpost.directio import aligned_buffer

SYNCED_TOGETHER = 16
"""Parts: so many have to be looked at again when the system has ended, which takes a tenth of a second."""


class Downloader:
    """Fills a partial file.

    Args:
        arrived: the parts that are in it.
    """

    def __init__(
        self, ctx: Context, download: Offered, offer: FileOffer, file: PartialFile, arrived: Arrived
    ) -> None:
        self._ctx = ctx
        self._download = download
        self._offer = offer
        self._file = file
        self._arrived = arrived
        self._fresh: list[int] = []
        self._syncing = threading.Lock()

    async def run(self, meter: Meter) -> None:
        """Until all of it is there, verified and durable. Again, it goes on where it was.

        Raises:
            FileError: the server does not have the file that was offered.
            Unreachable, RetryLater: later, perhaps.
            UnknownBlob: the server does not have it any more.
            OSError: the disk is full, or failed.
        """
        layout = self._offer.layout
        have = self._arrived.synced | self._arrived.written.keys()
        meter.starts(len(have) * PART, layout.size)
        async with crew(self._ctx) as hands:
            digests = await hands.one(lambda carrier: trusted_digests(carrier, self._offer))
            lost = await hands.one(lambda carrier: self._look_again(digests, carrier.check))
            meter.moved(-len(lost) * PART)
            have -= lost
            waiting = deque(number for number in range(layout.count) if number not in have)
            source = Source(self._offer, digests, meter.moved)
            await hands.each(partial(self._work, source=source, waiting=waiting))
            await hands.one(lambda _: self._sync())
        meter.check()

    def _look_again(self, digests: PartDigests, check: Check) -> set[int]:
        """Those parts that were written, and are not what they were."""
        offer, lost = self._offer, set()
        sealer = PartSealer(offer.key, offer.blob)
        plain, sealed = aligned_buffer(STEP), aligned_buffer(SEALED_PART)
        for number, nonce in self._arrived.written.items():
            check()
            part = offer.layout.part(number)
            pieces = pieces_of(part, self._file.read, plain)
            if sealer.seal(part, pieces, sealed[: part.sealed_size], nonce) != digests[number]:
                lost.add(number)
        self._fresh += self._arrived.written.keys() - lost
        self._ctx.db.change_soon(lambda t: t.downloads.lost(self._download, lost)).result()
        return lost

    def _work(self, carrier: Carrier, source: Source, waiting: deque[int]) -> None:
        """A part is written while the rest of it comes; the next is asked for when it is noted."""
        with ThreadPoolExecutor(1, thread_name_prefix="hush-writes") as writer:

            def keep(offset: int, data: memoryview) -> Future[None]:
                return writer.submit(self._file.write, offset, data)

            for part, nonce, _ in Fetch(source, carrier, keep).parts(waiting):
                self._ctx.db.note_soon(partial(_written, self._download, part.index, nonce)).result()
                with self._syncing:  # a disk tells an error once, and only one who asks
                    self._fresh.append(part.index)
                    if len(self._fresh) >= SYNCED_TOGETHER:
                        self._sync()

    def _sync(self) -> None:
        """The disk has everything that was written, even if it is pulled out now."""
        fresh, self._fresh = self._fresh, []
        self._file.sync()
        self._ctx.db.change_soon(lambda t: t.downloads.synced(self._download, fresh)).result()


def _written(download: Offered, number: int, nonce: PartNonce, t: Tables) -> None:
    t.downloads.written(download, number, nonce)


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
            for part, _, data in Fetch(source, carrier).parts(waiting):
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
