"""10,000 idle connections, and requests beside them."""

from __future__ import annotations

import socket
from itertools import repeat
from pathlib import Path

from benchmarks.report import Row, at_most, show
from benchmarks.scale import scale
from harness.load import register, run, send_request
from harness.process import NO_ADDRESS_LIMIT, ServerProcess, classic_server
from hushpost.server.net import descriptor_budget

IDLE = scale(10_000, 200)
REQUESTS = scale(2_000, 50)


def main(folder: Path) -> None:
    descriptor_budget(IDLE)
    command = classic_server(folder, *NO_ADDRESS_LIMIT, "--request-deadline", "600")
    with ServerProcess(command) as ours:
        sender, recipient = register(ours.address, "sender"), register(ours.address, "recipient")
        request = send_request(sender, recipient, bytes(200))
        before = ours.resident_mb()
        alone = run(ours.address, repeat(request, REQUESTS), 1, 27)
        idle = [socket.create_connection(ours.address, 30) for _ in range(IDLE)]
        beside = run(ours.address, repeat(request, REQUESTS), 1, 27)
        memory = ours.resident_mb()
        for sock in idle:
            sock.close()
    alone.check()
    beside.check()
    show(
        f"Classic: {IDLE:,} idle connections",
        [
            at_most("server memory with them", memory, 200, "MB"),
            Row("server memory without", before, "MB"),
            Row("each of them", (memory - before) * 1e3 / IDLE, "KB"),
            at_most("a request beside them, p99", beside.quantile_ms(0.99), 10, "ms"),
            Row("a request without them, p99", alone.quantile_ms(0.99), "ms"),
        ],
        {"requests": str(REQUESTS)},
    )
