"""Blobs of parts: put, read, and what they cost."""

from __future__ import annotations

from blake3 import blake3

from hushpost.ids import AccountId, BlobId, TokenHash
from hushpost.stores.base import NewBlob, Parts, PartWriter, parts_of
from hushpost.wire.limits import PART_SIZE

from .conftest import Person, World

DAY = 86_400
READ = TokenHash(b"r" * 32)
RELEASES = TokenHash(b"1" * 32), TokenHash(b"2" * 32)
SMALL = b"a sealed part of few bytes"
FULL = bytes(range(256)) * (PART_SIZE // 256)
WHOLE = FULL + SMALL


def new_blob(size: int = len(WHOLE), releases: tuple[TokenHash, ...] = RELEASES) -> NewBlob:
    return NewBlob(BlobId.random(), size, READ, releases)


async def put(parts: Parts, blob: NewBlob, index: int, content: bytes, piece: int = 1 << 20) -> bool:
    """Put one part in pieces; False if it was there."""
    writer = await parts.begin_part(blob.id, index, blake3(content).digest(), len(content))
    if writer is None:
        return False
    for start in range(0, len(content), piece):
        await writer.write([memoryview(content)[start : start + piece]])
    await writer.finish()
    return True


async def write_all(writer: PartWriter, content: bytes) -> None:
    await writer.write([memoryview(content)])
    await writer.finish()


async def fill(parts: Parts, account: AccountId, content: bytes = SMALL) -> NewBlob:
    """A committed blob."""
    blob = new_blob(len(content))
    await parts.create(account, blob)
    for index in range(parts_of(len(content))):
        assert await put(parts, blob, index, content[index * PART_SIZE : (index + 1) * PART_SIZE])
    await parts.commit(account, blob.id, len(content))
    return blob


async def content_of(parts: Parts, blob: NewBlob, index: int = 0, piece: int = 1_000_003) -> bytes:
    """All of a part, read in pieces."""
    part = await parts.find_part(blob.id, READ, index)
    got, buffer = bytearray(), memoryview(bytearray(piece))
    while count := await parts.read_part(part, len(got), buffer):
        got += buffer[:count]
    assert len(got) == part.size
    assert blake3(got).digest() == part.digest
    return bytes(got)


async def sums(world: World, person: Person) -> str:
    usage = await world.store.account_usage(person.id)
    return usage["files-put"]
