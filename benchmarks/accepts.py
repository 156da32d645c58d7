"""The version-3 server as its clients see it: accepted and durable envelopes over TLS, with everything real.

The load is made in this process and served in another; the baseline is a bare uvloop TLS server that answers
frames of the same sizes and keeps nothing. Everybody writes to the next one first; then, at a server in which
a million people have an envelope each, to any of those.
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
from benchmarks.report import Row, at_least, at_most, show
from benchmarks.scale import scale
from harness.device import LoadDevice
from harness.lines import Line, Template, anonymous, tls
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
    """What one kind of load has shown, the median of its rounds."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.cpu: list[float] = []
        self.p50: list[float] = []
        self.p99: list[float] = []

    async def add(
        self, server: ServerProcess, lines: list[Line], templates: Sequence[Template], count: int, deep: int
    ) -> None:
        for line in lines:
            line.latencies.clear()
        share = count // len(lines)
        before, begun = server.cpu_seconds(), time.perf_counter()
        await asyncio.gather(
            *(line.load(each, share, deep) for line, each in zip(lines, templates, strict=True))
        )
        seconds = time.perf_counter() - begun
        self.rates.append(share * len(lines) / seconds)
        self.cpu.append((server.cpu_seconds() - before) / (share * len(lines)) * 1e3)
        latencies = sorted(each for line in lines for each in line.latencies)
        self.p50.append(latencies[len(latencies) // 2] * 1e3)
        self.p99.append(latencies[int(len(latencies) * 0.99)] * 1e3)


def main(folder: Path) -> None:
    with _server(folder / "crowded"):
        pass  # its keys are made before there is anything in its database
    crowd.fill(folder / "crowded" / "post.db", crowd.PEOPLE)
    rows = [
        *uvloop.run(_accepts(folder / "accepts")),
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
    with _server(folder) as ours, ServerProcess(ECHO) as echo:
        lines, devices = await _enter(ours, MANY)
        letters = [device.letter(BODY) for device in devices]
        # Everybody writes to the next one.
        pairs = zip(letters[1:] + letters[:1], devices, strict=True)
        templates = [Template(letter, device.device.id) for letter, device in pairs]
        context = tls()
        echoes = [await Line.connect(echo.address, context) for _ in range(MANY)]
        plain = [anonymous(letter) for letter in letters]
        deep, shallow, alone = Run(), Run(), Run()
        echo_deep, echo_shallow, echo_alone = Run(), Run(), Run()
        for _ in range(ROUNDS):
            await deep.add(ours, lines, templates, SENDS_DEEP, DEEP)
            await echo_deep.add(echo, echoes, plain, SENDS_DEEP, DEEP)
            await shallow.add(ours, lines, templates, SENDS_SHALLOW, 1)
            await echo_shallow.add(echo, echoes, plain, SENDS_SHALLOW, 1)
            await alone.add(ours, lines[:1], templates[:1], SENDS_ALONE, 1)
            await echo_alone.add(echo, echoes[:1], plain[:1], SENDS_ALONE, 1)
        drained = await _drain(lines[0], templates[0], lines[1])
        for line in (*lines, *echoes):
            line.close()
        return [
            at_least(f"accepted, {MANY} connections x {DEEP} in flight", median(deep.rates), 18_000, "/s"),
            Row("the same to the echo server", median(echo_deep.rates), "/s"),
            at_most("server CPU per accepted", median(deep.cpu), 0.055, "ms"),
            Row("the same of the echo server", median(echo_deep.cpu), "ms"),
            at_most("p99", median(deep.p99), 200, "ms"),
            at_least(f"accepted, {MANY} connections x 1", median(shallow.rates), 10_000, "/s"),
            Row("the same to the echo server", median(echo_shallow.rates), "/s"),
            at_most("server CPU per accepted", median(shallow.cpu), 0.085, "ms"),
            Row("the same of the echo server", median(echo_shallow.cpu), "ms"),
            at_most("1 connection, p50", median(alone.p50), 0.6, "ms"),
            at_most("1 connection, p99", median(alone.p99), 1.5, "ms"),
            Row("the same to the echo server, p50", median(echo_alone.p50), "ms"),
            at_least(f"drain of {WAITING:,}", drained, 30_000, "/s"),
            Row("server memory, peak", ours.peak_mb(), "MB"),
        ]


async def _crowded(folder: Path) -> list[Row]:
    """The same loads, where much is stored already, and to people whom the server has not looked at yet."""
    people = crowd.PEOPLE
    with _server(folder) as ours:
        lines, devices = await _enter(ours, MANY)
        templates = [crowd.ToAnybody(device.device.id, people, BODY) for device in devices]
        deep, shallow = Run(), Run()
        for _ in range(ROUNDS):
            await deep.add(ours, lines, templates, SENDS_DEEP, DEEP)
            await shallow.add(ours, lines, templates, SENDS_SHALLOW, 1)
        for line in lines:
            line.close()
        stored = f"{people:,} stored in as many mailboxes"
        return [
            at_least(f"{stored}, {MANY} x {DEEP} in flight", median(deep.rates), 12_000, "/s"),
            Row("the same, p99", median(deep.p99), "ms"),
            at_least(f"{stored}, {MANY} x 1", median(shallow.rates), 8_000, "/s"),
            Row("server memory, peak", ours.peak_mb(), "MB"),
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
