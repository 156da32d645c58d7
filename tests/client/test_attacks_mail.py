"""A server that tampers with envelopes, strangers that flood, and old copies of a profile."""

from __future__ import annotations

import asyncio
import shutil

import msgspec
import pytest

from hushpost.client.api import Client
from hushpost.client.profiles import ProfileFiles
from hushpost.client.reading import OUT_OF_ORDER
from hushpost.client.store import StoreThread, Tables
from hushpost.client.values import Alarm, Alarmed, Delivery, Received, Standing
from hushpost.client.vault import InFile, Vault
from hushpost.crypto.faults import EnvelopeFault
from hushpost.errors import Blocked, OldCopy
from hushpost.ids import DeviceId
from hushpost.wire.messages import (
    DeviceKeys,
    Keys,
    RequestMessage,
    ResponseMessage,
    SendEnvelope,
    WaitingEnvelope,
)
from tests.client.people import SmallTown, befriend, first_event, in_time, received, until

DAY = 86_400


async def seen(client: Client) -> list[str]:
    """The texts of all events, in their order."""
    return [each.message.text for each in await client.pending("judge") if isinstance(each, Received)]


async def alarms(client: Client) -> list[Alarm]:
    return [each.alarm for each in await client.pending("judge") if isinstance(each, Alarmed)]


async def change(town: SmallTown, name: str, work: object) -> None:
    """Do something to a closed profile's database."""
    files = ProfileFiles(town.profile(name))
    db = await StoreThread.open(files.database, await asyncio.to_thread(Vault(files, InFile()).open))
    try:
        assert callable(work)
        await db.transaction(work)
    finally:
        await db.close()


async def test_envelopes_that_are_pushed_again(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    kept: list[WaitingEnvelope] = []

    def again(envelopes: list[WaitingEnvelope]) -> list[WaitingEnvelope]:
        kept.extend(envelopes)
        highest = max(each.sequence for each in envelopes)
        return [
            *envelopes,
            *(msgspec.structs.replace(each, sequence=highest + 100 + n) for n, each in enumerate(kept)),
        ]

    async with town.open("alice", "bob") as (alice, bob):
        town.server.twist_push = again
        to_bob, _ = await befriend(town, alice, bob)
        texts = [f"{number}" for number in range(5)]
        for text in texts:
            await alice.send(to_bob.account, text)
        await in_time(received(bob, 5))
        await in_time(bob.settled())
        assert await seen(bob) == ["hello", *texts]
        assert await alarms(bob) == []


async def test_envelopes_in_another_order(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(town, alice, bob)
    texts = [f"{number}" for number in range(10)]
    async with town.open("alice") as (alice,):
        for text in texts:
            await alice.send(to_bob.account, text)
        await in_time(alice.settled())
    town.server.twist_push = lambda envelopes: envelopes[::-1]
    async with town.open("bob") as (bob,):
        await in_time(received(bob, 10))
        came = await bob.history(to_alice.account)
        assert sorted(each.text for each in came if not each.ours and each.text != "hello") == texts
        marked = {each.text for each in came if each.remark == OUT_OF_ORDER}
        assert marked == set(texts[:-1])  # all were written before the first that came
        assert await alarms(bob) == []


async def test_acknowledgements_that_the_server_forgets(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
    town.server.forgets_acknowledgements = True
    for number in range(3):
        async with town.open("alice", "bob") as (alice, bob):
            await alice.send(to_bob.account, f"{number}")
            await in_time(received(bob, 1))
            await in_time(bob.settled())
        await change(town, "bob", forget_position)
    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
        assert await seen(bob) == ["hello", "0", "1", "2"]
        assert set(await alarms(bob)) == {Alarm.RESTORED}


def forget_position(t: Tables) -> None:
    """As if the server had got another epoch: everything that it has is read again."""
    position = t.me.position()
    t.me.committed(type(position.epoch).random(), 0)


async def test_a_first_message_that_is_replayed_on_a_fallback_key(town: SmallTown) -> None:
    """Even where nothing else of it is remembered, the session that it opened is."""
    await town.join("alice")
    await town.join("bob")
    kept: list[WaitingEnvelope] = []

    def fallback_only(_: RequestMessage, answer: ResponseMessage) -> ResponseMessage:
        if not isinstance(answer, Keys):
            return answer
        devices = [
            msgspec.structs.replace(each, session_key=fallback_key(town, each)) if each.session_key else each
            for each in answer.devices
        ]
        return msgspec.structs.replace(answer, devices=devices)

    def keep(envelopes: list[WaitingEnvelope]) -> list[WaitingEnvelope]:
        kept.extend(envelopes)
        return envelopes

    town.server.twist, town.server.twist_push = fallback_only, keep
    async with town.open("alice", "bob") as (alice, bob):
        bobs = await alice.add(town.link("bob"))
        await alice.send(bobs.account, "once")
        assert [each.text for each in await in_time(received(bob, 1))] == ["once"]
        sender = (await bob.contact("alice")).devices[0]

    def forget(t: Tables) -> None:
        t.sessions.forget(sender)
        t.received.trim(2**40)

    await change(town, "bob", forget)
    (first,) = kept
    town.server.twist_push = list
    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
        town.server.push_to(bobs.devices[0], [msgspec.structs.replace(first, sequence=50)])
        event = await in_time(first_event(bob, Alarmed))
        assert isinstance(event, Alarmed)
        assert (event.alarm, event.detail) == (Alarm.UNDECRYPTABLE, str(EnvelopeFault.REPLAYED))
        assert await seen(bob) == ["once"]


def fallback_key(town: SmallTown, keys: DeviceKeys) -> bytes:
    found = town.server.fallback_keys[DeviceId(keys.device)]
    assert found
    return found


async def test_mail_that_waited_for_forty_days(town: SmallTown) -> None:
    """Seal keys have rotated meanwhile, and nobody's clock deletes one that waiting mail needs."""
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(town, alice, bob)
        town.clock.move(2 * DAY)  # both rotate
        await until(lambda: has_rotated(alice, bob))
    async with town.open("alice") as (alice,):
        await alice.send(to_bob.account, "in forty days")
        await in_time(alice.settled())
        for _ in range(40):
            town.clock.move(DAY)
            await in_time(alice.settled())
    async with town.open("bob") as (bob,):
        assert [each.text for each in await in_time(received(bob, 1))] == ["in forty days"]
        await bob.send(to_alice.account, "at last")
        await in_time(bob.settled())
    async with town.open("alice") as (alice,):
        assert [each.text for each in await in_time(received(alice, 1))] == ["at last"]
        assert await alarms(alice) == []


async def has_rotated(*clients: Client) -> bool:
    facts = [await each.doctor() for each in clients]
    return all(each["seal key"].startswith("number 2,") for each in facts)


async def test_a_sender_three_days_offline_with_a_full_outbox(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
        await town.server.stop()
        texts = [f"text {number}" for number in range(200)]
        for text in texts:
            await alice.send(to_bob.account, text)
        town.clock.move(60)
    await town.server.start()
    for _ in range(3):
        town.clock.move(DAY)
        async with town.open("bob") as (bob,):
            await in_time(bob.settled())
    async with town.open("alice") as (alice,):
        await in_time(alice.settled())
    async with town.open("bob") as (bob,):
        await in_time(received(bob, 200))
        assert await seen(bob) == ["hello", *texts]


async def test_a_stranger_cannot_fill_a_contacts_mailbox(town: SmallTown) -> None:
    for name in ("alice", "bob", "mallory"):
        await town.join(name)
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
    async with town.open("mallory") as (mallory,):
        victim = await mallory.add("bob")
        for number in range(40):
            await mallory.send(victim.account, f"spam {number}")
        await in_time(mallory.settled())
        waiting = [each for each in await mallory.history(victim.account) if each.delivery is Delivery.QUEUED]
        assert len(waiting) == 20
    async with town.open("alice") as (alice,):
        message = await alice.send(to_bob.account, "still through")
        await in_time(alice.settled())
        assert (await alice.message(message.id)).delivery is Delivery.ACCEPTED
    async with town.open("bob") as (bob,):
        await in_time(received(bob, 21))
        spammer = await bob.contact("mallory")
        assert spammer.standing is Standing.REQUEST
        await bob.block(spammer.account)
    async with town.open("mallory", "bob") as (mallory, bob):
        town.clock.move(300)
        await in_time(mallory.settled())
        await in_time(bob.settled())
        assert len([each for each in await seen(bob) if each.startswith("spam")]) == 20
        with pytest.raises(Blocked):
            await bob.send(spammer.account, "no")


async def test_an_old_copy_of_a_profile_sends_nothing(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(town, alice, bob)
    copy = town.profile("copy")
    shutil.copytree(town.profile("alice"), copy)
    async with town.open("alice", "bob") as (alice, bob):
        await bob.send(to_alice.account, "after the copy")
        await in_time(received(alice, 1))
        await in_time(alice.settled())
    shutil.rmtree(town.profile("alice"))
    copy.rename(town.profile("alice"))
    sends = len([each for each in town.server.seen if isinstance(each, SendEnvelope)])
    for _ in range(2):
        async with town.open("alice") as (alice,):
            with pytest.raises(OldCopy):
                await in_time(alice.settled())
            with pytest.raises(OldCopy):
                await alice.send(to_bob.account, "with an old ratchet")
            assert Alarm.OLD_COPY in await alarms(alice)
    assert len([each for each in town.server.seen if isinstance(each, SendEnvelope)]) == sends


async def test_a_broken_session_is_replaced_and_what_it_swallowed_comes_again(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(town, alice, bob)
    await change(town, "bob", lambda t: t.sessions.forget(to_alice.devices[0]))
    async with town.open("alice", "bob") as (alice, bob):
        await alice.send(to_bob.account, "into a session that is gone")
        assert [each.text for each in await in_time(received(bob, 1))] == ["into a session that is gone"]
        assert (await alarms(bob)).count(Alarm.SESSION_RESET) == 1
        assert Alarm.UNDECRYPTABLE in await alarms(bob)
        await bob.send(to_alice.account, "back")
        assert [each.text for each in await in_time(received(alice, 1))] == ["back"]


async def test_a_connection_that_is_cut_again_and_again(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
        texts = [f"{number}" for number in range(20)]
        for text in texts:
            await alice.send(to_bob.account, text)
            town.server.cut()
            town.clock.move(1)

        async def arrived() -> bool:
            town.clock.move(30)
            return len(await seen(bob)) == 21

        await until(arrived)
        assert await seen(bob) == ["hello", *texts]
        assert await alarms(bob) == []
