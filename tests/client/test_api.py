"""Two people and a server: the whole way of a text, over real connections."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hushpost.client import api
from hushpost.client.api import Client
from hushpost.client.values import Delivery, DeliveryChanged, Received, Requested, Standing, Trust
from hushpost.errors import (
    Blocked,
    InviteInvalid,
    NameTaken,
    ProfileError,
    Unreachable,
    UsageError,
)
from tests.client.people import SmallTown, befriend, first_event, in_time, met, received, until


async def test_texts_go_both_ways(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob", inviter="alice")
    async with town.open("alice", "bob") as (alice, bob):
        to_alice = await met(bob, "alice")
        assert to_alice.trust is Trust.VERIFIED
        sent = await bob.send(to_alice.account, "hello Alice")
        assert sent.delivery is Delivery.QUEUED
        (came,) = await in_time(received(alice, 1))
        assert (came.text, came.ours) == ("hello Alice", False)
        request = await alice.contact("bob")
        assert (request.standing, request.trust) == (Standing.REQUEST, Trust.UNVERIFIED)
        with pytest.raises(Blocked):
            await alice.send(request.account, "who are you?")
        await alice.accept(request.account)
        await alice.send(request.account, "hello Bob")
        (answer,) = await in_time(received(bob, 1))
        assert answer.text == "hello Bob"
        assert [each.text for each in await bob.history(to_alice.account)] == ["hello Alice", "hello Bob"]


async def test_a_receipt_says_delivered(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
        message = await alice.send(to_bob.account, "did you get it?")
        await in_time(received(bob, 1))
        assert (await in_time(alice.reached(message.id, Delivery.ACCEPTED))).delivery is Delivery.ACCEPTED
        await in_time(bob.settled())
        town.clock.move(10)
        assert (await in_time(alice.reached(message.id, Delivery.DELIVERED))).delivery is Delivery.DELIVERED
        steps = [what for _, what in (await alice.explain(message.id)).steps]
        assert steps == [
            "written, and safe on this device",
            "encrypted",
            "accepted by the server",
            "delivered: their device has it",
        ]


async def test_what_is_written_offline_goes_out_later_in_order(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
    async with town.open("alice") as (alice,):
        for number in range(30):
            await alice.send(to_bob.account, f"text {number}")
        await in_time(alice.settled())
    async with town.open("bob") as (bob,):
        texts = [each.text for each in await in_time(received(bob, 30))]
        assert texts == [f"text {number}" for number in range(30)]
        await in_time(bob.settled())
        assert (await bob.usage())["waiting-envelopes"] == "0, 0 bytes"


async def test_without_a_server_messages_wait_and_it_is_said(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
        await town.server.stop()
        message = await alice.send(to_bob.account, "are you there?")
        with pytest.raises(Unreachable):
            await in_time(alice.settled())
        assert not alice.online
        assert (await alice.message(message.id)).delivery is Delivery.QUEUED
        await town.server.start()

        async def moved() -> bool:
            town.clock.move(60)
            return (await alice.message(message.id)).delivery is Delivery.ACCEPTED

        await until(moved)
        assert [each.text for each in await in_time(received(bob, 1))] == ["are you there?"]


async def test_an_invitation_serves_once_and_names_are_unique(town: SmallTown) -> None:
    await town.join("alice")
    link = await town.server.invite()
    with pytest.raises(NameTaken):
        await Client.join(town.profile("other"), link, "alice", clock=town.clock)
    await Client.join(town.profile("other"), link, "carol", clock=town.clock)
    with pytest.raises(InviteInvalid):
        await Client.join(town.profile("third"), link, "dave", clock=town.clock)
    with pytest.raises(ProfileError, match="not finished"):
        async with Client.open(town.profile("third"), clock=town.clock):
            pass
    with pytest.raises(UsageError):
        await Client.join(town.profile("fourth"), link, "new\nline", clock=town.clock)


async def test_a_join_whose_answer_was_lost_is_repeated_with_the_same_bytes(town: SmallTown) -> None:
    link = await town.server.invite()
    town.server.drop_answers = 1
    with pytest.raises(Unreachable):
        await Client.join(town.profile("alice"), link, "alice", clock=town.clock)
    joined = await Client.join(town.profile("alice"), link, "alice", clock=town.clock)
    again = await Client.join(town.profile("alice"), link, "alice", clock=town.clock)
    assert again == joined  # nobody has opened the profile yet: the phrase may not have been seen
    first, second = (each for each in town.server.registrations)
    assert first == second
    async with Client.open(town.profile("alice"), clock=town.clock) as alice:
        assert (await alice.whoami()).link == joined.link
        await in_time(alice.settled())
    with pytest.raises(UsageError):
        await Client.join(town.profile("alice"), link, "alice", clock=town.clock)


async def test_an_event_is_repeated_until_the_next_is_asked_for(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
        for number in range(3):
            await alice.send(to_bob.account, f"{number}")
        await in_time(received(bob, 3, "other"))
        seen: list[str] = []
        for _ in range(3):  # a handler that dies twice while it handles the first
            events = bob.events("bot")
            async for event in events:
                if isinstance(event, Received):
                    seen.append(event.message.text)
                    if len(seen) < 3 or seen[-1] == "2":
                        break
            await events.aclose()
        assert seen == ["hello", "hello", "hello", "0", "1", "2"]
        left = [each for each in await bob.pending("bot") if isinstance(each, Received)]
        assert [each.message.text for each in left] == ["2"]


async def test_a_stranger_by_name_is_unverified_until_numbers_are_compared(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob = await alice.add("bob")
        assert to_bob.trust is Trust.UNVERIFIED
        await alice.send(to_bob.account, "hello")
        request = await in_time(first_event(bob, Requested))
        assert isinstance(request, Requested)
        assert request.contact.name == "alice"
        ours, theirs = await asyncio.gather(
            alice.safety_number(to_bob.account), bob.safety_number(request.contact.account)
        )
        assert ours == theirs
        assert (
            await alice.verify(to_bob.account, await alice.safety_number(to_bob.account))
        ).trust is Trust.VERIFIED
        assert (await alice.contact("bob")).trust is Trust.VERIFIED


async def test_what_is_sent_becomes_events(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
        change = await in_time(first_event(alice, DeliveryChanged))
        assert isinstance(change, DeliveryChanged)
        assert (change.contact, change.delivery) == (to_bob.account, Delivery.ACCEPTED)


async def test_two_processes_of_one_profile(town: SmallTown) -> None:
    """The second has no lease: it writes to the outbox and reads along, and takes over in the end."""
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(town, alice, bob)
        async with town.open("alice") as (second,):
            await second.send(to_bob.account, "from the second")
            assert [each.text for each in await in_time(received(bob, 1))] == ["from the second"]
            await in_time(second.settled())
            assert not second.online
            assert (await second.usage())["waiting-envelopes"] == "0, 0 bytes"
            await bob.send(to_alice.account, "to both")
            assert [each.text for each in await in_time(received(second, 2, "second"))][-1] == "to both"
    async with town.open("alice") as (first,), town.open("alice") as (second,):
        await in_time(first.settled())
        assert first.online != second.online


async def test_search_and_leave(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
        await alice.send(to_bob.account, "the needle in the hay")
        assert [each.text for each in await alice.search("NEEDLE hay")] == ["the needle in the hay"]
        await in_time(alice.settled())
        await bob.leave()
        lost = await alice.send(to_bob.account, "too late")
        assert (await in_time(alice.reached(lost.id, Delivery.ACCEPTED))).delivery is Delivery.FAILED
    with pytest.raises(ProfileError):
        async with town.open("bob") as (bob,):
            await in_time(bob.settled())


def example_of(documentation: str) -> str:
    """The first piece of code in it, which ends where the text goes on."""
    found = re.search(r"(?:^    .*\n)+", documentation, re.MULTILINE)
    assert found is not None
    return found[0]


async def test_the_example_of_the_documentation(town: SmallTown) -> None:
    """As it stands there, but for the links and what the application does."""
    await town.join("bob")
    example = example_of(inspect.getdoc(api) or "")
    for placeholder, real in (
        ('"hush://..."', repr(await town.server.invite())),
        ('"hush://.../u/bob#..."', repr(town.link("bob"))),
        ("    ...\n", "    break\n"),
    ):
        assert placeholder in example
        example = example.replace(placeholder, real)
    timed = {name: partial(getattr(Client, name), clock=town.clock) for name in ("join", "open")}
    names: dict[str, Any] = {"Client": SimpleNamespace(**timed)}
    exec(f"async def run(profile):\n{example}    return joined, message, event", names)
    joined, message, event = await in_time(names["run"](town.profile("alice")))
    assert joined.link.name == "alice"
    assert (event.message, event.delivery) == (message.id, Delivery.ACCEPTED)


WRONG: dict[str, Callable[[Client, Any], Awaitable[object]]] = {
    "send": lambda client, who: client.send(who, "hello"),
    "send_file": lambda client, who: client.send_file(who, Path(__file__)),
    "accept": lambda client, who: client.accept(who),
    "history": lambda client, who: client.history(who),
    "held_up": lambda client, who: client.held_up(who),
    "message": lambda client, who: client.message(who),
}


@pytest.mark.parametrize("method", WRONG)
async def test_a_contact_in_the_place_of_its_account(town: SmallTown, method: str) -> None:
    """It is the caller's mistake, and not the disk's."""
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice") as (alice,):
        bob = await alice.add(town.link("bob"))
        with pytest.raises(TypeError, match=r"an id, such as contact\.account"):
            await WRONG[method](alice, bob)
        assert (await alice.send(bob.account, "hello")).text == "hello"
