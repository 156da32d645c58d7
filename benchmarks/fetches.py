"""Fetching an inbox of 1,000 messages, and empty polls beside a million stored rows of others."""

from __future__ import annotations

import asyncio
import time
from itertools import repeat
from pathlib import Path
from statistics import median

from benchmarks.report import Row, at_most, show
from benchmarks.scale import scale
from harness.load import Result, exchange, fetch_request, register, run, send_request
from harness.process import NO_ADDRESS_LIMIT, ServerProcess, classic_server
from hushpost.classic import payloads
from hushpost.classic.payloads import ClientId, MessageType
from hushpost.ids import AccountId, MailboxId
from hushpost.stores.base import Account, Delivery, Send, StoreLimits
from hushpost.stores.blobfiles import FileBlobs
from hushpost.stores.sqlite import SqliteStore

WAITING = scale(1_000, 100)
ROUNDS = scale(7, 2)
POLLS = scale(2_000, 50)
OTHERS = scale(1_000_000, 2_000)
SENDS = scale(20_000, 500)
LIMIT = 2 * OTHERS
CONTENT = bytes(200)


def main(folder: Path) -> None:
    without, _, fetches, _ = _measure(folder / "empty")
    full = folder / "full"
    full.mkdir()
    other = asyncio.run(_fill(full))
    beside, sends, _, peak = _measure(full, other)
    show(
        "Classic: fetches",
        [
            at_most(f"{WAITING:,} waiting messages", median(fetches), 25, "ms"),
            Row("empty poll, nothing else stored, p50", without, "ms"),
            Row(f"empty poll, {OTHERS:,} rows of others, p50", beside, "ms"),
            at_most("empty poll, with / without the rows", beside / without, 1.15, "x"),
            Row(f"64 senders, {OTHERS:,} rows stored", sends.rate, "/s"),
            Row("their p99, through checkpoints", sends.quantile_ms(0.99), "ms"),
            at_most("server memory beside the rows, peak", peak, 128, "MB"),
        ],
        {"rounds": str(ROUNDS), "polls": str(POLLS)},
    )


def _measure(data: Path, other: ClientId | None = None) -> tuple[float, Result, list[float], float]:
    """p50 of an empty poll, a run of sends, the milliseconds of each full fetch, and the server's peak."""
    fetches = []
    with ServerProcess(classic_server(data, *NO_ADDRESS_LIMIT, "--mailbox-count", str(LIMIT))) as ours:
        sender, reader, idle = (register(ours.address, name) for name in ("sender", "reader", "idle"))
        for _ in range(ROUNDS):
            run(ours.address, repeat(send_request(sender, reader, CONTENT), WAITING), 64, 27).check()
            begun = time.perf_counter()
            answer = exchange(ours.address, fetch_request(reader))
            fetches.append((time.perf_counter() - begun) * 1e3)
            if len(answer) != 7 + WAITING * (payloads.MESSAGE_ENTRY.size + len(CONTENT)):
                raise RuntimeError("the inbox was not complete")
        polls = [run(ours.address, repeat(fetch_request(idle), POLLS), 1, 7) for _ in range(ROUNDS)]
        sends = run(ours.address, repeat(send_request(sender, other or reader, CONTENT), SENDS), 64, 27)
        peak = ours.peak_mb()
    for result in (*polls, sends):
        result.check()
    return median(poll.quantile_ms(0.5) for poll in polls), sends, fetches, peak


async def _fill(data: Path) -> ClientId:
    """A database with messages of somebody else, put there without the network."""
    blobs = FileBlobs(data / "blobs")
    store = await SqliteStore.open(data / "server.db", blobs, StoreLimits(mailbox_count=LIMIT))
    other = ClientId.random()
    await store.register(Account(AccountId(other), "other", bytes(160)), MailboxId(other))
    send = Send((Delivery(MailboxId(other), other + bytes([MessageType.TEXT])),), CONTENT)
    for _ in range(OTHERS // 1_000):
        await asyncio.gather(*(store.append(send) for _ in range(1_000)))
    await store.close()
    await blobs.close()
    return other
