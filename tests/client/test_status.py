"""Whoever waits is woken: a bell that was rung too early is heard, and nothing that is due is missed."""

from __future__ import annotations

import asyncio

import pytest

from hushpost.client import keeper
from hushpost.client.status import Bell, Phase, Schedule
from hushpost.client.values import Received
from hushpost.errors import HushpostError, OldCopy, StoreFailed
from hushpost.ids import AccountId
from tests.client.people import SmallTown, first_event, in_time


async def is_rung(bell: Bell) -> bool:
    task = asyncio.create_task(bell.rung())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return not task.cancelled()


async def test_a_bell_says_where_to_look() -> None:
    bell, one, other = Bell(), AccountId(bytes(16)), AccountId(bytes(15) + b"1")
    bell.ring(one)
    bell.ring(other)
    assert await in_time(bell.rung()) == {one, other}
    bell.ring(one)
    bell.ring()
    bell.ring(other)
    assert await in_time(bell.rung()) == frozenset()
    assert not await is_rung(bell)


@pytest.mark.parametrize(("due", "rings"), [(99, True), (100, False), (101, False)])
async def test_only_what_is_earlier_rings(due: int, *, rings: bool) -> None:
    schedule = Schedule()
    schedule.waits(100)
    schedule.by(due)
    assert await is_rung(schedule) is rings


async def test_what_comes_while_somebody_looks_is_looked_for_again() -> None:
    schedule = Schedule()
    schedule.waits(100)
    schedule.looks()
    schedule.by(500)
    schedule.waits(1_000)
    assert await is_rung(schedule)


async def test_whoever_follows_is_told_when_nothing_will_come_any_more(town: SmallTown) -> None:
    await town.join("alice")
    async with town.open("alice") as (alice,):
        await in_time(alice.settled())
        waiting = asyncio.ensure_future(first_event(alice, Received))
        await asyncio.sleep(0)
        alice._ctx.status.set(Phase.STOPPED, OldCopy("an old copy"))
        with pytest.raises(OldCopy):
            await in_time(waiting)


@pytest.mark.parametrize("failure", [StoreFailed("the disk"), OldCopy("an old copy")])
async def test_what_time_does_not_mend_is_not_tried_again(
    town: SmallTown, monkeypatch: pytest.MonkeyPatch, failure: HushpostError
) -> None:
    """A database that fails would otherwise be asked again twice a second, for ever, and nobody be told."""
    tried = 0

    async def failing(*_: object) -> None:
        nonlocal tried
        tried += 1
        raise failure

    await town.join("alice")
    monkeypatch.setattr(keeper, "enter", failing)
    async with town.open("alice") as (alice,):
        with pytest.raises(type(failure)):
            await in_time(alice.settled())
        town.clock.move(86_400)
        with pytest.raises(type(failure)):
            await in_time(first_event(alice, Received))
    assert tried == 1
