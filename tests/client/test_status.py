"""Whoever waits is woken: a bell that was rung too early is heard, and nothing that is due is missed."""

from __future__ import annotations

import asyncio

import pytest

from hushpost.client.status import Bell, Schedule
from hushpost.ids import AccountId
from tests.client.people import in_time


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
