"""Run by test_parts_crash: announces, puts, commits and releases blobs, without end, until it is killed.

What it says, a line each, when it was answered: `created BLOB COUNT`, `put BLOB INDEX`, `committed BLOB`,
`released BLOB`; and before that, `releasing BLOB`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import uvloop
from blake3 import blake3

from hushpost.errors import BlobConflict, IdTaken, NameTaken
from hushpost.ids import AccountId, BlobId, DeviceId, TokenHash
from hushpost.stores.base import NewAccount, NewBlob, Parts, SealKey, StoreLimits
from hushpost.stores.post.sqlite import SqlitePost
from hushpost.wire.limits import PART_SIZE

LIMITS = StoreLimits(min_free_bytes=0, blob_free_bytes=0, blob_quota=1 << 60)
ACCOUNT = AccountId(bytes(16))
TOKEN = TokenHash(bytes(32))
LAST = 5_000
"""Bytes of the last part; so one of a single part is small, and most of them are."""

KEPT = 12
"""Blobs of one worker, of which the oldest is released when there is another."""


def content(blob: BlobId, index: int, count: int) -> bytes:
    """Known from its place, and like no other part's."""
    size = LAST if index == count - 1 else PART_SIZE
    return (sha256(blob + bytes([index])).digest() * (size // 32 + 1))[:size]


def new_blob(blob: BlobId, count: int) -> NewBlob:
    return NewBlob(blob, (count - 1) * PART_SIZE + LAST, TOKEN, (TOKEN,))


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def put(parts: Parts, blob: BlobId, index: int, count: int) -> bool:
    """False if it was there."""
    data = memoryview(content(blob, index, count))
    writer = await parts.begin_part(blob, index, blake3(data).digest(), len(data))
    if writer is None:
        return False
    for start in range(0, len(data), 1 << 20):
        await writer.write([data[start : start + (1 << 20)]])
    await writer.finish()
    return True


async def work(parts: Parts, worker: int) -> None:
    blobs: list[BlobId] = []
    for number in itertools.count():
        blob, count = BlobId.random(), 1 + (number + worker) % 3 * (number % 4 == 0)
        await parts.create(ACCOUNT, new_blob(blob, count))
        say("created", blob, count)
        for index in reversed(range(count)):
            await put(parts, blob, index, count)
            say("put", blob, index)
        if number % 5 == 4:
            continue
        await parts.commit(ACCOUNT, blob, new_blob(blob, count).size)
        say("committed", blob)
        blobs.append(blob)
        if len(blobs) > KEPT:
            gone = blobs.pop(0)
            say("releasing", gone)
            await parts.release(ACCOUNT, gone, [TOKEN])
            say("released", gone)


async def opened(folder: Path) -> SqlitePost:
    store = await SqlitePost.open(folder / "post.db", LIMITS)
    account = NewAccount(
        ACCOUNT, "name", b"manifest 1", DeviceId(bytes(16)), SealKey(1, b"s"), (), b"f", TokenHash(bytes(32))
    )
    with suppress(NameTaken, IdTaken, BlobConflict):
        await store.enroll(account, None)
    return store


async def main(folder: Path) -> None:
    store = await opened(folder)
    await asyncio.gather(*(work(store.parts, worker) for worker in range(6)))


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
