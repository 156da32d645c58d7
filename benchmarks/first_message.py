"""From nothing to the first message delivered: what two people wait for, command by command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.report import Row, at_most, show
from benchmarks.scale import scale
from harness.process import HUSH, ServerProcess, post_server

ROUNDS = scale(5, 1)


class Clock:
    """Runs commands, and notes how long each took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def run(self, what: str, home: Path, *command: str) -> str:
        begun = time.perf_counter()
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={**os.environ, "HUSH_HOME": str(home), "HUSH_KEY": "file"},
        )
        self.seconds[what] = time.perf_counter() - begun
        return done.stdout


def measure(folder: Path) -> tuple[Clock, float]:
    """One round; and how long as many starts of a bare interpreter take."""
    clock, alice, bob = Clock(), folder / "alice", folder / "bob"
    with ServerProcess(post_server(folder / "server")) as server:
        invitation = server.next_line().rpartition(" ")[2]
        clock.run("alice joins", alice, HUSH, "join", invitation, "--name", "alice")
        link = clock.run("alice puts her name to the invitation", alice, HUSH, "invite", invitation).strip()
        clock.run("bob joins", bob, HUSH, "join", link, "--name", "bob")
        clock.run("bob sends", bob, HUSH, "send", "alice", "hello")
        text = clock.run("alice reads", alice, HUSH, "read")
    if "hello" not in text:
        raise RuntimeError("alice does not see the message")
    begun = time.perf_counter()
    for _ in clock.seconds:
        subprocess.run([sys.executable, "-c", "pass"], check=True)
    return clock, time.perf_counter() - begun


def main(folder: Path) -> None:
    rounds = []
    for number in range(ROUNDS):
        room = folder / str(number)
        room.mkdir()
        rounds.append(measure(room))
    steps = list(rounds[0][0].seconds)
    show(
        "From joining to the first message delivered",
        [
            at_most("all commands", median(sum(clock.seconds.values()) for clock, _ in rounds), 3, "s"),
            *(Row(step, median(clock.seconds[step] for clock, _ in rounds), "s") for step in steps),
            Row(f"{len(steps)} x python -c pass", median(baseline for _, baseline in rounds), "s"),
        ],
        {"rounds": str(ROUNDS)},
    )
