"""Run by test_crash: stores and acknowledges without end, and says what was answered, until it is killed.

A line for each answer, `stored SEQUENCE MAILBOX BODY ATTACHMENT` or `acked SEQUENCE`, and before each
acknowledgement `acking SEQUENCE`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path

import uvloop

from hushpost.errors import NameTaken
from hushpost.ids import AccountId, BlobId, EnvelopeId, MailboxId
from hushpost.stores.base import Account, Attachment, Delivery, Send, StoreLimits
from hushpost.stores.blobfiles import FileBlobs
from hushpost.stores.sqlite import SqliteStore

BOXES = [MailboxId(bytes([k]) * 16) for k in range(4)]
SENDERS = 16


def say(*words: object) -> None:
    """One write per line, so that a kill cannot cut one in two that another began."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def send_for_ever(store: SqliteStore, blobs: FileBlobs, sender: int) -> None:
    box = BOXES[sender % len(BOXES)]
    for k in count():
        body = f"{os.getpid()}/{sender}/{k}"
        attachment = await upload(blobs, body) if k % 5 == 4 else None
        envelope = None if k % 2 else EnvelopeId.at(1_800_000_000)
        send = Send((Delivery(box, b"h"),), body.encode(), envelope, attachment)
        (sequence,) = await store.append(send)
        say("stored", sequence, box, body, attachment.blob if attachment else "-")
        if k % 3 == 2:
            say("acking", sequence)
            await store.ack(box, [sequence])
            say("acked", sequence)


async def upload(blobs: FileBlobs, content: str) -> Attachment:
    blob = BlobId.random()
    await blobs.create(blob)
    await blobs.write(blob, 0, memoryview(content.encode()))
    await blobs.finish(blob, len(content))
    return Attachment(blob, len(content))


async def main(folder: Path) -> None:
    blobs = FileBlobs(folder / "blobs", 0)
    limits = StoreLimits(min_free_bytes=0)
    store = await SqliteStore.open(folder / "server.db", blobs, limits, lambda: 1_800_000_000)
    for k, box in enumerate(BOXES):
        with suppress(NameTaken):
            await store.register(Account(AccountId(box), f"{k}", b""), box)
    await asyncio.gather(*(send_for_ever(store, blobs, sender) for sender in range(SENDERS)))


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
