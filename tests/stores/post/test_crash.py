"""kill -9, again and again, in the middle of everything: answered means kept, and once means once."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hushpost.ids import AccountId, DeviceId, EnvelopeId
from hushpost.stores.base import Envelope, mailbox_of
from hushpost.stores.post.sqlite import SqlitePost

from .victim import DEVICES, LIMITS, NOW, new_account, send_to

ROUNDS = 6


@dataclass
class Answers:
    """What the victims said, over all rounds."""

    open: dict[str, tuple[DeviceId, EnvelopeId]] = field(default_factory=dict)
    stored: dict[int, tuple[str, str]] = field(default_factory=dict)
    acking: set[int] = field(default_factory=set)
    acked: set[int] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    enrolled: dict[str, str] = field(default_factory=dict)
    versions: Counter[str] = field(default_factory=Counter)

    def hear(self, line: bytes) -> None:
        match line.decode().split():
            case ["sending", device, envelope, body]:
                self.open[body] = (DeviceId.parse(device), EnvelopeId.parse(envelope))
            case ["stored", number, device, body]:
                assert int(number) not in self.stored, "a sequence number was given twice"
                self.stored[int(number)] = (device, body)
                del self.open[body]
            case ["acking", number]:
                self.acking.add(int(number))
            case ["acked", number]:
                self.acked.add(int(number))
            case ["took", key]:
                assert key not in self.taken, "a one-time key was handed out twice"
                if key != "fallback":
                    self.taken.add(key)
            case ["enrolled", account, device]:
                self.enrolled[account] = device
            case ["put", account, version]:
                assert int(version) > self.versions[account]
                self.versions[account] = int(version)
            case other:
                raise AssertionError(other)


def run_and_kill(folder: Path, answers: Answers, after: int) -> None:
    """Let a victim work until it has said so much, then end it at once."""
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


async def repeat_what_was_not_answered(store: SqlitePost, answers: Answers) -> None:
    for body, (device, envelope) in answers.open.items():
        (sequence,) = await store.append_sealed(send_to(device, envelope, body))
        assert sequence not in answers.stored
        answers.stored[sequence] = (str(device), body)
    answers.open.clear()


async def check(folder: Path, answers: Answers) -> None:
    store = await SqlitePost.open(folder / "post.db", LIMITS, lambda: NOW)
    for device in DEVICES:
        if await store.device(device) is None:  # killed before it had begun
            await store.enroll(new_account(device), None)
    await repeat_what_was_not_answered(store, answers)
    found: dict[int, tuple[str, Envelope]] = {}
    for device in DEVICES:
        box = mailbox_of(device)
        envelopes = await store.read(box, after=0, max_count=1_000_000, max_bytes=1 << 40)
        numbers = [envelope.sequence for envelope in envelopes]
        assert numbers == sorted(numbers)
        usage = await store.usage(box)
        assert usage.count == len(envelopes)
        assert usage.size == sum(len(envelope.header) + envelope.content_size for envelope in envelopes)
        own = [number for number, (name, _) in answers.stored.items() if name == str(device)]
        position = await store.position(box)
        assert position.highest == max(own, default=0)
        assert position.acknowledged >= max(answers.acked.intersection(own), default=0)
        found |= {envelope.sequence: (str(device), envelope) for envelope in envelopes}

    assert not answers.acked & found.keys(), "what was acknowledged came back"
    assert answers.stored.keys() - found.keys() <= answers.acking, "a stored envelope was lost"
    assert found.keys() <= answers.stored.keys(), "an envelope is there that nobody sent, or twice"
    for number, (where, envelope) in found.items():
        assert (where, envelope.body.decode()) == answers.stored[number]
    for account, named in answers.enrolled.items():
        account_id, device_id = AccountId.parse(account), DeviceId.parse(named)
        assert (await store.devices(account_id)).devices == {device_id}
        assert (await store.seal_keys(account_id)).keys.keys() == {device_id}
        assert await store.manifests(account_id, 0, 9) == [b"manifest 1"]
        assert (await store.usage(mailbox_of(device_id))).count == 0
        assert await store.account_named(account)
    for account, version in answers.versions.items():
        newest = (await store.devices(AccountId.parse(account))).version
        assert newest in (version, version + 1)
        manifests = await store.manifests(AccountId.parse(account), 0, newest + 9)
        assert manifests == [b"manifest %d" % number for number in range(1, newest + 1)]
        answers.versions[account] = newest
    await store.close()


def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    answers, chance = Answers(), random.Random(20261123)
    for _ in range(ROUNDS):
        run_and_kill(tmp_path, answers, after=chance.randrange(1, 3_000))
        asyncio.run(check(tmp_path, answers))
    assert len(answers.taken) > 100
    assert len(answers.enrolled) > 100
