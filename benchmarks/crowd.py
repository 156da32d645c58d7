"""A crowd of accounts, put into a database without the store: it is not their making that is measured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from itertools import islice
from pathlib import Path
from random import Random

from benchmarks.scale import scale
from harness.lines import Template
from hushpost import sql
from hushpost.ids import AccountId, DeviceId, EnvelopeId, TokenHash
from hushpost.stores import opening
from hushpost.stores.post.schema import POST
from hushpost.wire.messages import Recipient, SendEnvelope

PEOPLE = scale(1_000_000, 1_000)
HEADER = bytes(1_648)
BODY = bytes(208)
SEAL_KEY = 7
DELIVERY_TOKEN = bytes(32)
TOKEN = TokenHash(sha256(DELIVERY_TOKEN).digest())
BATCH = 256
"""Rows of one transaction."""


def account(number: int) -> AccountId:
    return AccountId(number.to_bytes(4, "big") * 4)


def device(number: int) -> DeviceId:
    return DeviceId(number.to_bytes(4, "little") * 4)


def enroll(path: Path, people: int) -> None:
    """Put so many accounts of one device each into an empty or new database, numbered from 1."""
    opening.open_database(path, POST).close()
    with closing(sql.connect(path)) as db:
        sql.make_durable(db)
        db.execute("BEGIN")
        numbers = range(1, people + 1)
        db.executemany(
            "INSERT INTO account VALUES (?,?,1,?)",
            ((sql.binary(account(n)), f"{n:012}", sql.binary(TOKEN)) for n in numbers),
        )
        db.executemany(
            "INSERT INTO device (account, id, number, seal_key_id) VALUES (?,?,?,?)",
            ((sql.binary(account(n)), sql.binary(device(n)), n, SEAL_KEY) for n in numbers),
        )
        db.execute("UPDATE store SET last_device = ?", (people,))
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def anybody(random: Random, people: int) -> Iterator[int]:
    """Again and again."""
    while True:
        yield random.randrange(1, people + 1)


def everybody(people: int) -> Iterator[int]:
    """Each once, in no order."""
    numbers = list(range(1, people + 1))
    Random(3).shuffle(numbers)
    return iter(numbers)


def insert(path: Path, recipients: Iterator[int], count: int) -> float:
    """Store so many envelopes in a bare loop, which checks nothing; how many a second."""
    size = len(HEADER) + len(BODY)
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
                row = (sequence, number, size, 0, SEAL_KEY, envelope, sql.binary(HEADER), sql.binary(BODY))
                envelopes.append(row)
                seen.append((envelope, number, sequence, sql.binary(bytes(16))))
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO envelope VALUES (?,?,?,?,?,?,?,?)", envelopes)
            db.executemany("INSERT INTO seen VALUES (?,?,?,?)", seen)
            added = size * len(envelopes)
            db.execute("UPDATE store SET last_sequence = ?, size = size + ?", (sequence, added))
            db.execute("COMMIT")
            since += len(envelopes)
            if since >= 20_000:
                since = 0
                db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        seconds = time.perf_counter() - begun
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return count / seconds


def fill(path: Path, people: int) -> None:
    """Put so many people and an envelope for each into a database that nobody uses."""
    enroll(path, people)
    insert(path, everybody(people), people)


class ToAnybody(Template):
    """Sends of one device, each to somebody else of the crowd."""

    def __init__(self, sender: bytes, people: int, body: bytes) -> None:
        sample = 0x01020304  # its ids occur once in the frame, whether there is such a number or not
        to, at = bytes(account(sample)), bytes(device(sample))
        recipient = Recipient(at, SEAL_KEY, HEADER)
        envelope = EnvelopeId.at(int(time.time()))
        super().__init__(SendEnvelope(0, to, envelope, [recipient], body, DELIVERY_TOKEN), sender)
        frame = super().frame(0)
        self._account, self._device = frame.index(to), frame.index(at)
        self._recipients = anybody(Random(sender), people)

    def frame(self, number: int) -> bytes:
        frame, to = bytearray(super().frame(number)), next(self._recipients)
        frame[self._account : self._account + AccountId.SIZE] = account(to)
        frame[self._device : self._device + DeviceId.SIZE] = device(to)
        return bytes(frame)
