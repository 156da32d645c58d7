"""200-byte messages, one connection each, beside a bare uvloop echo server with the same connections."""

from __future__ import annotations

import os
import sys
import time
from itertools import repeat
from pathlib import Path
from statistics import median

from benchmarks.report import Row, at_least, at_most, show
from benchmarks.scale import scale
from harness.load import Result, register, run, send_request
from harness.process import NO_ADDRESS_LIMIT, ServerProcess, classic_server

ECHO = [sys.executable, "-m", "benchmarks.echo"]
"""The baseline: uvloop's own server, answering 27 bytes and closing, nothing else."""

CONTENT = bytes(200)
ANSWER = 27
MANY = 64
MESSAGES = scale(20_000, 500)
MESSAGES_ALONE = scale(3_000, 50)
ROUNDS = scale(5, 1)
"""The two servers take turns, so that a slow minute of the machine hits both."""

LEAST_CPU = 0.1
"""Microseconds for a send. The system counts in hundredths of a second: few sends may seem to take none."""


class _Costs:
    def __init__(self) -> None:
        self.results: list[Result] = []
        self.cpu_us: list[float] = []

    def add(self, process: ServerProcess, request: bytes, count: int, at_once: int) -> None:
        before = process.cpu_seconds()
        result = run(process.address, repeat(request, count), at_once, ANSWER)
        result.check()
        self.results.append(result)
        self.cpu_us.append((process.cpu_seconds() - before) / count * 1e6)

    @property
    def rate(self) -> float:
        return median(result.rate for result in self.results)

    @property
    def cpu(self) -> float:
        return median(self.cpu_us)

    def ms(self, share: float) -> float:
        return median(result.quantile_ms(share) for result in self.results)


def _fsync_ms(folder: Path) -> float:
    """What a commit of one small message asks of the disk: four pages of a log that is reused."""
    pages = 4 * [bytes(4096)]
    seconds = []
    with (folder / "raw").open("wb", buffering=0) as file:
        for number in range(400):
            file.seek(number % 200 * 4 * 4096)
            for page in pages:
                file.write(page)
            begun = time.perf_counter()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - begun)
    return median(seconds[200:]) * 1e3


def main(folder: Path) -> None:
    with ServerProcess(classic_server(folder, *NO_ADDRESS_LIMIT)) as ours, ServerProcess(ECHO) as echo:
        sender, recipient = register(ours.address, "sender"), register(ours.address, "recipient")
        request = send_request(sender, recipient, CONTENT)
        many, many_echo, alone, alone_echo = _Costs(), _Costs(), _Costs(), _Costs()
        for _ in range(ROUNDS):
            many.add(ours, request, MESSAGES, MANY)
            many_echo.add(echo, request, MESSAGES, MANY)
            alone.add(ours, request, MESSAGES_ALONE, 1)
            alone_echo.add(echo, request, MESSAGES_ALONE, 1)
        peak = ours.peak_mb()
    show(
        "Classic: accepted and durable 200-byte sends",
        [
            at_least("64 senders", many.rate, 8_000, "/s"),
            Row("64 senders, p99", many.ms(0.99), "ms"),
            Row("the same to the echo server", many_echo.rate, "/s"),
            Row("server CPU per send", many.cpu, "us"),
            at_most(
                "server CPU, times the echo server's", many.cpu / max(many_echo.cpu, LEAST_CPU), 2.5, "x"
            ),
            at_most("1 sender, p50", alone.ms(0.5), 0.7, "ms"),
            at_most("1 sender, p99", alone.ms(0.99), 1.5, "ms"),
            Row("the same to the echo server, p50", alone_echo.ms(0.5), "ms"),
            Row("raw: overwrite 16 KiB and fsync, p50", _fsync_ms(folder), "ms"),
            at_most("server memory, peak", peak, 128, "MB"),
        ],
        {"rounds": str(ROUNDS), "messages a round": f"{MESSAGES}, alone {MESSAGES_ALONE}"},
    )
