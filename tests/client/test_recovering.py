"""From the phrase back to the account, against both servers; and what contacts see of it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from hushpost.client.api import Client
from hushpost.client.values import Alarm, Alarmed, Trust
from hushpost.crypto.identity import RecoverySeed, format_phrase
from hushpost.errors import PhraseError, ProfileError, ProtocolError, Refused
from hushpost.wire.messages import Keys
from tests.client.people import C, S, SmallTown, Town, befriend, first_event, in_time, received, until
from tests.client.realserver import RealTown


async def story(town: Town[S, C]) -> None:
    """Bob loses his device, comes back with the phrase, and goes on with Alice, who has to decide."""
    await town.join("alice")
    joined = await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(town, alice, bob)
    new = town.profile("bob-again")
    me = await Client.recover(new, town.link("bob"), joined.recovery_phrase, clock=town.clock)
    assert (me.name, me.link) == ("bob", joined.link)
    async with Client.open(new, clock=town.clock) as again, town.open("alice") as (alice,):
        await again.add(town.link("alice"))
        await again.send(to_alice.account, "a new device, still Bob")
        (came,) = await in_time(received(alice, 1))
        assert came.text == "a new device, still Bob"
        alarm = await in_time(first_event(alice, Alarmed))
        assert isinstance(alarm, Alarmed)
        assert alarm.alarm is Alarm.VERIFIED_KEY_REPLACED
        assert (await alice.contact("bob")).trust is Trust.CHANGED
        await alice.verify(to_bob.account, await alice.safety_number(to_bob.account))
        await alice.send(to_bob.account, "welcome back")
        assert [each.text for each in await in_time(received(again, 1))] == ["welcome back"]


async def test_recovery(town: SmallTown) -> None:
    await story(town)


async def test_recovery_with_the_real_server(real_town: RealTown) -> None:
    await story(real_town)


async def test_a_phrase_of_another_account(real_town: RealTown) -> None:
    await real_town.join("bob")
    phrase = format_phrase(RecoverySeed.random())
    with pytest.raises(PhraseError):
        await Client.recover(real_town.profile("thief"), real_town.link("bob"), phrase, clock=real_town.clock)


async def test_finding_somebody_again_by_name_after_their_recovery(real_town: RealTown) -> None:
    """An honest server answers a name with the whole chain: that is no older list than the one we know."""
    await real_town.join("alice")
    joined = await real_town.join("bob")
    async with real_town.open("alice") as (alice,):
        bob = await alice.add(real_town.link("bob"))
    again = real_town.profile("bob-again")
    await Client.recover(again, real_town.link("bob"), joined.recovery_phrase, clock=real_town.clock)
    async with real_town.open("alice") as (alice,):
        await alice.send(bob.account, "who is there?")
        await in_time(first_event(alice, Alarmed))
        found = await in_time(alice.add("bob"))
        alarms = [each for each in await alice.pending("test") if isinstance(each, Alarmed)]
        assert (found.account, found.trust) == (bob.account, Trust.CHANGED)
        assert [each.alarm for each in alarms] == [Alarm.VERIFIED_KEY_REPLACED]


async def test_the_old_device_is_told(real_town: RealTown) -> None:
    joined = await real_town.join("bob")
    again = real_town.profile("bob-again")
    await Client.recover(again, real_town.link("bob"), joined.recovery_phrase, clock=real_town.clock)
    async with real_town.open("bob") as (old,):
        with pytest.raises(Refused) as refused:
            await in_time(stopped(old))
        assert "recovered on another machine" in refused.value.hint


async def stopped(client: Client) -> None:
    """Until it is not connected any more, for whatever reason."""
    while True:
        await client.settled()
        await asyncio.sleep(0)


async def test_another_phrase_after_a_wrong_one(real_town: RealTown) -> None:
    joined = await real_town.join("bob")
    again, wrong = real_town.profile("bob-again"), format_phrase(RecoverySeed.random())
    with pytest.raises(PhraseError, match="this phrase is not"):
        await Client.recover(again, real_town.link("bob"), wrong, clock=real_town.clock)
    with pytest.raises(ProfileError, match="has not finished") as stuck:
        async with Client.open(again, clock=real_town.clock):
            pass
    assert "hush recover" in stuck.value.hint
    me = await Client.recover(again, real_town.link("bob"), joined.recovery_phrase, clock=real_town.clock)
    assert me.link == joined.link


async def test_a_chain_of_ours_without_an_end(town: SmallTown) -> None:
    await town.join("alice")
    phrase = (await town.join("bob")).recovery_phrase
    await Client.recover(town.profile("again"), town.link("bob"), phrase, clock=town.clock)
    town.server.twist = lambda _, answer: (
        msgspec.structs.replace(answer, manifests=[], more=True) if isinstance(answer, Keys) else answer
    )
    async with Client.open(town.profile("again"), clock=town.clock) as again:

        async def has_failed() -> bool:
            return isinstance(again._ctx.status.now.reason, ProtocolError)

        await until(has_failed)
