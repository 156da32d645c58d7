"""The lane of strangers is full: what waits for room goes at once when the delivery token comes."""

from __future__ import annotations

from hushpost.client.api import Client
from hushpost.client.values import Delivery, Message
from hushpost.wire.messages import (
    Error,
    ErrorCode,
    RequestMessage,
    ResponseMessage,
    SendEnvelope,
    WaitingEnvelope,
)
from tests.client.people import SmallTown, in_time, met, received, until

LANE = 20
"""Envelopes without a token that wait in one mailbox."""


async def put_off(client: Client, message: Message) -> bool:
    """Whether the server had no room for it."""
    return "strangers" in await client.held_up(message.contact)


async def has_come(kept: list[WaitingEnvelope]) -> bool:
    return bool(kept)


async def test_what_a_stranger_has_queued_goes_when_they_are_accepted(town: SmallTown) -> None:
    """Time stands still: nothing goes because its wait is over."""
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice") as (alice,):
        to_bob = await alice.add(town.link("bob"))
        sent = [await alice.send(to_bob.account, f"{number}") for number in range(LANE + 3)]
        await in_time(alice.reached(sent[LANE - 1].id, Delivery.ACCEPTED))
        await until(lambda: put_off(alice, sent[LANE]))
        async with town.open("bob") as (bob,):
            await in_time(received(bob, LANE))
            await in_time(bob.settled())
            await bob.accept((await met(bob, "alice")).account)
            await in_time(alice.reached(sent[-1].id, Delivery.ACCEPTED))
            assert [each.text for each in await in_time(received(bob, 3))] == ["20", "21", "22"]


async def test_a_token_that_comes_while_the_server_refuses(town: SmallTown) -> None:
    """Whichever of both is noted first."""
    await town.join("alice")
    await town.join("bob")
    kept: list[WaitingEnvelope] = []

    def keep(envelopes: list[WaitingEnvelope]) -> list[WaitingEnvelope]:
        kept.extend(envelopes)
        return []

    async with town.open("alice", "bob") as (alice, bob):
        to_bob = await alice.add(town.link("bob"))
        await alice.send(to_bob.account, "hello")
        await in_time(received(bob, 1))
        await in_time(alice.settled())
        town.server.twist_push = keep
        await bob.accept((await met(bob, "alice")).account)
        await until(lambda: has_come(kept))
        account = town.joined["alice"].link.account.id
        (device,) = (await town.server.store.devices(account)).devices

        def full(request: RequestMessage, answer: ResponseMessage) -> ResponseMessage:
            if isinstance(request, SendEnvelope) and not request.delivery_token:
                town.server.push_to(device, kept)
                return Error(request.number, ErrorCode.REQUESTS_FULL, "", 60)
            return answer

        town.server.twist, town.server.twist_push = full, list
        message = await alice.send(to_bob.account, "are you there?")
        await in_time(alice.reached(message.id, Delivery.ACCEPTED))
