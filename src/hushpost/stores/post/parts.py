"""`base.Parts` on the database of a version-3 server and a folder beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from functools import partial
from typing import TypeVar

import structlog

from hushpost import sql
from hushpost.errors import BadDigest, BlobConflict, BlobMissing, UnknownBlob
from hushpost.ids import AccountId, BlobId, TokenHash
from hushpost.stores import blobrules
from hushpost.stores.base import BlobState, NewBlob, PartWriter, StoredPart, parts_of
from hushpost.stores.engine import Engine
from hushpost.stores.post import blobs
from hushpost.stores.post.partfiles import LostPart, PartDigester, PartFiles, extent
from hushpost.stores.post.tables import PostTables

log = structlog.get_logger()

T = TypeVar("T")
Place = tuple[BlobId, int]


class PostParts:
    """`base.Parts`. Made by `SqlitePost`, used by one event loop."""

    def __init__(self, engine: Engine[PostTables], files: PartFiles) -> None:
        self._engine = engine
        self._submit = engine.writer.submit
        self._query = engine.query
        self._files = files
        self._writers: dict[Place, _Writer] = {}

    # Before serving, and from time to time

    async def recover(self) -> None:
        """Finish what a crash interrupted. Forget what lost its content, and remove what nobody knows."""
        await self._files.remove_gone()
        sizes = await self._files.sizes()
        rows = await self._query(_all)
        known = {blob for blob, _ in rows}
        for blob in sizes.keys() - known:
            await self._files.remove(blob)
        lost = [blob for blob, size in rows if sizes.get(blob, -1) < size]
        await self._submit(lambda tables: blobs.lose(tables, lost))
        await self._remove_going()

    async def tidy(self) -> None:
        """Take away what has been there for long enough."""
        more = True
        while more:
            more = await self._submit(blobs.expire_some)
        await self._remove_going()

    async def _remove_going(self) -> None:
        """First the content, then the row: until that is gone, nobody can make a blob of this id."""
        for blob in await self._query(_going):
            await self._files.remove(blob)
            more = True
            while more:
                more = await self._submit(partial(blobs.remove_some, blob=blob))

    def close(self) -> None:
        """No call may follow."""
        self._files.close()

    # Writing

    async def create(self, account: AccountId, blob: NewBlob) -> None:
        free = await asyncio.to_thread(self._files.room)
        await self._submit(lambda tables: blobs.create(tables, account, blob, free), grows=True)
        # A crash in between leaves a row without content, which the next start forgets.
        await self._files.create(blob.id)

    async def begin_part(self, blob: BlobId, index: int, digest: bytes, size: int) -> PartWriter | None:
        place = (blob, index)
        while (other := self._writers.get(place)) is not None:
            await other.abandon()
        writer = self._writers[place] = _Writer(self, place, digest, size)
        try:
            known = await self._query(lambda db: blobs.is_there(db, blob, index, digest, size))
        except BaseException:
            self.forget(place, writer)
            raise
        if known:
            self.forget(place, writer)
            return None
        return writer

    async def store(self, place: Place, pieces: Iterable[memoryview], to: PartDigester) -> None:
        """For `_Writer`: write the next pieces of a part; with the last of them it is durable."""
        try:
            await _known(self._files.write(*place, pieces, to))
        except LostPart as failure:
            self._engine.writer.fail(failure)
            raise

    async def note(self, place: Place, digest: bytes, size: int) -> None:
        """For `_Writer`: make the part count."""
        blob, index = place
        await self._submit(lambda tables: blobs.note_part(tables, blob, index, digest, size), grows=True)

    def forget(self, place: Place, writer: _Writer) -> None:
        """For `_Writer`: it has ended."""
        if self._writers.get(place) is writer:
            del self._writers[place]

    async def commit(self, account: AccountId, blob: BlobId, size: int) -> None:
        await self._submit(lambda tables: blobs.commit(tables, account, blob, size))

    async def release(self, account: AccountId, blob: BlobId, tokens: Sequence[TokenHash]) -> int:
        left = await self._submit(lambda tables: blobs.release(tables, account, blob, tokens))
        if not left:
            await self._remove_going()
        return left

    # Reading

    async def state(self, blob: BlobId, read: TokenHash, first: int, limit: int) -> BlobState:
        return await self._query(lambda db: _state(db, blob, read, first, limit))

    async def find_part(self, blob: BlobId, read: TokenHash, index: int) -> StoredPart:
        def look(db: sql.Connection) -> StoredPart:
            part = _find_part(db, blob, read, index)
            if not self._files.has(part):
                log.error("the content of a file is gone from the disk")
                raise UnknownBlob("there is no such part")
            return part

        return await self._query(look)

    async def read_part(self, part: StoredPart, offset: int, buffer: memoryview) -> int:
        return await _known(self._files.read(part, offset, buffer))


class _Writer:
    """`base.PartWriter`."""

    def __init__(self, parts: PostParts, place: Place, digest: bytes, size: int) -> None:
        self._parts = parts
        self._place = place
        self._digest = digest
        self._size = size
        self._digester = PartDigester(size)
        self._working = asyncio.Lock()
        self._over = False

    async def write(self, pieces: Iterable[memoryview]) -> None:
        async with self._working:
            self._check()
            await self._parts.store(self._place, pieces, self._digester)

    async def finish(self) -> None:
        async with self._working:
            self._check()
            try:
                if not self._digester.whole or self._digester.digest() != self._digest:
                    raise BadDigest("the part is not what its digest says")
                await self._parts.note(self._place, self._digest, self._size)
            finally:
                self._end()

    async def abandon(self) -> None:
        async with self._working:  # nothing of it may be written after what a later writer writes
            self._end()

    def _check(self) -> None:
        if self._over:
            raise BlobConflict("another connection has begun to put this part")

    def _end(self) -> None:
        self._over = True
        self._parts.forget(self._place, self)


async def _known(work: Awaitable[T]) -> T:
    """A content that is gone is that of a blob that is gone."""
    try:
        return await work
    except BlobMissing:
        raise UnknownBlob("there is no such blob") from None


def _all(db: sql.Connection) -> list[tuple[BlobId, int]]:
    """All blobs, and how long their files are at least."""
    rows = db.execute("SELECT id, iif(committed, size, 0) FROM blob WHERE ends <> ?", (blobs.GOING,))
    known = [(BlobId(raw), extent(size)) for raw, size in rows]
    return known + [(blob, -1) for blob in _going(db)]


def _going(db: sql.Connection) -> list[BlobId]:
    rows = db.execute("SELECT id FROM blob WHERE ends = ?", (blobs.GOING,))
    return [BlobId(raw) for (raw,) in rows]


def _state(db: sql.Connection, blob: BlobId, read: TokenHash, first: int, limit: int) -> BlobState:
    row = blobs.find(db, blob)
    blobrules.check_token(row.read_hash, read)
    digests: list[bytes | None] = [None] * max(0, min(limit, parts_of(row.size) - first))
    rows = db.execute(
        "SELECT number, digest FROM blob_part WHERE blob = ? AND number >= ? AND number < ?",
        (row.number, first, first + len(digests)),
    )
    for number, digest in rows:
        digests[number - first] = digest
    return BlobState(row.size, row.present, bool(row.committed), tuple(digests))


def _find_part(db: sql.Connection, blob: BlobId, read: TokenHash, index: int) -> StoredPart:
    row = blobs.find(db, blob)
    blobrules.check_token(row.read_hash, read)
    found = db.execute(
        "SELECT size, digest FROM blob_part WHERE blob = ? AND number = ?", (row.number, index)
    ).fetchone()
    if not row.committed or found is None:
        raise UnknownBlob("there is no such part")
    return StoredPart(blob, index, *found)
