"""Fetching an inbox of 1,000 messages, and empty polls beside a million stored rows of others."""

from __future__ import annotations

import time
from itertools import repeat
from pathlib import Path
from statistics import median

from benchmarks.report import Row, at_most, show
from harness.load import exchange, fetch_request, register, run, send_request
from harness.process import NO_ADDRESS_LIMIT, ServerProcess, classic_server

WAITING = 1_000
ROUNDS = 7
POLLS = 2_000
OTHERS = 1_000_000
CONTENT = bytes(200)


def main(folder: Path) -> None:
    with ServerProcess(classic_server(folder, *NO_ADDRESS_LIMIT)) as ours:
        address = ours.address
        sender, reader, other, idle = (
            register(address, name) for name in ("sender", "reader", "other", "idle")
        )
        fetches = []
        for _ in range(ROUNDS):
            run(address, repeat(send_request(sender, reader, CONTENT), WAITING), 64, 27)
            begun = time.perf_counter()
            answer = exchange(address, fetch_request(reader))
            fetches.append((time.perf_counter() - begun) * 1e3)
            if len(answer) != 7 + WAITING * (25 + len(CONTENT)):
                raise RuntimeError("the inbox was not complete")
        without = _polls(address, fetch_request(idle))
        stored = send_request(sender, other, CONTENT)
        begun = time.perf_counter()
        filled = run(address, repeat(stored, OTHERS), 64, 27)
        filling = time.perf_counter() - begun
        if filled.refused:
            raise RuntimeError(f"{filled.refused} sends were refused")
        beside = _polls(address, fetch_request(idle))
        peak = ours.peak_mb()
    show(
        "Classic: fetches",
        [
            at_most(f"{WAITING:,} waiting messages", median(fetches), 25, "ms"),
            Row("empty poll, nothing else stored, p50", without, "ms"),
            Row(f"empty poll, {OTHERS:,} rows of others, p50", beside, "ms"),
            at_most("empty poll, with / without the rows", beside / without, 1.15, "x"),
            Row(f"sends while filling to {OTHERS:,} rows, 64 senders", OTHERS / filling, "/s"),
            Row("their p99, through checkpoints", filled.quantile_ms(0.99), "ms"),
            at_most("server memory, peak", peak, 128, "MB"),
        ],
        {"rounds": str(ROUNDS), "polls": str(POLLS)},
    )


def _polls(address: tuple[str, int], request: bytes) -> float:
    """Median of the p50 of several runs."""
    return median(run(address, repeat(request, POLLS), 1, 7).quantile_ms(0.5) for _ in range(5))
