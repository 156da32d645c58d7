"""A file as its owner knows it, and a server with a disk, for tests of blobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from blake3 import blake3

from hushpost.ids import BlobId, FixedBytes
from hushpost.server.identity import ServerIdentity
from hushpost.stores.base import PostOffice, StoreLimits, parts_of
from hushpost.stores.post.sqlite import SqlitePost
from hushpost.wire.limits import PART_SIZE
from hushpost.wire.messages import (
    BlobCommitted,
    BlobCreated,
    CommitBlob,
    CreateBlob,
    GetBlobStatus,
    GetPart,
    PartContent,
    PartPut,
    PutPart,
    ReleaseBlob,
)
from tests.crypto.people import ALICE, BOB
from tests.server.serving import Client, Keeper, Served, serving, settings


class Token(FixedBytes):
    """What a blob is read or released with."""

    __slots__ = ()
    SIZE = 32

    @property
    def hash(self) -> bytes:
        return sha256(self).digest()


def noise(size: int) -> bytes:
    """The same bytes every time, of which no part is like another."""
    return b"".join(sha256(b"%d" % number).digest() for number in range(-(-size // 32)))[:size]


@dataclass
class File:
    """Sealed parts, and tokens for two recipients."""

    content: bytes
    blob: BlobId = field(default_factory=BlobId.random)
    read: Token = field(default_factory=Token.random)
    releases: tuple[Token, ...] = field(default_factory=lambda: (Token.random(), Token.random()))

    @property
    def count(self) -> int:
        return parts_of(len(self.content))

    def part(self, index: int) -> bytes:
        return self.content[index * PART_SIZE : (index + 1) * PART_SIZE]

    def create(self, size: int | None = None) -> CreateBlob:
        size = len(self.content) if size is None else size
        return CreateBlob(0, self.blob, size, self.read.hash, [each.hash for each in self.releases])

    def put(self, index: int, digest: bytes | None = None) -> PutPart:
        return PutPart(0, self.blob, index, digest or blake3(self.part(index)).digest())

    def commit(self, size: int | None = None) -> CommitBlob:
        return CommitBlob(0, self.blob, len(self.content) if size is None else size)

    def status(self, token: bytes | None = None, first: int = 0, limit: int = 1_000_000) -> GetBlobStatus:
        return GetBlobStatus(0, self.blob, token or self.read, first, limit)

    def get(self, index: int, offset: int = 0, token: bytes | None = None) -> GetPart:
        return GetPart(0, self.blob, token or self.read, index, offset)

    def release(self, *tokens: bytes) -> ReleaseBlob:
        return ReleaseBlob(0, self.blob, list(tokens or self.releases))

    def parts(self) -> Iterator[tuple[PutPart, bytes]]:
        for index in range(self.count):
            yield self.put(index), self.part(index)

    async def upload(self, client: Client) -> None:
        """All of it, one part after the other."""
        await client.expect(BlobCreated, self.create())
        for request, data in self.parts():
            assert isinstance(await client.put(request, data), PartPut)
        await client.expect(BlobCommitted, self.commit())

    async def download(self, client: Client) -> bytes:
        """All of it."""
        got = b""
        for index in range(self.count):
            answer = await client.expect(PartContent, self.get(index))
            assert answer.size == len(client.data) == len(self.part(index))
            assert answer.digest == blake3(client.data).digest()
            got += client.data
        return got


TWO_AND_A_BIT = noise(2 * PART_SIZE + 70_001)


@asynccontextmanager
async def on_disk(
    folder: Path, limits: StoreLimits | None = None, **changes: object
) -> AsyncIterator[tuple[Served, tuple[Keeper, Client], tuple[Keeper, Client]]]:
    """A server that keeps what it keeps on the disk, with alice and bob."""
    await asyncio.to_thread(ServerIdentity.open, folder, int(time.time()))
    store = await SqlitePost.open(folder / "post.db", limits or StoreLimits(min_free_bytes=0))

    def opened() -> PostOffice:
        return store

    alice, bob = Keeper.of(ALICE), Keeper.of(BOB)
    async with (
        serving(settings(folder, **changes), make_store=opened) as served,
        await served.enroll(alice) as one,
        await served.enroll(bob) as other,
    ):
        yield served, (alice, one), (bob, other)
