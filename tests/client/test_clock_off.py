"""Devices whose clocks are wrong: ids carry the server's time, so that what is sent is not refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from hushpost.client.api import Client
from hushpost.client.values import Delivery
from hushpost.ids import AccountId, EnvelopeId
from hushpost.wire.messages import SendEnvelope
from tests.client.clocks import ManualClock
from tests.client.people import SmallTown, Town, befriend, in_time, received, until
from tests.client.smallserver import small_server

HOUR = 3_600


@pytest.fixture(name="town")
async def with_a_clock_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SmallTown]:
    """The town's clock is its people's; the server has another."""
    monkeypatch.setenv("HUSH_KEY", "file")
    clock = ManualClock()
    async with small_server(tmp_path, ManualClock(clock.now())) as server:
        yield Town(tmp_path, server, clock)


def sends(town: SmallTown, to: AccountId | None = None) -> list[SendEnvelope]:
    """Every attempt; or those to one account."""
    seen = [each for each in town.server.seen if isinstance(each, SendEnvelope)]
    return [each for each in seen if to is None or each.account == to]


def ages(town: SmallTown) -> list[int]:
    """How old the ids of all sends are, by the server's clock, in seconds."""
    return [town.server.clock.now() - EnvelopeId(each.envelope).seconds for each in sends(town)]


@asynccontextmanager
async def people(town: SmallTown) -> AsyncIterator[tuple[Client, Client]]:
    async with AsyncExitStack() as stack:
        alice, bob = await stack.enter_async_context(town.open("alice", "bob"))
        yield alice, bob


@pytest.mark.parametrize("hours", [-20, -2, 2, 40 * 24])
async def test_clocks_that_are_hours_or_days_off(town: SmallTown, hours: int) -> None:
    town.clock.move(hours * HOUR)
    await town.join("alice")
    await town.join("bob")
    async with people(town) as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
        message = await alice.send(to_bob.account, "by another clock")
        await in_time(alice.reached(message.id, Delivery.ACCEPTED))
        assert [each.text for each in await in_time(received(bob, 1))] == ["by another clock"]
    assert set(ages(town)) <= {-1, 0, 1}


@pytest.mark.parametrize("hours", [-20, -2, 2, 40 * 24])
async def test_a_clock_that_is_put_right_while_connected(town: SmallTown, hours: int) -> None:
    """The server's time is asked for again, once, and what was refused goes out under a new id."""
    await town.join("alice")
    await town.join("bob")
    async with people(town) as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
        town.clock.move(hours * HOUR)
        before = len(sends(town, to_bob.account))
        message = await alice.send(to_bob.account, "by a clock that was moved")

        async def is_accepted() -> bool:
            town.clock.move(1)
            return (await alice.message(message.id)).delivery is not Delivery.QUEUED

        await until(is_accepted)
        assert [each.text for each in await in_time(received(bob, 1))] == ["by a clock that was moved"]
        # The text and a receipt: each refused twice at most, before and after the server was asked.
        assert len(sends(town, to_bob.account)) - before <= 6
