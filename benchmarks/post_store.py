"""Version 3's store alone, without network and TLS: sealed envelopes in, and out again.

The baseline is a loop that puts the same rows into the same tables, 256 to a transaction, and checks
nothing. What the store adds to it is the handing over between two threads, the checks and the answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median

import uvloop

from benchmarks.report import Row, at_least, show
from hushpost import sql
from hushpost.ids import AccountId, DeviceId, EnvelopeId, TokenHash
from hushpost.stores import opening
from hushpost.stores.base import SealedDelivery, SealedSend, mailbox_of
from hushpost.stores.post.schema import POST
from hushpost.stores.post.sqlite import SqlitePost

HEADER = bytes(1_648)
BODY = bytes(208)
SEAL_KEY = 7
PEOPLE = 1_000_000
FEW = 1_000
IN_FLIGHT = 1_024
SENDS = 100_000
SAMPLE = 50_000
ROUNDS = 3
BATCH = 256
WAITING = 10_000
PAGE = 500
DRAINS = 5


def main(folder: Path) -> None:
    uvloop.run(_main(folder))


async def _main(folder: Path) -> None:
    empty, full = folder / "empty", folder / "full"
    empty.mkdir()
    full.mkdir()
    few, many = Random(1), Random(2)
    _enroll(empty / "bare.db", FEW)
    bare_empty = _bare(empty / "bare.db", few, FEW, SENDS)
    _enroll(empty / "post.db", FEW)
    store = await SqlitePost.open(empty / "post.db")
    fresh = await _append(store, few, FEW, SENDS)
    await store.close()
    _enroll(full / "post.db", PEOPLE)
    filling = _bare(full / "post.db", None, PEOPLE, PEOPLE)
    bare_full = _bare(full / "post.db", many, PEOPLE, SAMPLE)
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


def _account(number: int) -> AccountId:
    return AccountId(number.to_bytes(4, "big") * 4)


def _device(number: int) -> DeviceId:
    return DeviceId(number.to_bytes(4, "little") * 4)


TOKEN = TokenHash(bytes(32))


def _enroll(path: Path, people: int) -> None:
    """Accounts with one device each, put there without the store: it is not their making that is measured."""
    opening.open_database(path, POST).close()
    with closing(sql.connect(path)) as db:
        sql.make_durable(db)
        db.execute("BEGIN")
        numbers = range(1, people + 1)
        db.executemany(
            "INSERT INTO account VALUES (?,?,1,?)",
            ((sql.binary(_account(n)), f"{n:012}", sql.binary(TOKEN)) for n in numbers),
        )
        db.executemany(
            "INSERT INTO device (account, id, number, seal_key_id) VALUES (?,?,?,?)",
            ((sql.binary(_account(n)), sql.binary(_device(n)), n, SEAL_KEY) for n in numbers),
        )
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _recipients(random: Random | None, people: int) -> Iterator[int]:
    """Anybody, again and again; or everybody once, in no order."""
    if random is not None:
        while True:
            yield random.randrange(1, people + 1)
    everybody = list(range(1, people + 1))
    Random(3).shuffle(everybody)
    yield from everybody


def _bare(path: Path, random: Random | None, people: int, count: int) -> float:
    """Insert so many; how many a second."""
    recipients = _recipients(random, people)
    with closing(sql.connect(path)) as db:
        sql.make_durable(db)
        (sequence,) = db.execute("SELECT last_sequence FROM store").fetchone()
        last, since = sequence + count, 0
        begun = time.perf_counter()
        while sequence < last:
            envelopes: list[tuple[object, ...]] = []
            seen: list[tuple[object, ...]] = []
            for number in islice(recipients, min(BATCH, last - sequence)):
                sequence += 1
                envelope = sql.binary(EnvelopeId.at(int(time.time())))
                envelopes.append(
                    (
                        sequence,
                        number,
                        len(HEADER) + len(BODY),
                        0,
                        SEAL_KEY,
                        envelope,
                        sql.binary(HEADER),
                        sql.binary(BODY),
                    )
                )
                seen.append((envelope, number, sequence, sql.binary(bytes(16))))
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO envelope VALUES (?,?,?,?,?,?,?,?)", envelopes)
            db.executemany("INSERT INTO seen VALUES (?,?,?,?)", seen)
            db.execute("UPDATE store SET last_sequence = ?", (sequence,))
            db.execute("COMMIT")
            since += len(envelopes)
            if since >= 20_000:
                since = 0
                db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        seconds = time.perf_counter() - begun
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return count / seconds


def _send(number: int) -> SealedSend:
    delivery = SealedDelivery(_device(number), SEAL_KEY, bytes(HEADER))
    return SealedSend(_account(number), EnvelopeId.at(int(time.time())), (delivery,), BODY, TOKEN)


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
    recipients = _recipients(random, people)
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
                mailbox_of(_device(1)), after=after, max_count=PAGE, max_bytes=1 << 20
            )
            page = bool(envelopes)
            if envelopes:
                after = envelopes[-1].sequence
            found += len(envelopes)
    return found / (time.perf_counter() - begun)
