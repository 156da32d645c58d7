"""Run by test_full_disk on a tiny file system of its own: fills it, and says what each step came to."""

from __future__ import annotations

import asyncio
import errno
import json
import sys
from collections.abc import Awaitable
from pathlib import Path

from hushpost.errors import StoreError
from hushpost.ids import AccountId, BlobId, MailboxId
from hushpost.stores.base import Account, Delivery, Send, StoreLimits
from hushpost.stores.blobfiles import FileBlobs
from hushpost.stores.sqlite import SqliteStore

PIECE = bytes(100_000)

ROOM = 100 << 20
"""Bytes that are taken at first and given back at the end."""

EVERYTHING = 1 << 40


async def outcome(attempt: Awaitable[object]) -> str:
    try:
        await attempt
    except StoreError as refused:
        return type(refused).__name__
    return "done"


def fill(path: Path, up_to: int) -> None:
    """Grow this file to so many bytes, or until not a byte is left."""
    size = 1 << 20
    with path.open("ab", buffering=0) as file:
        while size and file.tell() < up_to:
            try:
                file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 2


async def until_refused(store: SqliteStore, box: MailboxId) -> tuple[int, str]:
    for stored in range(10_000):
        answer = await outcome(store.append(Send((Delivery(box, b"h"),), PIECE)))
        if answer != "done":
            return stored, answer
    return 10_000, "never"


async def the_database(folder: Path) -> dict[str, object]:
    said: dict[str, object] = {}
    blobs, limits, box = FileBlobs(folder / "blobs", 0), StoreLimits(min_free_bytes=0), MailboxId.random()
    store = await SqliteStore.open(folder / "server.db", blobs, limits)
    ballast = folder / "server.db.ballast"
    await store.register(Account(AccountId.random(), "name", b""), box)
    said["ballast at first"] = ballast.exists()
    fill(folder / "filler", ROOM)
    stored, said["append"] = await until_refused(store, box)
    fill(folder / "filler", EVERYTHING)
    said["append on not a byte"] = (await until_refused(store, box))[1]
    found = await store.read(box, after=0, max_count=10_000, max_bytes=1 << 40)
    said["all that was answered is read"] = len(found) >= stored > 500
    numbers = [envelope.sequence for envelope in found]
    said["acks"] = sorted({await outcome(store.ack(box, [number])) for number in numbers[:200]})
    said["ack up to"] = await outcome(store.ack_up_to(box, numbers[299]))
    said["left"] = (await store.usage(box)).count == len(found) - 300
    said["ballast given up"] = not ballast.exists()
    (folder / "filler").unlink()
    said["append with room"] = await outcome(store.append(Send((Delivery(box, b"h"),), PIECE)))
    said["ballast again"] = ballast.exists()
    said["failed"] = store.failed.done()
    await store.close()
    store = await SqliteStore.open(folder / "server.db", blobs, limits)
    said["kept"] = (await store.usage(box)).count == len(found) - 299
    await store.close()
    await blobs.close()
    return said


async def the_blobs(folder: Path) -> dict[str, object]:
    said: dict[str, object] = {}
    blobs, blob = FileBlobs(folder / "blobs", 0), BlobId.random()
    await blobs.create(blob)
    answer, offset = "done", 0
    while answer == "done":
        answer = await outcome(blobs.write(blob, offset, memoryview(PIECE)))
        offset += len(PIECE)
    said["write"] = answer
    await blobs.discard([blob])
    said["left behind"] = await blobs.sweep(set())
    await blobs.create(blob)
    said["write with room"] = await outcome(blobs.write(blob, 0, memoryview(PIECE)))
    said["finish"] = await outcome(blobs.finish(blob, len(PIECE)))
    await blobs.close()
    said["reserve"] = await outcome(FileBlobs(folder / "blobs", 1 << 60).create(BlobId.random()))
    return said


if __name__ == "__main__":
    part = {"database": the_database, "blobs": the_blobs}[sys.argv[1]]
    sys.stdout.write(json.dumps(asyncio.run(part(Path(sys.argv[2])))))
