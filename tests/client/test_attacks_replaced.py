"""Somebody has the recovery phrase of a contact, and takes their account over: what do we give them?"""

from __future__ import annotations

import pytest

from hushpost.client.api import Client
from hushpost.client.values import Alarm, Alarmed, Delivery, Trust
from hushpost.client.writing import say
from hushpost.crypto.content import ResendRequest
from hushpost.errors import Blocked, Untrusted
from hushpost.ids import MessageId
from tests.client.people import SmallTown, befriend, first_event, in_time, received, until


async def test_nothing_old_is_sent_again_to_a_new_key(town: SmallTown) -> None:
    """Bob's device asked for a message again, and before it is answered his account is taken over."""
    await town.join("alice")
    phrase = (await town.join("bob")).recovery_phrase
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(town, alice, bob)
        secret = await alice.send(to_bob.account, "for the verified Bob")
        await in_time(received(bob, 1))
        await in_time(alice.reached(secret.id, Delivery.ACCEPTED))
    async with town.open("bob") as (bob,):
        await ask_again(bob, alice_of=to_alice.account, message=secret.id)
        await in_time(bob.settled())
    await Client.recover(town.profile("thief"), town.link("bob"), phrase, clock=town.clock)
    async with town.open("alice") as (alice,):
        await until(lambda: is_changed(alice, "bob"))
        await in_time(alice.settled())
        with pytest.raises(Blocked):
            await alice.send(to_bob.account, "by hand")
        assert (await alice.message(secret.id)).delivery is not Delivery.FAILED
    async with Client.open(town.profile("thief"), clock=town.clock) as thief:
        await in_time(thief.settled())
        assert await thief.search("verified") == []


async def ask_again(client: Client, alice_of: object, message: MessageId) -> None:
    ctx = client._ctx
    (account,) = [each.account for each in await client.contacts() if each.account == alice_of]
    await ctx.change(lambda t: say(t, ctx, account, ResendRequest((message,))))
    ctx.outbox.ring()


async def is_changed(client: Client, name: str) -> bool:
    return (await client.contact(name)).trust is Trust.CHANGED


async def test_whoever_has_a_new_key_gets_no_receipt_and_no_token(town: SmallTown) -> None:
    await town.join("alice")
    phrase = (await town.join("bob")).recovery_phrase
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(town, alice, bob)
        town.clock.move(10)
        await in_time(alice.settled())
        await in_time(bob.settled())
    await Client.recover(town.profile("thief"), town.link("bob"), phrase, clock=town.clock)
    async with Client.open(town.profile("thief"), clock=town.clock) as thief, town.open("alice") as (alice,):
        await thief.add(town.link("alice"))
        message = await thief.send(to_alice.account, "still me")
        await in_time(received(alice, 1))
        for _ in range(5):
            town.clock.move(86_400)
            await in_time(alice.settled())
        assert (await thief.message(message.id)).delivery is Delivery.ACCEPTED
        person = await thief._ctx.db.reading(lambda t: t.people.get(to_alice.account))
        assert person is not None
        assert person.token is None
        assert (await alice.contact("bob")).trust is Trust.CHANGED
        await alice.accept(to_bob.account)  # and now the user has decided
        await in_time(alice.settled())
        await until(lambda: has_token(thief))


async def has_token(client: Client) -> bool:
    people = await client._ctx.db.reading(lambda t: t.people.every())
    return all(each.token for each in people)


async def test_a_message_is_sent_again_a_few_times_only(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(town, alice, bob)
        sent = await alice.send(to_bob.account, "large")
        await in_time(received(bob, 1))
        await in_time(alice.settled())
        for number in range(8):
            await ask_again(bob, alice_of=to_alice.account, message=sent.id)
            await bob.send(to_alice.account, f"{number}")
            await in_time(received(alice, 1))
            await in_time(alice.settled())
        assert await alice._ctx.db.reading(lambda t: len(t.outbox.of(sent.id))) == 1 + 3


async def test_the_number_that_was_compared_is_the_one_that_verifies(town: SmallTown) -> None:
    await town.join("alice")
    phrase = (await town.join("bob")).recovery_phrase
    async with town.open("alice") as (alice,):
        to_bob = await alice.add("bob")
        compared = await alice.safety_number(to_bob.account)
    await Client.recover(town.profile("thief"), town.link("bob"), phrase, clock=town.clock)
    async with Client.open(town.profile("thief"), clock=town.clock) as thief, town.open("alice") as (alice,):
        to_alice = await thief.add(town.link("alice"))
        await thief.send(to_alice.account, "hi")
        await in_time(received(alice, 1))
        with pytest.raises(Untrusted):
            await alice.verify(to_bob.account, compared)
        assert (await alice.contact("bob")).trust is Trust.UNVERIFIED
        now = await alice.safety_number(to_bob.account)
        assert (await alice.verify(to_bob.account, now)).trust is Trust.VERIFIED


async def test_a_key_that_was_replaced_before_we_met_is_shown(town: SmallTown) -> None:
    await town.join("alice")
    phrase = (await town.join("bob")).recovery_phrase
    await Client.recover(town.profile("thief"), town.link("bob"), phrase, clock=town.clock)
    async with town.open("alice") as (alice,):
        await alice.add(town.link("bob"))
        event = await in_time(first_event(alice, Alarmed))
        assert isinstance(event, Alarmed)
        assert event.alarm is Alarm.KEY_REPLACED
