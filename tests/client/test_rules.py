"""The rules of delivery.md that no single message shows."""

from __future__ import annotations

from pathlib import Path

import pytest
import uvloop

from hushpost.client.store import sessions
from hushpost.client.values import Alarmed, Delivery, Standing
from hushpost.wire.messages import GetKeys, PublishKeys, SendEnvelope
from tests.client.clocks import ManualClock
from tests.client.people import SmallTown, Town, befriend, in_time, met, received, until
from tests.client.smallserver import SmallServer, small_server


def sessions_asked_for(server: SmallServer) -> int:
    return len([each for each in server.seen if isinstance(each, GetKeys) and each.want_sessions])


def sends(server: SmallServer) -> list[SendEnvelope]:
    return [each for each in server.seen if isinstance(each, SendEnvelope)]


async def test_a_session_without_answers_is_replaced(
    town: SmallTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_UNHEARD_SENDS", 5)
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
    before = sessions_asked_for(town.server)
    async with town.open("alice") as (alice,):
        for number in range(22):
            await alice.send(to_bob.account, f"{number}")
        await in_time(alice.settled())
    assert sessions_asked_for(town.server) - before >= 3
    async with town.open("bob") as (bob,):
        texts = [each.text for each in await in_time(received(bob, 22))]
        assert texts == [f"{number}" for number in range(22)]
        assert not [each for each in await bob.pending("judge") if isinstance(each, Alarmed)]


async def test_whoever_is_blocked_loses_the_token_and_everybody_else_gets_the_new_one(
    town: SmallTown,
) -> None:
    for name in ("alice", "bob", "mallory"):
        await town.join(name)
    async with town.open("alice", "bob", "mallory") as (alice, bob, mallory):
        _, to_alice = await befriend(town, alice, bob)
        await mallory.send((await mallory.add(town.link("alice"))).account, "hello")
        pest = await met(alice, "mallory")
        await alice.accept(pest.account)
        await in_time(alice.settled())

        async def mallory_has_a_token() -> bool:
            await mallory.send((await mallory.contact("alice")).account, "more")
            await in_time(mallory.settled())
            return bool(sends(town.server)[-1].delivery_token)

        await until(mallory_has_a_token)
        old = sends(town.server)[-1].delivery_token
        assert (await alice.block(pest.account)).standing is Standing.BLOCKED

        async def bob_has_the_new_one() -> bool:
            message = await bob.send(to_alice.account, "hello")
            await in_time(bob.reached(message.id, Delivery.ACCEPTED))
            mine = [each for each in sends(town.server) if each.account == to_alice.account]
            town.clock.move(61)
            return mine[-1].delivery_token not in {b"", old}

        await until(bob_has_the_new_one)
        count = len(sends(town.server))
        await mallory.send((await mallory.contact("alice")).account, "and more")
        await in_time(mallory.settled())
        assert old in {each.delivery_token for each in sends(town.server)[count:]}
        await bob.send(to_alice.account, "the last")

        async def the_last_is_here() -> bool:
            return bool(await alice.search("last"))

        await until(the_last_is_here)
        assert "and more" not in {each.text for each in await alice.history(pest.account)}


async def test_no_receipts_where_they_are_not_wanted(town: SmallTown) -> None:
    """From the moment on that it is said, whoever opens the profile, and not even those that are owed."""
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(town, alice, bob)
        assert await bob.sends_receipts()
        owed = await alice.send(to_bob.account, "before")
        await in_time(received(bob, 1))
        await bob.send_receipts(wanted=False)
        town.clock.move(60)
        await in_time(bob.settled())
    async with town.open("alice", "bob") as (alice, bob):
        assert not await bob.sends_receipts()
        message = await alice.send(to_bob.account, "silence")
        await in_time(received(bob, 1))
        town.clock.move(60)
        await in_time(bob.settled())
        last = await bob.send(to_alice.account, "no receipt is on its way before this")
        await in_time(bob.reached(last.id, Delivery.ACCEPTED))
    async with town.open("alice") as (alice,):
        await in_time(alice.settled())
        assert [(await alice.message(each.id)).delivery for each in (owed, message)] == [
            Delivery.ACCEPTED
        ] * 2
    async with town.open("alice", "bob") as (alice, bob):
        await bob.send_receipts(wanted=True)
        message = await alice.send(to_bob.account, "heard")
        await in_time(received(bob, 1))
        town.clock.move(60)
        await in_time(alice.reached(message.id, Delivery.DELIVERED))


async def test_one_time_keys_are_topped_up(town: SmallTown) -> None:
    await town.join("alice")
    account = town.joined["alice"].link.account.id
    (device,) = (await town.server.store.devices(account)).devices
    for _ in range(40):
        await town.server.store.take_session_keys(account, [device])
    async with town.open("alice") as (alice,):
        await in_time(alice.settled())

        async def full() -> bool:
            return (await town.server.store.key_state(device)).one_time_keys == 50

        await until(full)
    uploads = [each for each in town.server.seen if isinstance(each, PublishKeys)]
    assert [len(each.one_time_keys) for each in uploads] == [40]


def test_the_same_on_uvloop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS and pushes on the loop that the command line uses."""
    monkeypatch.setenv("HUSH_KEY", "file")

    async def story() -> None:
        clock = ManualClock()
        async with small_server(tmp_path, clock) as server:
            town = Town(tmp_path, server, clock)
            await town.join("alice")
            await town.join("bob")
            async with town.open("alice", "bob") as (alice, bob):
                await befriend(town, alice, bob)

    uvloop.run(story())
