"""Clients that are killed at every step: no text is lost, none comes twice, and none in another order."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hushpost.client.api import Client
from hushpost.client.clock import SystemClock
from hushpost.client.values import Contact, Received
from tests.client.people import Town, befriend, in_time
from tests.client.smallserver import SmallServer, small_server

RealTimeTown = Town[SmallServer, SystemClock]

MOST_STEPS = 100
"""Far more than a client takes for two texts."""


class Nursery:
    """Makes clients that die."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def raise_one(self, profile: Path, step: int, *what: str) -> int:
        """Its exit code; -9 where it was killed at this step."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write((" ".join([str(profile), str(step), *what]) + "\n").encode())
        return int(await asyncio.wait_for(stdout.readline(), 60))


@asynccontextmanager
async def nursery() -> AsyncIterator[Nursery]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.client.victim",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Nursery(process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


@pytest.fixture(name="pair")
async def two_who_know_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[RealTimeTown, Contact, Contact]]:
    """Alice and Bob, as the other sees them, by the real clock."""
    monkeypatch.setenv("HUSH_KEY", "file")
    clock = SystemClock()
    async with small_server(tmp_path, clock) as server:
        town = Town(tmp_path, server, clock)
        await town.join("alice")
        await town.join("bob")
        async with town.open("alice", "bob") as (alice, bob):
            to_bob, to_alice = await befriend(town, alice, bob)
        yield town, to_bob, to_alice


async def came(bob: Client) -> list[str]:
    """The texts of all events, in their order: what an application has seen."""
    return [each.message.text for each in await bob.pending("judge") if isinstance(each, Received)]


async def test_a_sender_killed_at_every_step(pair: tuple[RealTimeTown, Contact, Contact]) -> None:
    town, to_bob, _ = pair
    async with nursery() as clients:
        for step in range(1, MOST_STEPS):
            texts = f"{step}-first", f"{step}-second"
            code = await clients.raise_one(town.profile("alice"), step, "send", str(to_bob.account), *texts)
            if code == 0:
                break
            assert code == -signal.SIGKILL
        assert 20 < step < MOST_STEPS - 1
        assert await clients.raise_one(town.profile("alice"), 0, "receive") == 0
    async with town.open("alice", "bob") as (alice, bob):
        await in_time(bob.settled())
        sent = [each.text for each in await alice.history(to_bob.account, limit=1_000) if each.ours]
        assert len(sent) > step
        assert await came(bob) == sent


async def test_a_receiver_killed_at_every_step(pair: tuple[RealTimeTown, Contact, Contact]) -> None:
    town, to_bob, _ = pair
    sent = ["hello"]
    async with town.open("alice") as (alice,), nursery() as clients:
        for step in range(1, MOST_STEPS):
            for text in (f"{step}-first", f"{step}-second"):
                await alice.send(to_bob.account, text)
                sent.append(text)
            await in_time(alice.settled())
            code = await clients.raise_one(town.profile("bob"), step, "receive")
            if code == 0:
                break
            assert code == -signal.SIGKILL
        assert 15 < step < MOST_STEPS - 1
    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
        assert await came(bob) == sent
