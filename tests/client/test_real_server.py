"""The same against the real server: what each end believes of the other holds."""

from __future__ import annotations

from hushpost.client.values import Delivery, Standing
from tests.client.people import befriend, in_time, met, received, until
from tests.client.realserver import DAY, RealTown


async def test_two_people_and_the_real_server(real_town: RealTown) -> None:
    await real_town.join("alice")
    await real_town.join("bob", inviter="alice")
    async with real_town.open("alice", "bob") as (alice, bob):
        to_alice = await met(bob, "alice")
        await bob.send(to_alice.account, "hello Alice")
        assert [each.text for each in await in_time(received(alice, 1))] == ["hello Alice"]
        request = await alice.contact("bob")
        assert request.standing is Standing.REQUEST
        await alice.accept(request.account)
        texts = [f"text {number}" for number in range(50)]
        for text in texts:
            message = await alice.send(request.account, text)
        assert [each.text for each in await in_time(received(bob, 50))] == texts
        await in_time(bob.settled())
        real_town.clock.move(10)
        await in_time(alice.reached(message.id, Delivery.DELIVERED))


async def test_seal_keys_rotate_daily_and_the_old_ones_go(real_town: RealTown) -> None:
    await real_town.join("alice")
    await real_town.join("bob")
    async with real_town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(real_town, alice, bob)
        for day in range(5):
            real_town.clock.move(DAY)
            await in_time(met(alice, "bob"))
            message = await alice.send(to_bob.account, f"day {day}")
            await bob.send(to_alice.account, f"day {day}")
            await in_time(alice.reached(message.id, Delivery.ACCEPTED))
            real_town.clock.move(2 * 3_600)
            (came,) = await in_time(received(bob, 1))
            assert came.text == f"day {day}"

        async def the_old_ones_are_gone() -> bool:
            real_town.clock.move(61)
            return int((await bob.doctor())["old seal keys"]) <= 1

        await until(the_old_ones_are_gone)
