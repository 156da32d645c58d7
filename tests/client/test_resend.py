"""What is sent again on request: only what was meant for whoever asks, and only while they are a device."""

from __future__ import annotations

from dataclasses import replace

from hushpost.client.store import PeerDevice, Tables
from hushpost.client.values import Delivery
from hushpost.client.writing import resend, say
from hushpost.crypto.content import ResendRequest
from hushpost.ids import AccountId
from tests.client.people import SmallTown, befriend, in_time, received
from tests.crypto.people import MALLORY


def device_of(t: Tables, account: AccountId) -> PeerDevice:
    (device,) = t.devices.listed(account)
    return device


async def test_only_the_addressee_and_only_while_it_is_listed(town: SmallTown) -> None:
    for name in ("alice", "bob", "carol"):
        await town.join(name)
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
        to_carol = await alice.add(town.link("carol"))
        await alice.send(to_carol.account, "for Carol")
        secret = await alice.send(to_bob.account, "for Bob alone")
        await in_time(alice.reached(secret.id, Delivery.ACCEPTED))
        await in_time(alice.settled())
        ctx = alice._ctx

        def work(t: Tables) -> list[int]:
            bobs, carols = device_of(t, to_bob.account), device_of(t, to_carol.account)
            return [
                resend(t, ctx, carols, [secret.id]),
                resend(t, ctx, replace(bobs, listed=False), [secret.id]),
                resend(t, ctx, replace(bobs, device=MALLORY.first().devices[0]), [secret.id]),  # a later one
                resend(t, ctx, bobs, [secret.id, secret.id]),
                resend(t, ctx, bobs, [secret.id]),  # it is under way already
            ]

        assert await ctx.change(work) == [0, 0, 0, 1, 0]


async def test_a_contact_cannot_ask_for_what_others_got(town: SmallTown) -> None:
    for name in ("alice", "bob", "carol"):
        await town.join(name)
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
        secret = await alice.send(to_bob.account, "for Bob alone")
        await in_time(alice.reached(secret.id, Delivery.ACCEPTED))
    async with town.open("alice", "carol") as (alice, carol):
        to_alice = await carol.add(town.link("alice"))
        to_carol = await alice.add(town.link("carol"))
        ctx = carol._ctx
        await ctx.change(lambda t: say(t, ctx, to_alice.account, ResendRequest((secret.id,))))
        await carol.send(to_alice.account, "I have asked")
        await in_time(received(alice, 1))
        await alice.send(to_carol.account, "and you get this")
        await in_time(alice.settled())
        assert [each.text for each in await in_time(received(carol, 1))] == ["and you get this"]
        assert [each.text for each in await carol.search("Bob")] == []
        counts = await alice._ctx.db.reading(lambda t: len(t.outbox.of(secret.id)))
        assert counts == 1
