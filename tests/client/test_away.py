"""Somebody who was away for months, and somebody who was silent for as long: both can be written to again."""

from __future__ import annotations

from hushpost.client.api import Client
from hushpost.client.transmitting import AWAY, AWAY_WAIT
from hushpost.client.values import Alarmed, Delivery
from hushpost.ids import MessageId
from hushpost.wire.messages import Error, ErrorCode, GetKeys, RequestMessage, ResponseMessage, SendEnvelope
from tests.client.people import SmallTown, befriend, in_time, received, until

DAY = 86_400


async def queued_because(client: Client, message: MessageId) -> str:
    """Why it waits; empty: it does not."""
    return await client._ctx.db.reading(lambda t: "".join(each.reason for each in t.outbox.of(message)))


async def test_after_months_of_silence_new_keys_are_fetched(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(town, alice, bob)
        await bob.send(to_alice.account, "see you in spring")
        await in_time(received(alice, 1))
    town.clock.move(100 * DAY)
    async with town.open("bob") as (bob,):  # who publishes a new key, as on every day
        await in_time(bob.settled())

        async def rotated() -> bool:
            keys = (await town.server.store.seal_keys(to_bob.account)).keys
            return all(each.id > 1 for each in keys.values())

        await until(rotated)
    async with town.open("alice", "bob") as (alice, bob):
        message = await alice.send(to_bob.account, "hello again")
        await in_time(alice.reached(message.id, Delivery.ACCEPTED))
        assert [each.text for each in await in_time(received(bob, 1))] == ["hello again"]


async def test_who_is_away_is_written_to_when_they_are_back(town: SmallTown) -> None:
    """No key that has expired is used, none is used up by asking, and it is nobody's lie."""
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
    town.clock.move(91 * DAY)
    before = len(town.server.seen)
    async with town.open("alice") as (alice,):
        message = await alice.send(to_bob.account, "are you back?")

        async def explained() -> bool:
            return await queued_because(alice, message.id) == AWAY

        await until(explained)
        for _ in range(3):
            town.clock.move(2 * AWAY_WAIT)
            await in_time(alice.settled())
        seen = town.server.seen[before:]
        assert not [each for each in seen if isinstance(each, SendEnvelope)]
        asked = [each for each in seen if isinstance(each, GetKeys)]
        assert 1 < len(asked) < 10
        assert not [each for each in asked if each.want_sessions]
        assert not [each for each in await alice.pending("judge") if isinstance(each, Alarmed)]
        assert (await alice.add(town.link("bob"))).account == to_bob.account
        async with town.open("bob") as (bob,):
            await in_time(bob.settled())
            town.clock.move(2 * AWAY_WAIT)
            assert [each.text for each in await in_time(received(bob, 1))] == ["are you back?"]


async def test_a_message_that_was_encrypted_before_the_key_expired(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
    town.server.twist = not_now
    async with town.open("alice") as (alice,):
        message = await alice.send(to_bob.account, "on its way for months")

        async def encrypted() -> bool:
            return bool(await queued_because(alice, message.id))

        await until(encrypted)
    town.server.twist = lambda _, answer: answer
    town.clock.move(100 * DAY)
    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
    before = len(town.server.seen)
    async with town.open("alice", "bob") as (alice, bob):
        await in_time(alice.reached(message.id, Delivery.ACCEPTED))
        assert [each.text for each in await in_time(received(bob, 1))] == ["on its way for months"]
    sends = [each for each in town.server.seen[before:] if isinstance(each, SendEnvelope)]
    assert {each.recipients[0].seal_key_id for each in sends if each.account == to_bob.account} == {2}


def not_now(request: RequestMessage, answer: ResponseMessage) -> ResponseMessage:
    """Every message is taken, and the sender is told that it was not."""
    if isinstance(request, SendEnvelope):
        return Error(request.number, ErrorCode.UNAVAILABLE, "", 5)
    return answer
