"""The version-3 server as its clients see it: accepted and durable envelopes over TLS, with everything real.

The load is made in this process and served in another. Beside it, in the same rounds: a bare uvloop TLS
server that answers frames of the same sizes and keeps nothing, and NATS JetStream, which keeps them.
Everybody writes to the next one first; then, at a server in which a million people have an envelope each, to
any of those.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import uvloop

from benchmarks import crowd
from benchmarks.jetstream import STREAM, Publish, StreamLine, jetstream
from benchmarks.report import Row, at_least, at_most, show
from benchmarks.scale import scale
from harness.device import LoadDevice
from harness.lines import Line, Sends, Template, anonymous, tls
from harness.process import NO_ADDRESS_LIMIT, ServerProcess, post_server
from hushpost.server.net import descriptor_budget
from hushpost.wire.limits import MAX_PAGE_BYTES, MAX_PAGE_COUNT
from hushpost.wire.messages import Acknowledge, Acknowledged, Envelopes, GetEnvelopes

ECHO = [sys.executable, "-m", "benchmarks.tls_echo"]
MANY = scale(64, 8)
DEEP = 16
BODY = bytes(192)
"""A text of up to 150 bytes, padded and sealed."""

SENDS_DEEP, SENDS_SHALLOW, SENDS_ALONE = scale(64_000, 800), scale(32_000, 400), scale(3_000, 50)
ROUNDS = scale(3, 1)
WAITING = scale(10_000, 600)
IDLE = scale(1_000, 50)
IDLE_MANY = scale(10_000, 100)
WARM = scale(2_000, 200)

UNLIMITED = [
    option
    for name in ("connections", "entering", "registrations", "sends", "fetches", "acknowledgements")
    for option in ("--rate", f"{name}=100000000/1")
]
"""All of the load comes from one address; the buckets are there, and counted."""


class Run:
    """What one kind of load has shown."""

    def __init__(self) -> None:
        self._rates: list[float] = []
        self._cpu: list[float] = []
        self._p50: list[float] = []
        self._p99: list[float] = []

    async def add(
        self, server: ServerProcess, lines: Sequence[Line], sends: Sequence[Sends], count: int, deep: int
    ) -> None:
        """A round more: so many sends in all, so many unanswered on each line."""
        for line in lines:
            line.latencies.clear()
        share = count // len(lines)
        before, begun = server.cpu_seconds(), time.perf_counter()
        await asyncio.gather(*(line.load(each, share, deep) for line, each in zip(lines, sends, strict=True)))
        seconds = time.perf_counter() - begun
        self._rates.append(share * len(lines) / seconds)
        self._cpu.append((server.cpu_seconds() - before) / (share * len(lines)) * 1e3)
        latencies = sorted(each for line in lines for each in line.latencies)
        self._p50.append(latencies[len(latencies) // 2] * 1e3)
        self._p99.append(latencies[int(len(latencies) * 0.99)] * 1e3)

    @property
    def rate(self) -> float:
        """Sends a second, as all of these the median of the rounds."""
        return median(self._rates)

    @property
    def cpu(self) -> float:
        """Milliseconds of the server for each."""
        return median(self._cpu)

    @property
    def p50(self) -> float:
        """Milliseconds."""
        return median(self._p50)

    @property
    def p99(self) -> float:
        """Milliseconds."""
        return median(self._p99)


class Loads:
    """A server, and the three loads that it is given: many unanswered, one on each line, one in all."""

    def __init__(self, server: ServerProcess, lines: Sequence[Line], sends: Sequence[Sends]) -> None:
        self._server, self._lines, self._sends = server, lines, sends
        self.deep, self.shallow, self.alone = Run(), Run(), Run()

    async def round(self) -> None:
        await self.deep.add(self._server, self._lines, self._sends, SENDS_DEEP, DEEP)
        await self.shallow.add(self._server, self._lines, self._sends, SENDS_SHALLOW, 1)
        await self.alone.add(self._server, self._lines[:1], self._sends[:1], SENDS_ALONE, 1)


def main(folder: Path) -> None:
    with _server(folder / "crowded"):
        pass  # its keys are made before there is anything in its database
    crowd.fill(folder / "crowded" / "post.db", crowd.PEOPLE)
    rows = [
        *uvloop.run(_accepts(folder)),
        *uvloop.run(_crowded(folder / "crowded")),
        *uvloop.run(_idle(folder / "idle")),
    ]
    show("Version 3: the server", rows, {"rounds": str(ROUNDS), "body": str(len(BODY))})


def _server(folder: Path) -> ServerProcess:
    options = [*NO_ADDRESS_LIMIT, "--per-device", "100000", "--open", *UNLIMITED]
    return ServerProcess(post_server(folder, *options))


async def _enter(server: ServerProcess, count: int) -> tuple[list[Line], list[LoadDevice]]:
    """So many connections, each of an account of its own."""
    context = tls()
    devices = [LoadDevice(f"load {number}") for number in range(count)]
    lines = [await Line.connect(server.address, context) for _ in devices]
    for line, device in zip(lines, devices, strict=True):
        await line.enter(device, register=True)
    return lines, devices


async def _accepts(folder: Path) -> list[Row]:
    with (
        _server(folder / "ours") as ours,
        ServerProcess(ECHO) as echo,
        jetstream(folder / "nats") as nats,
    ):
        lines, devices = await _enter(ours, MANY)
        letters = [device.letter(BODY) for device in devices]
        # Everybody writes to the next one.
        pairs = zip(letters[1:] + letters[:1], devices, strict=True)
        templates = [Template(letter, device.device.id) for letter, device in pairs]
        echoes = [await Line.connect(echo.address, tls()) for _ in range(MANY)]
        plain = [anonymous(letter) for letter in letters]
        streams = await _streams(nats, MANY)
        kept = [Publish(f"{STREAM}.{n}", str(n), each.frame(0)) for n, each in enumerate(plain)]
        loads = Loads(ours, lines, templates), Loads(echo, echoes, plain), Loads(nats, streams, kept)
        for _ in range(ROUNDS):
            for load in loads:
                await load.round()
        drained = await _drain(lines[0], templates[0], lines[1])
        for line in (*lines, *echoes, *streams):
            line.close()
        mine, bare, peer = loads
        return [
            at_least(f"accepted, {MANY} connections x {DEEP} in flight", mine.deep.rate, 18_000, "/s"),
            *_beside("/s", bare.deep.rate, peer.deep.rate),
            at_most("server CPU per accepted", mine.deep.cpu, 0.055, "ms"),
            *_beside("ms", bare.deep.cpu, peer.deep.cpu),
            at_most("p99", mine.deep.p99, 200, "ms"),
            *_beside("ms", bare.deep.p99, peer.deep.p99),
            at_least(f"accepted, {MANY} connections x 1", mine.shallow.rate, 10_000, "/s"),
            *_beside("/s", bare.shallow.rate, peer.shallow.rate),
            at_most("server CPU per accepted", mine.shallow.cpu, 0.085, "ms"),
            *_beside("ms", bare.shallow.cpu, peer.shallow.cpu),
            at_most("1 connection, p50", mine.alone.p50, 0.6, "ms"),
            *_beside("ms", bare.alone.p50, peer.alone.p50),
            at_most("1 connection, p99", mine.alone.p99, 1.5, "ms"),
            *_beside("ms", bare.alone.p99, peer.alone.p99),
            at_least(f"drain of {WAITING:,}", drained, 30_000, "/s"),
            Row("server memory, what it maps of its database included", ours.peak_mb(), "MB"),
            Row("without that", ours.own_mb(), "MB"),
        ]


async def _streams(nats: ServerProcess, count: int) -> list[StreamLine]:
    context = tls()
    lines = [await StreamLine.connect(nats.address, context) for _ in range(count)]
    for number, line in enumerate(lines):
        await line.enter_as(str(number), make=number == 0)
    return lines


def _beside(unit: str, bare: float, peer: float) -> list[Row]:
    return [Row("  the echo server", bare, unit), Row("  NATS JetStream, synced", peer, unit)]


async def _crowded(folder: Path) -> list[Row]:
    """The same loads, where much is stored already, and to people whom the server has not looked at yet."""
    people = crowd.PEOPLE
    with _server(folder) as ours:
        lines, devices = await _enter(ours, MANY)
        templates = [crowd.ToAnybody(device.device.id, people, BODY) for device in devices]
        load = Loads(ours, lines, templates)
        for _ in range(ROUNDS):
            await load.round()
        for line in lines:
            line.close()
        stored = f"{people:,} stored in as many mailboxes"
        return [
            at_least(f"{stored}, {MANY} x {DEEP} in flight", load.deep.rate, 12_000, "/s"),
            Row("  server CPU per accepted", load.deep.cpu, "ms"),
            Row("  p99", load.deep.p99, "ms"),
            at_least(f"{stored}, {MANY} x 1", load.shallow.rate, 8_000, "/s"),
            Row("  server CPU per accepted", load.shallow.cpu, "ms"),
            Row("  1 connection, p50", load.alone.p50, "ms"),
            Row("server memory, what it maps of its database included", ours.peak_mb(), "MB"),
            Row("without that", ours.own_mb(), "MB"),
        ]


async def _drain(writer: Line, template: Template, reader: Line) -> float:
    """One device with so much waiting reads it, page after page."""
    epoch = (await reader.ask(Envelopes, GetEnvelopes(0, bytes(16), 0, 1, 1))).epoch
    await reader.ask(Acknowledged, Acknowledge(0, epoch, [], 2**62))
    await writer.load(template, WAITING, DEEP)
    begun, after, count = time.perf_counter(), 0, 0
    while True:
        page = await reader.ask(Envelopes, GetEnvelopes(0, epoch, after, MAX_PAGE_COUNT, MAX_PAGE_BYTES))
        count += len(page.envelopes)
        after = page.envelopes[-1].sequence
        if not page.more:
            break
    if count != WAITING:
        raise RuntimeError(f"{count} of {WAITING} came back")
    return WAITING / (time.perf_counter() - begun)


async def _idle(folder: Path) -> list[Row]:
    descriptor_budget(IDLE_MANY + MANY)
    with _server(folder) as ours:
        lines, devices = await _enter(ours, MANY)
        template = Template(devices[1].letter(BODY), devices[0].device.id)
        await lines[0].load(template, WARM, DEEP)  # what is needed once is there
        before = ours.resident_mb()
        context = tls()
        fresh = [await Line.connect(ours.address, context) for _ in range(IDLE)]
        for line in fresh:
            await line.enter(devices[0])
        with_fresh = ours.resident_mb()
        for line in fresh:
            await line.load(template, 20, 4)
        used = ours.resident_mb()
        for _ in range(IDLE_MANY - IDLE):
            line = await Line.connect(ours.address, context)
            await line.enter(devices[0])
            fresh.append(line)
        everything = ours.resident_mb()
        for line in (*lines, *fresh):
            line.close()
    return [
        at_most("idle authenticated connection, fresh", (with_fresh - before) * 1e6 / 1024 / IDLE, 40, "KiB"),
        at_most("the same after 20 envelopes", (used - before) * 1e6 / 1024 / IDLE, 130, "KiB"),
        at_most(f"server memory with {IDLE_MANY:,} of them", everything, 600, "MB"),
    ]
