"""The reference implementation of `base.Parts`: the guarantees in their plainest form, for tests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from blake3 import blake3

from hushpost.errors import BadDigest, BlobConflict, BlobIncomplete, UnknownBlob
from hushpost.ids import AccountId, BlobId, TokenHash
from hushpost.stores import blobrules
from hushpost.stores.base import (
    UNFINISHED_SECONDS,
    BlobState,
    NewBlob,
    PartWriter,
    StoredPart,
    StoreLimits,
    parts_of,
)
from hushpost.stores.blobrules import DAY, charge
from hushpost.wire.limits import PART_SIZE

ENDLESS = 1 << 60
"""Bytes of a disk that is never full."""


@dataclass(slots=True)
class _Blob:
    new: NewBlob
    size: int
    day: int
    ends: int
    committed: bool = False
    parts: dict[int, bytes] = field(default_factory=dict)
    shown: set[bytes] = field(default_factory=set)

    @property
    def received(self) -> int:
        return sum(map(len, self.parts.values()))


class MemoryParts:
    """`base.Parts` in memory.

    Args:
        check_account: raises `UnknownAccount`.
    """

    def __init__(self, limits: StoreLimits, check_account: Callable[[AccountId], None]) -> None:
        self._limits = limits
        self._check_account = check_account
        self._blobs: dict[BlobId, _Blob] = {}
        self._sums: Counter[tuple[AccountId, int]] = Counter()
        self._writers: dict[tuple[BlobId, int], _Writer] = {}
        self._seconds = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._blobs)

    @property
    def received(self) -> int:
        """Bytes of all parts."""
        return sum(each.received for each in self._blobs.values())

    @property
    def unfinished(self) -> int:
        """How many are not committed."""
        return sum(not each.committed for each in self._blobs.values())

    def sums(self, account: AccountId) -> dict[int, int]:
        """What an account has put, by the day on which it goes."""
        return {day: size for (whose, day), size in self._sums.items() if whose == account and size}

    def forget_sums(self, account: AccountId) -> None:
        """It has left."""
        self._sums = Counter({key: size for key, size in self._sums.items() if key[0] != account})

    def tidy(self, seconds: int) -> None:
        """So much time went by."""
        self._seconds += seconds
        self._blobs = {blob: each for blob, each in self._blobs.items() if each.ends > self._seconds}
        today = self._seconds // DAY
        self._sums = Counter({key: size for key, size in self._sums.items() if key[1] > today})

    async def create(self, account: AccountId, blob: NewBlob) -> None:
        self._check_account(account)
        found = self._blobs.get(blob.id)
        if found and (found.new.read, set(found.new.releases)) != (blob.read, set(blob.releases)):
            raise BlobConflict("there is another blob of this id")
        if found and (found.committed or blob.size <= found.size):
            return
        had = found.size if found else 0
        day = found.day if found else blobrules.last_day(self._limits, self._seconds)
        charged = charge(blob.size) - (charge(had) if found else 0)
        blobrules.check_quota(self._limits, sum(self.sums(account).values()), charged, self._seconds)
        total = sum(each.size for each in self._blobs.values())
        blobrules.check_room(self._limits, total, 0, blob.size - had, ENDLESS)
        self._sums[account, day] += charged
        if found:
            found.size = blob.size
        else:
            self._blobs[blob.id] = _Blob(blob, blob.size, day, self._seconds + UNFINISHED_SECONDS)

    async def begin_part(self, blob: BlobId, index: int, digest: bytes, size: int) -> PartWriter | None:
        if other := self._writers.pop((blob, index), None):
            await other.abandon()
        found = self._find(blob)
        known = found.parts.get(index)
        if known is not None and blake3(known).digest() == digest:
            return None
        if known is not None or found.committed:
            raise BlobConflict("another part is there")
        if not 0 < size <= PART_SIZE or index * PART_SIZE + size > found.size:
            raise BlobIncomplete("the part does not fit into the blob")
        writer = self._writers[blob, index] = _Writer(self, blob, index, digest, size)
        return writer

    def keep(self, blob: BlobId, index: int, content: bytes) -> None:
        """For `_Writer`: the part is whole."""
        found = self._find(blob)
        found.parts[index] = content
        found.ends = self._seconds + UNFINISHED_SECONDS

    async def commit(self, account: AccountId, blob: BlobId, size: int) -> None:
        found = self._find(blob)
        if found.committed:
            if found.size != size:
                raise BlobConflict("the blob is committed with another size")
            return
        count = parts_of(size)
        sizes = [PART_SIZE] * (count - 1) + [size - (count - 1) * PART_SIZE]
        if {index: len(part) for index, part in found.parts.items()} != dict(enumerate(sizes)):
            raise BlobIncomplete("parts are missing, or not of the size that they should have")
        self._take_off(account, found)
        found.committed, found.size = True, size
        found.day = blobrules.last_day(self._limits, self._seconds)
        found.ends = found.day * DAY
        self._sums[account, found.day] += charge(size)

    def _take_off(self, account: AccountId, found: _Blob) -> None:
        key = account, found.day
        self._sums[key] = max(0, self._sums[key] - charge(found.size))

    async def release(self, account: AccountId, blob: BlobId, tokens: Sequence[TokenHash]) -> int:
        found = self._find(blob)
        found.shown |= blobrules.matching(found.new.releases, tokens)
        left = len(found.new.releases) - len(found.shown)
        if not left:
            if not found.committed:
                self._take_off(account, found)
            del self._blobs[blob]
        return left

    async def state(self, blob: BlobId, read: TokenHash, first: int, limit: int) -> BlobState:
        found = self._find(blob)
        blobrules.check_token(found.new.read, read)
        asked = range(first, min(first + limit, parts_of(found.size)))
        digests = [blake3(found.parts[k]).digest() if k in found.parts else None for k in asked]
        return BlobState(found.size, len(found.parts), found.committed, tuple(digests))

    async def find_part(self, blob: BlobId, read: TokenHash, index: int) -> StoredPart:
        found = self._find(blob)
        blobrules.check_token(found.new.read, read)
        if not found.committed or index not in found.parts:
            raise UnknownBlob("there is no such part")
        content = found.parts[index]
        return StoredPart(blob, index, len(content), blake3(content).digest())

    async def read_part(self, part: StoredPart, offset: int, buffer: memoryview) -> int:
        content = self._find(part.blob).parts[part.index][offset:]
        size = min(len(content), len(buffer))
        buffer[:size] = content[:size]
        return size

    def _find(self, blob: BlobId) -> _Blob:
        if blob not in self._blobs:
            raise UnknownBlob("there is no such blob")
        return self._blobs[blob]


class _Writer:
    """`base.PartWriter`."""

    def __init__(self, parts: MemoryParts, blob: BlobId, index: int, digest: bytes, size: int) -> None:
        self._parts = parts
        self._blob = blob
        self._index = index
        self._digest = digest
        self._size = size
        self._content = bytearray()
        self._over = False

    async def write(self, pieces: Iterable[memoryview]) -> None:
        self._check()
        await asyncio.to_thread(self._take, pieces)

    def _take(self, pieces: Iterable[memoryview]) -> None:
        for piece in pieces:
            self._content += piece
        if len(self._content) > self._size:
            raise BadDigest("the part is longer than was announced")

    async def finish(self) -> None:
        self._check()
        self._over = True
        if len(self._content) != self._size or blake3(self._content).digest() != self._digest:
            raise BadDigest("the part is not what its digest says")
        self._parts.keep(self._blob, self._index, bytes(self._content))

    async def abandon(self) -> None:
        self._over = True

    def _check(self) -> None:
        if self._over:
            raise BlobConflict("another connection has begun to put this part")
