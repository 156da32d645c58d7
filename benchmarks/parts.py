"""Files through the server: up and down, over some connections, and texts beside them.

The load is made in this process and served in another. Nothing is encrypted here but TLS, so that the server
is what is measured; the baseline is a bare TLS copy of the same bytes between two Python processes.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import uvloop

from benchmarks.report import Row, at_least, at_most, show
from benchmarks.scale import scale
from harness.device import LoadDevice
from harness.lines import Address, Line, Template, tls
from harness.mover import LoadBlob, Mover
from harness.process import NO_ADDRESS_LIMIT, ServerProcess, post_server
from hushpost.wire.limits import PART_SIZE

COPY = [sys.executable, "-m", "benchmarks.tls_copy"]
UPLOADER = [sys.executable, "-m", "benchmarks.uploader"]
CONNECTIONS = 1, 2, 4
ROUNDS = scale(3, 1)
GIB = scale(260, 4)
"""Parts of about 1 GiB."""

LARGE = 8 * GIB
UPLOADS = scale(20, 3)
UPLOAD_PARTS = scale(65, 3)
"""256 MiB each."""

TEXTS, RATE = scale(10_000, 200), scale(1_000, 200)
BODY = bytes(192)

OPTIONS = [
    *NO_ADDRESS_LIMIT,
    *("--open", "--per-device", "1000", "--file-quota", "1000000000000"),
    *(
        each
        for name in ("connections", "entering", "registrations", "sends", "files", "parts")
        for each in ("--rate", f"{name}=100000000/1")
    ),
]


def at_once(work: Sequence[Callable[[], object]]) -> float:
    """Do these in threads; the seconds until all were done."""
    failures: list[BaseException] = []

    def run(each: Callable[[], object]) -> None:
        try:
            each()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(each,)) for each in work]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    if failures:
        raise failures[0]
    return seconds


def _movers(address: Address, device: LoadDevice, count: int) -> list[Mover]:
    made = [Mover(address) for _ in range(count)]
    for each in made:
        each.enter(device)
    return made


def _up(movers: list[Mover], blob: LoadBlob) -> float:
    """MB/s, from the announcement to the commit."""
    begun = time.perf_counter()
    movers[0].create(blob)
    shares = [range(k, blob.count, len(movers)) for k in range(len(movers))]
    at_once([partial(m.upload, blob, s) for m, s in zip(movers, shares, strict=True)])
    movers[0].commit(blob)
    return blob.size / (time.perf_counter() - begun) / 1e6


def _down(movers: list[Mover], blob: LoadBlob) -> float:
    """MB/s."""
    shares = [range(k, blob.count, len(movers)) for k in range(len(movers))]
    seconds = at_once([partial(m.download, blob, s) for m, s in zip(movers, shares, strict=True)])
    return blob.size / seconds / 1e6


def _copy(address: Address, count: int, way: bytes) -> float:
    """MB/s of the bare copy of 1 GiB."""
    size = GIB * PART_SIZE // count
    context = tls()
    streams = [context.wrap_socket(socket.create_connection(address)) for _ in range(count)]
    piece = memoryview(bytearray(1 << 20))

    def run(stream: socket.socket) -> None:
        stream.sendall(way + size.to_bytes(8, "little"))
        left = size
        while left:
            if way == b"<":
                stream.sendall(piece[:left])
                left -= min(left, len(piece))
            else:
                left -= stream.recv_into(piece)
        if way == b"<":
            stream.recv(1)

    seconds = at_once([partial(run, s) for s in streams])
    for stream in streams:
        stream.close()
    return count * size / seconds / 1e6


def main(folder: Path) -> None:
    rows = _speed(folder / "speed") + _beside(folder / "beside")
    show("Version 3: files through the server", rows, {"rounds": str(ROUNDS), "part": f"{PART_SIZE:,}"})


def _speed(folder: Path) -> list[Row]:
    device = LoadDevice("mover")
    rows: list[Row] = []
    with ServerProcess(post_server(folder, *OPTIONS)) as server, ServerProcess(COPY) as copy:
        first = Mover(server.address)
        first.enter(device, register=True)
        for count in CONNECTIONS:
            movers = _movers(server.address, device, count)
            speeds = [_turn(movers, copy.address) for _ in range(ROUNDS)]
            up, down, bare_up, bare_down = (median(each) for each in zip(*speeds, strict=True))
            rows += [
                at_least(f"up, {count} connections", up, 0.45 * bare_up, "MB/s"),
                Row("the bare TLS copy", bare_up, "MB/s"),
                at_least(f"down, {count} connections", down, 0.45 * bare_down, "MB/s"),
                Row("the bare TLS copy", bare_down, "MB/s"),
            ]
            for mover in movers:
                mover.close()
        rows.append(at_most("server memory, peak, 1 GiB", server.peak_mb(), 120, "MB"))
        movers = _movers(server.address, device, 4)
        large = LoadBlob(LARGE)
        rows += [
            Row("up, 8 GiB", _up(movers, large), "MB/s"),
            Row("down, 8 GiB", _down(movers, large), "MB/s"),
            at_most("server memory, peak, 8 GiB", server.peak_mb(), 120, "MB"),
        ]
    return rows


def _turn(movers: list[Mover], copy: Address) -> tuple[float, float, float, float]:
    blob, count = LoadBlob(GIB), len(movers)
    up, bare_up = _up(movers, blob), _copy(copy, count, b"<")
    down, bare_down = _down(movers, blob), _copy(copy, count, b">")
    movers[0].release(blob)
    return up, down, bare_up, bare_down


@dataclass(frozen=True)
class Round:
    """How long texts took (ms), and what the uploads and the server did meanwhile."""

    alone: list[float]
    beside: list[float]
    uploads: float
    peak_mb: float


async def _round(folder: Path) -> Round:
    """Texts at a steady rate, alone and beside uploads of another process, at a server of their own."""
    with ServerProcess(post_server(folder, *OPTIONS)) as server:
        context = tls()
        devices = [LoadDevice(f"text {number}") for number in range(8)]
        lines = [await Line.connect(server.address, context) for _ in devices]
        for line, device in zip(lines, devices, strict=True):
            await line.enter(device, register=True)
        templates = [Template(devices[k - 1].letter(BODY), devices[k].device.id) for k in range(len(devices))]
        alone, _ = await _texts(lines, templates)
        load = map(str, (*server.address, UPLOADS, UPLOAD_PARTS))
        uploads = await asyncio.create_subprocess_exec(*UPLOADER, *load, stdout=asyncio.subprocess.PIPE)
        if uploads.stdout is not None:
            await uploads.stdout.readline()
        beside, speed = await _texts(lines, templates, until=uploads)
        await uploads.wait()
        for line in lines:
            line.close()
        return Round(alone, beside, speed, server.peak_mb())


def _beside(folder: Path) -> list[Row]:
    """Medians of some rounds."""
    rounds = [uvloop.run(_round(folder / str(number))) for number in range(ROUNDS)]
    quiet = median(_quantile(each.alone, 0.99) for each in rounds)
    slowest = [_quantile(each.beside, 0.99) for each in rounds]
    what = f"beside {UPLOADS} uploads of 256 MiB"
    return [
        Row(f"{RATE:,} texts/s alone, p50", median(_quantile(each.alone, 0.5) for each in rounds), "ms"),
        Row(f"{RATE:,} texts/s alone, p99", quiet, "ms"),
        Row(f"{what}, p50", median(_quantile(each.beside, 0.5) for each in rounds), "ms"),
        Row(f"{what}, p99: least", min(slowest), "ms"),
        Row(f"{what}, p99: most", max(slowest), "ms"),
        at_most(f"{what}, p99", median(slowest), min(20.0, 10 * quiet), "ms"),
        Row("the texts that were sent beside them", float(sum(len(each.beside) for each in rounds)), ""),
        Row("the uploads, together", median(each.uploads for each in rounds), "MB/s"),
        Row("server memory, peak", max(each.peak_mb for each in rounds), "MB"),
    ]


async def _texts(
    lines: list[Line], templates: list[Template], until: asyncio.subprocess.Process | None = None
) -> tuple[list[float], float]:
    """Send at the rate, each when its time has come, and see how long each took from then on (ms).

    Beside a process: until it says how quick it was, which comes second.
    """
    begun, sent = time.perf_counter(), 0
    over = asyncio.create_task(until.stdout.readline()) if until and until.stdout else None
    while not over.done() if over else sent < TEXTS:
        due = begun + sent / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        lines[sent % len(lines)].pour(templates[sent % len(lines)], due)
        sent += 1
    latencies = [each * 1e3 for line in lines for each in await line.poured()]
    return latencies, float(over.result()) if over else 0.0


def _quantile(latencies: list[float], share: float) -> float:
    return sorted(latencies)[int(share * len(latencies))]
