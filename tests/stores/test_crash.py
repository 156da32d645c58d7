"""kill -9, again and again, in the middle of everything: what was answered holds."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from hushpost.ids import BlobId
from hushpost.stores.base import Envelope

from .conftest import close_world, open_world
from .victim import BOXES

ROUNDS = 6


@dataclass
class Answers:
    """What the victims said, over all rounds."""

    stored: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    acking: set[int] = field(default_factory=set)
    acked: set[int] = field(default_factory=set)

    def hear(self, line: bytes) -> None:
        kind, number, *rest = line.decode().split()
        if kind == "acking":
            self.acking.add(int(number))
        elif kind == "acked":
            self.acked.add(int(number))
        else:
            assert int(number) not in self.stored, "a sequence number was given twice"
            box, body, blob = rest
            self.stored[int(number)] = (box, body, blob)


def run_and_kill(folder: Path, answers: Answers, after: int) -> None:
    """Let a victim work until it has answered so many times, then end it at once."""
    command = [sys.executable, str(Path(__file__).with_name("victim.py")), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        for _ in range(after):
            line = victim.stdout.readline()
            assert line.endswith(b"\n"), "the victim ended by itself"
            answers.hear(line)
        victim.kill()
        for line in victim.stdout:
            if line.endswith(b"\n"):
                answers.hear(line)


async def check(folder: Path, answers: Answers) -> None:
    world = await open_world("sqlite", folder)
    found: dict[int, tuple[str, Envelope]] = {}
    for mailbox in BOXES:
        envelopes = await world.store.read(mailbox, after=0, max_count=1_000_000, max_bytes=1 << 40)
        numbers = [envelope.sequence for envelope in envelopes]
        assert numbers == sorted(numbers)
        usage = await world.store.usage(mailbox)
        assert usage.count == len(envelopes)
        assert usage.size == sum(len(envelope.header) + envelope.content_size for envelope in envelopes)
        found |= {envelope.sequence: (str(mailbox), envelope) for envelope in envelopes}

    assert not answers.acked & found.keys(), "what was acknowledged came back"
    assert answers.stored.keys() - found.keys() <= answers.acking, "a stored envelope was lost"
    for number in answers.stored.keys() & found.keys():
        box, body, blob = answers.stored[number]
        where, envelope = found[number]
        assert (where, envelope.body.decode()) == (box, body)
        assert (str(envelope.attachment.blob) if envelope.attachment else "-") == blob
        if envelope.attachment:
            content = bytearray(len(body) + 1)
            count = await world.blobs.read_into(BlobId.parse(blob), 0, memoryview(content))
            assert content[:count].decode() == body
    blobs = {str(e.attachment.blob) for _, e in found.values() if e.attachment}
    assert {path.name for path in (folder / "blobs").glob("*/*")} == blobs
    await close_world(world)


def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    answers, chance = Answers(), random.Random(20261122)
    for _ in range(ROUNDS):
        run_and_kill(tmp_path, answers, after=chance.randrange(1, 1_200))
        asyncio.run(check(tmp_path, answers))
