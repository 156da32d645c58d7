"""One upload, from wherever it stands: parts sealed by threads, each under a digest that we keep.

The server's list of parts decides what is still to be sent, and at last what is committed; but only digests
of our own count. Normative text: docs/spec/files.md, "Sending".
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial

from hushpost.client.context import Context
from hushpost.client.store import Attempt, Upload
from hushpost.client.transfers.carrier import Carrier
from hushpost.client.transfers.dialing import Crew, crew, taken
from hushpost.client.transfers.progress import Meter
from hushpost.client.transfers.sealed import PartSource
from hushpost.crypto.filekeys import FileDigest, PartDigest, ReadToken
from hushpost.crypto.filelayout import PART, FileLayout, Part
from hushpost.directio import aligned_buffer
from hushpost.errors import BlobConflict, ProtocolError, UnknownBlob
from hushpost.ids import BlobId
from hushpost.wire.limits import MAX_STATUS_PARTS
from hushpost.wire.messages import (
    BlobCommitted,
    BlobCreated,
    BlobStatus,
    CommitBlob,
    CreateBlob,
    GetBlobStatus,
    PutPart,
)

ROUNDS = 3
"""How often the server is given what it lacks before it is believed to be unable to keep it."""


class ForeignPart(ProtocolError):
    """The server holds a part that we never made."""


class Uploader:
    """Brings one attempt to the server.

    Args:
        source: gives each part sealed, with a digest that is in the database already.
    """

    def __init__(self, ctx: Context, upload: Upload, source: PartSource, meter: Meter) -> None:
        self._ctx = ctx
        self._attempt = upload.attempt
        self._source = source
        self._meter = meter

    async def run(self, layout: FileLayout) -> FileDigest:
        """Until the server has committed all of it. Again, it goes on where it was.

        Raises:
            SourceChanged: the source is not what it was.
            Unreachable, StoreFull, RetryLater: later, perhaps.
            ForeignPart: only with another attempt.
            HushpostError: a refusal that nothing mends.
        """
        async with crew(self._ctx) as hands:
            await hands.one(lambda carrier: announce(carrier, self._attempt, layout.sealed_size))
            for _ in range(ROUNDS):
                missing = await self._missing(hands, layout)
                if not missing:
                    return await self._commit(hands, layout)
                await self.send(hands, layout, missing)
        raise ProtocolError("the server does not keep what it is given")

    async def send(self, hands: Crew, layout: FileLayout, numbers: Iterable[int]) -> None:
        """These parts, by all hands."""
        waiting = deque(numbers)
        await hands.each(partial(self._work, layout=layout, waiting=waiting))
        self._meter.check()

    def _work(self, carrier: Carrier, layout: FileLayout, waiting: deque[int]) -> None:
        """A part is sealed and noted while the server brings the one before to its disk."""
        buffer = aligned_buffer(layout.part(0).sealed_size)
        sent: Part | None = None
        for part in map(layout.part, taken(waiting)):
            data = buffer[: part.sealed_size]
            digest, kept = self._source.sealed(part, data)
            if sent:
                self._settle(carrier, sent)
            kept.result()
            request = PutPart(0, bytes(self._attempt.blob), part.index, bytes(digest))
            carrier.put(request, data, partial(self._moved, part))
            sent = part
        if sent:
            self._settle(carrier, sent)

    def _settle(self, carrier: Carrier, sent: Part) -> None:
        try:
            carrier.settle()
        except BlobConflict:
            self._moved(sent, -sent.sealed_size)  # another of ours came after all

    def _moved(self, part: Part, count: int) -> None:
        """So many sealed bytes of a part, which are somewhat fewer of the file."""
        self._meter.moved(count * part.true // part.sealed_size)

    async def _missing(self, hands: Crew, layout: FileLayout) -> list[int]:
        """The parts that the server does not have.

        Raises:
            ForeignPart.
        """
        missing: list[int] = []
        for first in range(0, layout.count, MAX_STATUS_PARTS):
            held = await self._held(hands, layout, first)
            missing += (first + at for at, digest in enumerate(held) if not digest)
        self._meter.starts((layout.count - len(missing)) * PART, layout.size)
        return missing

    async def _held(self, hands: Crew, layout: FileLayout, first: int) -> Sequence[bytes]:
        """The digests of some parts as the server has them; nothing for one that it lacks."""
        count = min(MAX_STATUS_PARTS, layout.count - first)
        blob, read = self._attempt.blob, self._attempt.read
        held = await hands.one(lambda carrier: told_digests(carrier, blob, read, first, count))
        ours = await self._ctx.db.reading(lambda t: t.uploads.parts(blob, first, count))
        if any(digest and digest not in ours.get(first + at, ()) for at, digest in enumerate(held)):
            raise ForeignPart("the server holds something else than was sent")
        return held

    async def _commit(self, hands: Crew, layout: FileLayout) -> FileDigest:
        """Nothing of it changes behind this; what it holds then is what is offered."""
        attempt = self._attempt
        await asyncio.to_thread(self._source.check)
        commit = CommitBlob(0, bytes(attempt.blob), layout.sealed_size)
        await hands.one(lambda carrier: carrier.ask(commit, BlobCommitted))
        parts: list[PartDigest] = []
        for first in range(0, layout.count, MAX_STATUS_PARTS):
            held = await self._held(hands, layout, first)
            if not all(held):
                raise ProtocolError("the server has committed a blob that lacks parts")
            parts += map(PartDigest, held)
        return FileDigest.of(layout.size, parts)


def announce(carrier: Carrier, attempt: Attempt, sealed_size: int) -> None:
    """There will be a blob of so many bytes, unless there is one already."""
    with contextlib.suppress(UnknownBlob):
        told_digests(carrier, attempt.blob, attempt.read, 0, 1)
        return
    hashes = bytes(attempt.read.hash), [bytes(attempt.release.hash)]
    carrier.ask(CreateBlob(0, bytes(attempt.blob), sealed_size, *hashes), BlobCreated)


def told_digests(carrier: Carrier, blob: BlobId, read: ReadToken, first: int, count: int) -> list[bytes]:
    """What the server has of these parts; it may tell fewer at once.

    Raises:
        ProtocolError: it tells none.
    """
    found: list[bytes] = []
    while len(found) < count:
        asked = first + len(found), count - len(found)
        request = GetBlobStatus(0, bytes(blob), bytes(read), *asked)
        told = carrier.ask(request, BlobStatus).digests[: asked[1]]
        if not told:
            raise ProtocolError("the server tells nothing of the blob's parts")
        found += told
    return found
