"""Two people who know each other, on a server that says what a test likes, or on the real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from harness.process import ServerProcess, post_server
from hushpost.client.clock import SystemClock
from tests.cli.members import Place, invitation
from tests.client.people import Town, befriend
from tests.client.smallserver import small_server
from tests.client.transfers.hall import Hall, Pair, RealOffice, SharedTown


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One real server for all."""
    data = tmp_path_factory.mktemp("files-office")
    generous = [f"--rate={name}=100000/1" for name in ("registrations", "entering")]
    with ServerProcess(post_server(data, *generous)) as process:
        yield Place(process, data, invitation(data))


@pytest.fixture
async def pair(office: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    """Alice and Bob on the real server."""
    monkeypatch.setenv("HUSH_KEY", "file")
    clock = SystemClock()
    town = SharedTown(tmp_path, RealOffice(office.invitation), clock)
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(town, alice, bob)
        yield Pair(town, alice, bob, to_bob, to_alice, tmp_path)


@pytest.fixture
async def hall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hall]:
    """Alice and Bob on a server that can lie."""
    monkeypatch.setenv("HUSH_KEY", "file")
    clock = SystemClock()
    async with small_server(tmp_path, clock) as server:
        town = Town(tmp_path, server, clock)
        await town.join("alice")
        await town.join("bob")
        async with town.open("alice", "bob") as (alice, bob):
            to_bob, to_alice = await befriend(town, alice, bob)
            yield Hall(town, alice, bob, to_bob, to_alice, tmp_path)
