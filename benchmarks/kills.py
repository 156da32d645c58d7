"""Kills at random moments while files are sent and fetched: what comes out, and what is carried again."""

from __future__ import annotations

import json
import random
import subprocess
import time
from dataclasses import dataclass

from benchmarks.correspondents import MIB, Office, digest, make, start
from benchmarks.report import Row, at_most
from benchmarks.scale import scale
from demo.secure import Person
from hushpost.crypto.filelayout import PART, SEALED_PART

KILL_FILE = scale(256 * MIB, 16 * MIB)
AGAIN = 2
"""Parts that may be sent once more for each kill."""


@dataclass
class Kills:
    """Kills at random moments, and what so many of them came to.

    Attributes:
        carried: bytes that pass through the server for a transfer that nobody kills, by command.
        wrong: files that came out with other bytes, or not at all.
        most_again: parts that one kill had carried again, at most, by the progress that was told.
        most_passed: the same by what passed through the server, where that was not killed itself.
        of_server: so many of the kills.
    """

    office: Office
    carried: dict[str, int]
    wrong: int = 0
    most_again: int = 0
    most_passed: float = 0
    count: int = 0
    of_server: int = 0

    def carry(self, person: Person, life: float, *arguments: str, server: bool) -> None:
        """Begin, kill, go on. The server is started again; who has lost their hush call another."""
        before = self.office.passed(arguments[0])
        process = start(person, *arguments)
        try:
            process.wait(life * random.random())
        except subprocess.TimeoutExpired:
            self.count += 1
            self.of_server += server
            (self.office.revive if server else process.kill)()
        told = _progress(process)
        waiting = [each for each in person.run("files", "list") if each["state"] in {"waiting", "failed"}]
        if waiting:
            told += [waiting[0]["carried"], *_progress(start(person, "files", "resume"))]
            if not server:
                more = self.office.passed(arguments[0]) - before - self.carried[arguments[0]]
                self.most_passed = max(self.most_passed, round(more / SEALED_PART, 1))
        elif process.returncode:  # before anything was noted, or after everything was
            person.attempt(*arguments)
        self.most_again = max(self.most_again, _again(told))

    def rows(self) -> list[Row]:
        what = f"{self.count} kills, {self.of_server} of them of the server, {KILL_FILE // MIB} MiB"
        return [
            at_most(f"wrong files after {what}", self.wrong, 0, ""),
            at_most("parts carried again, at most, by what was told", self.most_again, AGAIN, ""),
            at_most("the same, by what passed a server that lived on", self.most_passed, AGAIN, ""),
        ]


def killed_on_the_way(office: Office, count: int) -> Kills:
    """Half of them while a file is sent, half while it is fetched; in turn of the server and of a hush."""
    source, server = office.folder / "killed.bin", False
    make(source, KILL_FILE)
    expected = [digest(source)]
    send = "send", "bob", "--file", str(source)
    got, given = office.passed("send"), office.passed("get")
    sending = _life(office.alice, *send)
    got = office.passed("send") - got
    fetching = _life(office.bob, "get", office.offer(), "-o", str(office.inbox()))
    found = Kills(office, {"send": got, "get": office.passed("get") - given})
    while found.count < count:
        inbox = office.inbox()
        found.carry(office.alice, sending, *send, server=server)
        found.carry(office.bob, fetching, "get", office.offer(), "-o", str(inbox), server=not server)
        found.wrong += [digest(each) for each in inbox.iterdir()] != expected
        server = not server
    return found


def _life(person: Person, *arguments: str) -> float:
    """How long a command takes that nobody kills."""
    begun = time.perf_counter()
    person.run(*arguments)
    return time.perf_counter() - begun


def _again(told: list[int]) -> int:
    """How many parts had been begun that were begun once more: progress falls by them."""
    most = fell = 0
    for carried in told:
        most = max(most, carried)
        fell = max(fell, most - carried)
    return -(-fell // PART)


def _progress(process: subprocess.Popen[str]) -> list[int]:
    """What it says to have carried, until it ends."""
    lines = process.communicate()[0].splitlines()
    told = [json.loads(line) for line in lines if line.endswith("}")]
    return [each["carried"] for each in told if each["event"] == "progress"]
