"""Run by test_crash: does everything that must be kept, without end, until it is killed.

What it says, a line each:
    sending DEVICE ENVELOPE BODY        before a send
    stored SEQUENCE DEVICE BODY         after it
    acking SEQUENCE, acked SEQUENCE
    took KEY                            a one-time key, as it was handed out
    enrolled ACCOUNT DEVICE
    put ACCOUNT VERSION
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import uvloop

from hushpost.errors import IdTaken, NameTaken
from hushpost.ids import AccountId, DeviceId, EnvelopeId, TokenHash
from hushpost.stores.base import (
    KeyUpdate,
    NewAccount,
    SealedDelivery,
    SealedSend,
    SealKey,
    SessionKey,
    StoreLimits,
    mailbox_of,
)
from hushpost.stores.post.sqlite import SqlitePost

NOW = 1_800_000_000
LIMITS = StoreLimits(min_free_bytes=0)
DEVICES = [DeviceId(bytes([k]) * 16) for k in range(4)]
SENDERS = 12
KEYS = 20
TOKEN = TokenHash(bytes(32))


def say(*words: object) -> None:
    """One write per line, so that a kill cannot cut one in two that another began."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def new_account(device: DeviceId) -> NewAccount:
    """Account and device have the same id here, and the account is named after it."""
    return NewAccount(
        AccountId(device), str(device), b"manifest 1", device, SealKey(7, b"seal"), (), b"fallback", TOKEN
    )


def send_to(device: DeviceId, envelope: EnvelopeId, body: str) -> SealedSend:
    return SealedSend(
        AccountId(device), envelope, (SealedDelivery(device, 7, b"header"),), body.encode(), TOKEN
    )


async def send_for_ever(store: SqlitePost, sender: int) -> None:
    device = DEVICES[sender % len(DEVICES)]
    for k in count():
        envelope, body = EnvelopeId.at(NOW), f"{os.getpid()}/{sender}/{k}"
        say("sending", device, envelope, body)
        (sequence,) = await store.append_sealed(send_to(device, envelope, body))
        say("stored", sequence, device, body)
        if k % 3 == 2:
            say("acking", sequence)
            await store.ack(mailbox_of(device), [sequence])
            say("acked", sequence)


async def take_for_ever(store: SqlitePost, device: DeviceId) -> None:
    """Publish some, and let several ask for them at once, until there are none."""
    while True:
        first = time.time_ns()
        fresh = tuple(SessionKey(number, str(number).encode()) for number in range(first, first + KEYS))
        await store.publish(device, KeyUpdate(fresh))
        for _ in range(KEYS // 4):
            asked = [store.take_session_keys(AccountId(device), [device]) for _ in range(4)]
            for answer in await asyncio.gather(*asked):
                say("took", answer[device].decode())


async def enroll_for_ever(store: SqlitePost) -> None:
    while True:
        device = DeviceId.random()
        await store.enroll(new_account(device), None)
        say("enrolled", AccountId(device), device)


async def put_for_ever(store: SqlitePost, device: DeviceId) -> None:
    account = AccountId(device)
    version = (await store.devices(account)).version
    for number in count(version + 1):
        await store.put_manifest(account, number, b"manifest %d" % number, [device])
        say("put", account, number)


async def main(folder: Path) -> None:
    store = await SqlitePost.open(folder / "post.db", LIMITS, lambda: NOW)
    for device in DEVICES:
        with suppress(NameTaken, IdTaken):
            await store.enroll(new_account(device), None)
    await asyncio.gather(
        *(send_for_ever(store, sender) for sender in range(SENDERS)),
        *(take_for_ever(store, device) for device in DEVICES[:2]),
        enroll_for_ever(store),
        put_for_ever(store, DEVICES[3]),
    )


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
