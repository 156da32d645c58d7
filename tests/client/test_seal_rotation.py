"""A server that will not let an old seal key go: the key goes all the same, and its user is told."""

from __future__ import annotations

import asyncio
import threading

import msgspec
import pytest

from hushpost.client import clock as clocks
from hushpost.client import upkeep
from hushpost.client.api import Client
from hushpost.client.status import Phase
from hushpost.client.store import OwnSealKey, seals
from hushpost.client.values import Alarm, Alarmed, Delivery
from hushpost.wire.messages import (
    Error,
    ErrorCode,
    KeysPublished,
    PublishKeys,
    RequestMessage,
    ResponseMessage,
)
from tests.client.clocks import ManualClock
from tests.client.people import SmallTown, in_time, received, until

DAY = 86_400


async def own_keys(client: Client) -> tuple[OwnSealKey, ...]:
    return await client._ctx.db.reading(lambda t: t.seals.every())


async def alarms(client: Client) -> list[Alarm]:
    return [each.alarm for each in await client.pending("judge") if isinstance(each, Alarmed)]


async def rotated(town: SmallTown, client: Client) -> None:
    """A second key is made and published."""
    town.clock.move(DAY + 1)

    async def second() -> bool:
        town.clock.move(61)
        keys = await own_keys(client)
        return len(keys) == 2 and keys[-1].published_at is not None

    await until(second)


def never_retired(_: RequestMessage, answer: ResponseMessage) -> ResponseMessage:
    return msgspec.structs.replace(answer, retired=[]) if isinstance(answer, KeysPublished) else answer


def never_taken(request: RequestMessage, answer: ResponseMessage) -> ResponseMessage:
    if isinstance(request, PublishKeys) and request.seal_key:
        return Error(request.number, ErrorCode.RATE_LIMITED, "", 3_600)
    return answer


async def test_thirty_days_connected_delete_a_key_and_tell(
    town: SmallTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seals, "PATIENCE", 600)
    await town.join("bob")
    town.server.twist = never_retired
    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
        await rotated(town, bob)

        async def gone() -> bool:
            town.clock.move(61)
            return len(await own_keys(bob)) == 1

        await until(gone)
        assert await alarms(bob) == [Alarm.SEAL_KEPT_LONG]
        assert not await bob._ctx.db.reading(lambda t: t.seals.find(1))


async def test_a_machine_that_sleeps_is_not_connected(town: SmallTown) -> None:
    await town.join("bob")
    town.server.twist = never_retired
    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
        await rotated(town, bob)
        before = (await own_keys(bob))[0].connected
        town.clock.move(31 * DAY)

        async def third() -> bool:
            await asyncio.sleep(0.05)
            town.clock.move(61)
            return len(await own_keys(bob)) == 3

        await until(third)
        assert before < (await own_keys(bob))[0].connected < DAY
        assert await alarms(bob) == []


async def test_connections_that_are_cut_count_together(town: SmallTown) -> None:
    await town.join("bob")
    town.server.twist = never_retired
    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
        await rotated(town, bob)
        before = (await own_keys(bob))[0].connected
        for _ in range(10):
            town.clock.move(50)
            town.server.cut()
            await until(lambda: is_in(bob, Phase.WAITING))

            async def back() -> bool:
                town.clock.move(1)
                return await is_in(bob, Phase.ONLINE)

            await until(back)

        async def counted() -> bool:
            await asyncio.sleep(0)
            return (await own_keys(bob))[0].connected - before >= 500

        await until(counted)


async def test_what_was_still_to_be_counted_when_the_line_was_cut_is_not_lost(town: SmallTown) -> None:
    await town.join("bob")
    town.server.twist = never_retired
    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
        await rotated(town, bob)
        before = await counted_so_far(bob)
        held = threading.Event()
        busy = asyncio.ensure_future(bob._ctx.db.run(held.wait))
        try:
            town.clock.move(100)
            for _ in range(100):  # the upkeep is asked for, and waits behind that
                await asyncio.sleep(0)
            town.server.cut()
            await until(lambda: is_in(bob, Phase.WAITING))
        finally:
            held.set()
        await busy

        async def counted() -> bool:
            town.clock.move(1 if await is_in(bob, Phase.WAITING) else 0)
            return (await own_keys(bob))[0].connected - before >= 100

        await until(counted)


async def counted_so_far(client: Client) -> int:
    """When nothing is left to be counted, as long as the clock stands still."""
    before = -1
    while before != (before := (await own_keys(client))[0].connected):
        client._ctx.keys.ring()
        for _ in range(20):  # meanwhile the upkeep asks for its transaction
            await asyncio.sleep(0.005)
    return before


async def is_in(client: Client, phase: Phase) -> bool:
    return client._ctx.status.now.phase is phase


async def test_a_new_key_that_is_never_taken_is_an_alarm(
    town: SmallTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.join("bob")
    town.server.twist = never_taken
    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
        town.clock.move(DAY + 1)

        async def made() -> bool:
            town.clock.move(61)
            return len(await own_keys(bob)) == 2

        await until(made)
        monkeypatch.setattr(upkeep, "SEAL_ROTATION", 600)

        async def told() -> bool:
            town.clock.move(61)
            return Alarm.SEAL_NOT_TAKEN in await alarms(bob)

        await until(told)


async def test_an_introduction_carries_the_key_that_the_server_has(town: SmallTown) -> None:
    """Answers that are sealed to one which was never published would be refused."""
    await town.join("alice")
    await town.join("bob")
    town.server.twist = never_taken
    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
        town.clock.move(DAY + 1)

        async def made() -> bool:
            town.clock.move(61)
            return len(await own_keys(bob)) == 2

        await until(made)
        message = await bob.send((await bob.add(town.link("alice"))).account, "hello")
        await in_time(bob.reached(message.id, Delivery.ACCEPTED))
    async with town.open("alice") as (alice,):
        await in_time(received(alice, 1))
        account = town.joined["bob"].link.account.id
        (device,) = await alice._ctx.db.reading(lambda t: t.devices.listed(account))
        assert device.seal is not None
        assert device.seal.key_id == 1


def test_a_stopwatch() -> None:
    clock = ManualClock()
    watch = clocks.Stopwatch(clock)
    clock.move(50)
    assert watch.take() == 0
    watch.start()
    clock.move(50)
    watch.stop()
    clock.move(1_000)
    watch.start()
    clock.move(clocks.LONGEST_STEP + 1)
    assert watch.take() == 50 + clocks.LONGEST_STEP
    clock.move(-500)
    assert watch.take() == 0
