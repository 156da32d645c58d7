"""Version 3's store alone, without network and TLS: sealed envelopes in, and out again.

The baseline is a loop that puts the same rows into the same tables, `BATCH` to a transaction, and checks
nothing. What the store adds to it is the handing over between two threads, the checks and the answers.
"""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median

import uvloop

from benchmarks.crowd import (
    BODY,
    HEADER,
    PEOPLE,
    SEAL_KEY,
    TOKEN,
    account,
    anybody,
    device,
    enroll,
    everybody,
    insert,
)
from benchmarks.report import Row, at_least, show
from benchmarks.scale import scale
from hushpost.ids import EnvelopeId
from hushpost.stores.base import SealedDelivery, SealedSend, mailbox_of
from hushpost.stores.post.sqlite import SqlitePost

FEW = 1_000
IN_FLIGHT = 1_024
SENDS = scale(100_000, 3_000)
SAMPLE = scale(50_000, 3_000)
ROUNDS = scale(3, 1)
WAITING = scale(10_000, 1_000)
PAGE = 500
DRAINS = scale(5, 1)


def main(folder: Path) -> None:
    uvloop.run(_main(folder))


async def _main(folder: Path) -> None:
    empty, full = folder / "empty", folder / "full"
    empty.mkdir()
    full.mkdir()
    few, many = Random(1), Random(2)
    enroll(empty / "bare.db", FEW)
    bare_empty = insert(empty / "bare.db", anybody(few, FEW), SENDS)
    enroll(empty / "post.db", FEW)
    store = await SqlitePost.open(empty / "post.db")
    fresh = await _append(store, few, FEW, SENDS)
    await store.close()
    enroll(full / "post.db", PEOPLE)
    filling = insert(full / "post.db", everybody(PEOPLE), PEOPLE)
    bare_full = insert(full / "post.db", anybody(many, PEOPLE), SAMPLE)
    store = await SqlitePost.open(full / "post.db")
    laden = await _append(store, many, PEOPLE, SAMPLE)
    drain = await _drain(store)
    await store.close()
    show(
        "Version 3: the store alone",
        [
            at_least("appends, empty", fresh[0], 28_000, "/s"),
            Row("their CPU", fresh[1], "us"),
            Row("bare loop, same rows", bare_empty, "/s"),
            at_least(f"appends, {PEOPLE:,} envelopes in as many mailboxes", laden[0], 15_000, "/s"),
            Row("their CPU", laden[1], "us"),
            Row("bare loop, same rows", bare_full, "/s"),
            Row("bare loop, filling up", filling, "/s"),
            at_least(f"reads of {WAITING:,} waiting, in pages of {PAGE}", drain, 30_000, "/s"),
        ],
        {
            "in flight": str(IN_FLIGHT),
            "sends a round": f"{SENDS}, full {SAMPLE}",
            "rounds": str(ROUNDS),
            "bytes": str(len(HEADER + BODY)),
        },
    )


def _send(number: int) -> SealedSend:
    delivery = SealedDelivery(device(number), SEAL_KEY, bytes(HEADER))
    return SealedSend(account(number), EnvelopeId.at(int(time.time())), (delivery,), BODY, TOKEN)


async def _append(store: SqlitePost, random: Random, people: int, count: int) -> tuple[float, float]:
    """Store so many, with so many in flight, and that in several rounds.

    Making the sends is not part of it, and neither is the first touch of a database just written: the
    median round counts.

    Returns:
        How many a second, and microseconds of CPU of each.
    """
    rounds = [await _append_once(store, random, people, count) for _ in range(ROUNDS)]
    return median(rate for rate, _ in rounds), median(cpu for _, cpu in rounds)


async def _append_once(store: SqlitePost, random: Random, people: int, count: int) -> tuple[float, float]:
    recipients = anybody(random, people)
    sends = [_send(number) for number in islice(recipients, count)]
    done = asyncio.get_running_loop().create_future()
    left = count
    remaining = iter(sends)

    def answered(answer: asyncio.Future[tuple[int, ...]]) -> None:
        nonlocal left
        answer.result()
        left -= 1
        if not left:
            done.set_result(None)
        for send in islice(remaining, 1):
            store.append_sealed(send).add_done_callback(answered)

    cpu, begun = time.process_time(), time.perf_counter()
    for send in islice(remaining, IN_FLIGHT):
        store.append_sealed(send).add_done_callback(answered)
    await done
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return count / seconds, cpu / count * 1e6


async def _drain(store: SqlitePost) -> float:
    """Fill one mailbox, and read it page by page; envelopes a second."""
    await asyncio.gather(*(store.append_sealed(_send(1)) for _ in range(WAITING)))
    begun = time.perf_counter()
    found = 0
    for _ in range(DRAINS):
        after, page = 0, True
        while page:
            envelopes = await store.read(
                mailbox_of(device(1)), after=after, max_count=PAGE, max_bytes=1 << 20
            )
            page = bool(envelopes)
            if envelopes:
                after = envelopes[-1].sequence
            found += len(envelopes)
    return found / (time.perf_counter() - begun)
