"""Events as they are kept: what lasts is told once."""

from __future__ import annotations

from hushpost.client import journal
from hushpost.client.api import Client
from hushpost.client.store import Tables
from hushpost.client.values import Alarm, Alarmed
from tests.client.people import SmallTown


async def shown(client: Client) -> list[Alarm]:
    return [each.alarm for each in await client.pending("test") if isinstance(each, Alarmed)]


async def test_an_alarm_that_lasts_is_told_once_until_something_else_happens(town: SmallTown) -> None:
    def twice(t: Tables) -> None:
        for now in (1, 2):
            journal.alarm(t, Alarm.CANNOT_CONNECT, now, detail="another server")

    def otherwise(t: Tables) -> None:
        journal.alarm(t, Alarm.CANNOT_CONNECT, 3, detail="an expired statement")

    await town.join("alice")
    async with town.open("alice") as (alice,):
        await alice._ctx.change(twice)
        assert await shown(alice) == [Alarm.CANNOT_CONNECT]
        await alice._ctx.change(otherwise)
        await alice._ctx.change(twice)
        assert await shown(alice) == [Alarm.CANNOT_CONNECT] * 3


async def test_every_other_alarm_is_told_each_time(town: SmallTown) -> None:
    def twice(t: Tables) -> None:
        for now in (1, 2):
            journal.alarm(t, Alarm.UNDECRYPTABLE, now)

    await town.join("alice")
    async with town.open("alice") as (alice,):
        await alice._ctx.change(twice)
        assert await shown(alice) == [Alarm.UNDECRYPTABLE] * 2
