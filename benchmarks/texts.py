"""Texts of 200 bytes from person to person with everything real: server, TLS, both databases on disk.

The sender is this process, the receiver another, the server a third. What the parts cost by themselves is
measured in the same run: the disk, a TLS round trip, and the cryptography of one message.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import mean, median

import uvloop

from benchmarks.accepts import ECHO, UNLIMITED, Run
from benchmarks.envelopes import TEXT, End, pair, receive, send
from benchmarks.report import Row, at_least, at_most, show
from benchmarks.scale import scale
from harness.device import LoadDevice
from harness.lines import Line, anonymous, tls
from harness.process import ServerProcess, post_server
from hushpost.client.api import Client
from hushpost.client.profiles import ProfileFiles
from hushpost.client.store import Store
from hushpost.client.values import Contact, Delivery, Message
from hushpost.client.vault import VARIABLE, InFile, Vault
from hushpost.crypto.content import Content, Text
from hushpost.ids import MessageId

READER = [sys.executable, "-m", "benchmarks.reader"]
LIVE = scale(1_000, 20)
WAITING = scale(10_000, 100)
DRAINS = scale(3, 1)
WARM = scale(50, 5)
"""Messages before anything is measured: both ratchets have turned, and every page is in its cache."""

LONG = scale(100_000, 1_000)
"""Messages of a long history."""

ALONE = scale(500, 10)
"""Of each part by itself."""

PAGE = 4_096 + 24
"""Bytes of one page in the log."""

OPTIONS = [
    *("--open", *UNLIMITED),
    *(each for name in ("prekeys", "prekeys-of-one") for each in ("--rate", f"{name}=100000000/1")),
]
"""Every 500 texts without an answer a session is renewed: more often here than a server lets people."""


class Ends:
    """Two people and their server."""

    def __init__(self, folder: Path) -> None:
        self.alice, self.bob = folder / "alice", folder / "bob"

    async def meet(self, invitation: str) -> Contact:
        """Both join, and know each other, with each other's delivery tokens; Bob as Alice sees him."""
        alices = await Client.join(self.alice, invitation, "alice")
        bobs = await Client.join(self.bob, invitation, "bob")
        async with Client.open(self.alice) as alice, Client.open(self.bob) as bob:
            to_alice = await bob.add(str(alices.link))
            to_bob = await alice.add(str(bobs.link))
            there = await alice.send(to_bob.account, "hello")
            await alice.reached(there.id, Delivery.DELIVERED)
            back = await bob.send(to_alice.account, "hello to you")
            await bob.reached(back.id, Delivery.DELIVERED)
        return to_bob


def main(folder: Path) -> None:
    os.environ[VARIABLE] = "file"
    folder = folder / "texts"
    folder.mkdir()
    rows = uvloop.run(_texts(folder))
    show("Version 3: texts between people", rows, {"text": f"{len(TEXT)} bytes", "database keys": "file"})


async def _texts(folder: Path) -> list[Row]:
    ends = Ends(folder)
    with ServerProcess(post_server(folder / "server", *OPTIONS)) as server, ServerProcess(ECHO) as echo:
        to_bob = await ends.meet(server.next_line().rpartition(" ")[2])
        live = await _live(ends, to_bob)
        disk = [_disk(folder / "disk", pages) for pages in live.pages]
        turn, hop, crypto = await _round_trip(echo), _threads(), _crypto()
        drains, writes, accepts = [], [], []
        for _ in range(DRAINS):
            async with Client.open(ends.alice) as alice:
                wrote, accepted = await _write(alice, to_bob)
            writes.append(wrote)
            accepts.append(accepted)
            drains.append(await _drain(ends.bob))
    fresh, full = await _offline(ends.alice, to_bob)
    return [
        at_most("live, send() to the receiver's event, p50", live.quantile(0.5), 2.2, "ms"),
        Row("the same, p99", live.quantile(0.99), "ms"),
        Row("of it until send() is back, p50", median(live.sent), "ms"),
        Row(f"the disk alone: {live.pages[0]:.0f} pages, the sender's of one text", disk[0], "ms"),
        Row(f"the disk alone: {live.pages[1]:.0f} pages, the receiver's", disk[1], "ms"),
        Row("a bare TLS round trip", turn, "ms"),
        Row("from one thread to another and back", hop, "ms"),
        Row("the cryptography of one text alone, both sides", crypto, "ms"),
        at_least(f"drain of {WAITING:,}", median(drains), 3_000, "/s"),
        Row(f"send(), {WAITING:,} texts, one after the other", median(writes), "/s"),
        Row("the same until the server has accepted all", median(accepts), "/s"),
        Row("send() without a server, nothing waits, p50", fresh, "ms"),
        Row(f"with {WAITING:,} waiting and {LONG:,} in the history, p50", full, "ms"),
    ]


class Live:
    """What single texts took.

    Attributes:
        sent: milliseconds until `send` came back.
        there: milliseconds until the receiver's application had the text.
        pages: that one text wrote into the sender's and into the receiver's log.
    """

    def __init__(self) -> None:
        self.sent: list[float] = []
        self.there: list[float] = []
        self.pages = (0.0, 0.0)

    def quantile(self, share: float) -> float:
        return sorted(self.there)[int(share * len(self.there))]


async def _live(ends: Ends, to_bob: Contact) -> Live:
    live, logs = Live(), [Log(ends.alice), Log(ends.bob)]
    async with reader(ends.bob, "follow") as bob, Client.open(ends.alice) as alice:
        await _line(bob)
        await alice.settled()
        for number in range(WARM + LIVE):
            begun = time.perf_counter_ns()
            await alice.send(to_bob.account, TEXT)
            sent = time.perf_counter_ns()
            there = int(await _line(bob))
            if number >= WARM:
                live.sent.append((sent - begun) / 1e6)
                live.there.append((there - begun) / 1e6)
            for log in logs:
                log.look()
    live.pages = logs[0].pages, logs[1].pages
    return live


class Log:
    """How a profile's log grows, looked at after each message."""

    def __init__(self, profile: Path) -> None:
        database = ProfileFiles(profile).database
        self._path = database.with_name(database.name + "-wal")
        self._size = 0
        self._growth: list[int] = []

    def look(self) -> None:
        size = self._path.stat().st_size
        if size > self._size:  # it begins anew now and then
            self._growth.append(size - self._size)
        self._size = size

    @property
    def pages(self) -> float:
        return mean(self._growth) / PAGE


async def _write(alice: Client, to_bob: Contact) -> tuple[float, float]:
    """Put texts for somebody who is away into the outbox; how many a second, and how many were accepted."""
    begun = time.perf_counter()
    for _ in range(WAITING):
        await alice.send(to_bob.account, TEXT)
    written = time.perf_counter()
    await alice.settled()
    return WAITING / (written - begun), WAITING / (time.perf_counter() - begun)


async def _offline(profile: Path, to_bob: Contact) -> tuple[float, float]:
    """Milliseconds for a send: at first, and when much has come together."""
    async with Client.open(profile) as alice:
        fresh = await _sends(alice, to_bob, ALONE)
    await asyncio.to_thread(_fill, profile, to_bob)
    async with Client.open(profile) as alice:
        return fresh, await _sends(alice, to_bob, ALONE)


async def _sends(alice: Client, to_bob: Contact, count: int) -> float:
    took = []
    for _ in range(count):
        begun = time.perf_counter()
        await alice.send(to_bob.account, TEXT)
        took.append(time.perf_counter() - begun)
    return median(took) * 1e3


def _fill(profile: Path, to_bob: Contact) -> None:
    """A long history, and a full outbox."""
    files, now = ProfileFiles(profile), int(time.time())
    content = Content.of(Text(TEXT)).encode()
    with Store.open(files.database, Vault(files, InFile()).open()) as store:
        me = to_bob.devices[0]
        for begin in range(0, LONG, 1_000):
            with store.transaction() as t:
                for number in range(begin, begin + 1_000):
                    name = MessageId.random()
                    message = Message(name, to_bob.account, True, TEXT, now, now, Delivery.QUEUED)
                    t.history.add(message, me, content)
                    if number < WAITING:
                        t.outbox.add(name, to_bob.account, content, now)


async def _drain(profile: Path) -> float:
    async with reader(profile, "drain") as bob:
        count, seconds = (await _line(bob)).split()
    if int(count) != WAITING:
        raise RuntimeError(f"{count} of {WAITING} came")
    return WAITING / float(seconds)


@asynccontextmanager
async def reader(profile: Path, verb: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(*READER, str(profile), verb, stdout=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _line(process: Process) -> str:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError("the reader has ended")
    return line.decode()


# --- the parts by themselves


def _disk(path: Path, pages: float) -> float:
    """Milliseconds to write so many pages behind each other and have them on the disk."""
    data, took = bytes(round(pages) * PAGE), []
    with path.open("wb", buffering=0) as file:
        for _ in range(ALONE):
            begun = time.perf_counter()
            file.write(data)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - begun)
    return median(took) * 1e3


async def _round_trip(echo: ServerProcess) -> float:
    """Milliseconds for one frame of a send and its answer."""
    run, line = Run(), await Line.connect(echo.address, tls())
    letter = LoadDevice("nobody").letter(bytes(192))
    await run.add(echo, [line], [anonymous(letter)], ALONE, 1)
    line.close()
    return run.p50


def _threads() -> float:
    """Milliseconds to have another thread do nothing, and hear of it: each side does so for each commit."""
    took = []
    with ThreadPoolExecutor(1) as pool:
        for _ in range(ALONE):
            begun = time.perf_counter()
            pool.submit(int).result()
            took.append(time.perf_counter() - begun)
    return median(took) * 1e3


def _crypto() -> float:
    """Milliseconds to encrypt, seal, open and decrypt one text."""
    one, other = End("one"), End("other")
    ours, theirs = pair(one, other)
    took = []
    for number in range(ALONE):
        begun = time.perf_counter()
        receive(theirs, other, one, send(ours, one, other, number + 2))
        took.append(time.perf_counter() - begun)
    return median(took) * 1e3
