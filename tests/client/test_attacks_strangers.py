"""What one stranger with an account can do: nothing to the mail of others, and nothing unseen."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from hushpost.client.api import Client
from hushpost.client.profiles import ProfileFiles
from hushpost.client.store import StoreThread, Tables
from hushpost.client.values import Alarm, Alarmed, Delivery, Received
from hushpost.client.vault import InFile, Vault
from hushpost.crypto.content import MAX_MANIFESTS, Card, DeliveryToken, Text
from hushpost.crypto.identity import Manifest, ManifestHash, next_manifest
from hushpost.crypto.ratchet import DeviceAccount
from hushpost.ids import AccountId, DeviceId
from hushpost.stores.base import mailbox_of
from hushpost.wire.messages import (
    Error,
    ErrorCode,
    GetKeys,
    HelloAnswer,
    RequestMessage,
    ResponseMessage,
    SendEnvelope,
)
from tests.client.people import SmallTown, befriend, in_time, received, until
from tests.client.strangers import Stranger

DAY = 86_400


async def seen(client: Client) -> list[str]:
    """The texts of all events, in their order."""
    return [each.message.text for each in await client.pending("judge") if isinstance(each, Received)]


async def alarms(client: Client) -> list[Alarm]:
    return [each.alarm for each in await client.pending("judge") if isinstance(each, Alarmed)]


async def test_a_chain_that_does_not_fit_puts_aside_one_envelope_only(town: SmallTown) -> None:
    """More devices than are kept of one account, none of them wrong in itself."""
    await town.join("alice")
    await town.join("bob")
    stranger = Stranger(town.server)
    for _ in range(6):
        stranger.list(*(stranger.new_device(DeviceAccount.create()) for _ in range(150)))
    stranger.list(*(stranger.new_device(DeviceAccount.create()) for _ in range(149)), stranger.device)
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(town, alice, bob)
    async with town.open("alice") as (alice,):
        await alice.send(to_bob.account, "before")
        await in_time(alice.settled())
        await stranger.send(to_bob.account, Text("poison"), stranger.introduction)
        await alice.send(to_bob.account, "after")
        await in_time(alice.settled())
    async with town.open("bob") as (bob,):
        assert [each.text for each in await in_time(received(bob, 2))] == ["before", "after"]
        await in_time(bob.settled())
        assert await alarms(bob) == [Alarm.UNDECRYPTABLE]
        assert [each.account for each in await bob.contacts()] == [to_alice.account]
    async with town.open("bob") as (bob,):  # acknowledged: it does not come again
        await in_time(bob.settled())
        assert await alarms(bob) == [Alarm.UNDECRYPTABLE]


async def test_an_envelope_that_cannot_be_taken_in_for_any_reason(town: SmallTown) -> None:
    """Here what is broken is ours: the others are read all the same, in their order, and acknowledged."""
    for name in ("alice", "bob", "carol"):
        await town.join(name)
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(town, alice, bob)
    await damage(town, "bob", to_alice.devices[0])
    async with town.open("alice", "carol") as (alice, carol):
        await carol.add(town.link("bob"))
        for number in range(20):
            await carol.send(to_bob.account, f"{number}")
            await in_time(carol.settled())
            if number == 12:
                await alice.send(to_bob.account, "into a session that is damaged")
                await in_time(alice.settled())
    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
        assert await seen(bob) == ["hello", *(f"{number}" for number in range(20))]
        assert set(await alarms(bob)) == {Alarm.UNDECRYPTABLE}
        mailbox = mailbox_of(to_bob.devices[0])
        assert not await town.server.store.read(mailbox, after=0, max_count=1, max_bytes=1)


async def damage(town: SmallTown, name: str, device: DeviceId) -> None:
    """A session of a closed profile with this device becomes bytes that nobody can read."""
    files = ProfileFiles(town.profile(name))
    db = await StoreThread.open(files.database, await asyncio.to_thread(Vault(files, InFile()).open))

    def work(t: Tables) -> None:
        session = t.sessions.active(device)
        assert session is not None
        t.sessions.encrypted(session, b"damaged")

    try:
        await db.transaction(work)
    finally:
        await db.close()


def answers(town: SmallTown, account: AccountId) -> int:
    """Envelopes for this account that the server was asked to take."""
    return len([e for e in town.server.seen if isinstance(e, SendEnvelope) and e.account == account])


async def a_day_later(town: SmallTown, *clients: Client) -> None:
    """Whatever is due by then was looked after, and sent."""
    town.clock.move(DAY)
    tomorrow = town.clock.now()

    async def looked_after() -> bool:
        town.clock.move(1)
        times = [await each._ctx.db.reading(lambda t: t.me.drained_at()) for each in clients]
        return min(times) > tomorrow

    await until(looked_after)
    for each in clients:
        await in_time(each.settled())


async def test_who_was_not_accepted_is_told_nothing(town: SmallTown) -> None:
    await town.join("bob")
    victim = town.joined["bob"].link.account.id
    stranger = Stranger(town.server)
    await stranger.enroll()
    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
        await stranger.send(victim, Text("are you there?"), stranger.introduction)
        await in_time(received(bob, 1))
        for _ in range(5):
            await a_day_later(town, bob)
        assert answers(town, stranger.account.id) == 0
        (asking,) = await bob.contacts()
        await bob.accept(asking.account)
        await in_time(bob.settled())
        assert answers(town, stranger.account.id) == 1


async def test_who_was_blocked_is_told_nothing(town: SmallTown) -> None:
    """Not even the receipts that were owed."""
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(town, alice, bob)
        town.clock.move(10)
        await in_time(bob.settled())
        await alice.send(to_bob.account, "last words")
        await in_time(received(bob, 1))
        await bob.block(to_alice.account)
        town.server.seen.clear()
        for _ in range(5):
            await a_day_later(town, bob)
        assert answers(town, to_alice.account) == 0


async def test_an_empty_message_is_answered_with_none(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(town, alice, bob)
        for _ in range(4):  # receipts, then an empty message for them
            await a_day_later(town, alice, bob)
        town.server.seen.clear()
        for _ in range(10):
            await a_day_later(town, alice, bob)
        assert answers(town, to_bob.account) + answers(town, to_alice.account) == 0


async def test_a_token_that_came_before_the_decision_serves_after_it(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob = await alice.add(town.link("bob"))
        await alice.send(to_bob.account, "may I?")
        await in_time(received(bob, 1))
        asking = (await bob.contacts())[0]
        await bob.accept(asking.account)
        await bob.send(asking.account, "you may")
        await in_time(received(alice, 1))
        sends = [each for each in town.server.seen if isinstance(each, SendEnvelope)]
        assert all(each.delivery_token for each in sends if each.account == asking.account)


async def test_a_removed_device_changes_nothing_any_more(town: SmallTown) -> None:
    """Somebody has a device that its owner removed: what comes from it is shown, and marked."""
    await town.join("alice")
    victim = town.joined["alice"].link.account.id
    owner = Stranger(town.server, "owner")
    good, bad = Card(DeliveryToken(b"R" * 32), ""), Card(DeliveryToken(b"X" * 32), "")
    async with town.open("alice") as (alice,):
        await in_time(alice.settled())
        await owner.send(victim, Text("hi"), owner.introduction, good)
        await in_time(received(alice, 1))
        await alice.accept(owner.account.id)
        owner.list(owner.new_device(DeviceAccount.create()))
        await owner.send(victim, Text("in the old session"), owner.introduction, bad)
        (message,) = await in_time(received(alice, 1))
        assert message.remark == Alarm.REMOVED_DEVICE
        owner.sessions.clear()
        await owner.send(victim, Text("in a new session"))
        await until(lambda: has_alarms(alice, Alarm.REMOVED_DEVICE, Alarm.UNDECRYPTABLE))
        assert await seen(alice) == ["hi", "in the old session"]
        person = await alice._ctx.db.reading(lambda t: t.people.get(owner.account.id))
        assert person is not None
        assert person.token == b"R" * 32


async def has_alarms(client: Client, *expected: Alarm) -> bool:
    return await alarms(client) == list(expected)


async def test_a_deleted_seal_key_opens_nothing(town: SmallTown) -> None:
    """A server that kept an envelope cannot have it opened with a key that is gone from the database."""
    await town.join("bob")
    victim = town.joined["bob"].link.account.id
    stranger = Stranger(town.server)
    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
        await stranger.send(victim, Text("one"), stranger.introduction)
        await in_time(received(bob, 1))
        kept = await stranger.write(victim, Text("two"))
        first = kept.deliveries[0].seal_key_id

        async def is_deleted() -> bool:
            town.clock.move(3_600)
            return first not in [each.key_id for each in await bob._ctx.db.reading(lambda t: t.seals.every())]

        await until(is_deleted)
        stranger.push(kept, 1_000)
        await stranger.send(victim, Text("three"))
        await in_time(received(bob, 1))
        assert await seen(bob) == ["one", "three"]


async def test_an_invented_manifest_alarms_nobody_before_it_is_a_contact(town: SmallTown) -> None:
    await town.join("bob")
    victim = town.joined["bob"].link.account.id
    stranger = Stranger(town.server)
    await stranger.enroll()
    invented = ManifestHash(b"?" * 32)
    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
        await stranger.send(victim, Text("one"), stranger.introduction)
        await stranger.deliver(await stranger.write(victim, Text("two"), manifest=invented))
        await in_time(received(bob, 2))
        await in_time(bob.settled())
        await bob.accept(stranger.account.id)
        assert await alarms(bob) == []
        await stranger.deliver(await stranger.write(victim, Text("three"), manifest=invented))
        await until(lambda: has_alarms(bob, Alarm.FORK))


async def test_a_contacts_message_waits_for_a_server_that_has_no_time(town: SmallTown) -> None:
    """From a device that is new to us, while the server does not tell of it for now."""
    await town.join("bob")
    victim = town.joined["bob"].link.account.id
    friend = Stranger(town.server, "friend")
    await friend.enroll()
    refused: list[int] = []

    def no_time(request: RequestMessage, answer: ResponseMessage) -> ResponseMessage:
        if isinstance(request, GetKeys) and len(refused) < 3:
            refused.append(request.number)
            return Error(request.number, ErrorCode.RATE_LIMITED, "", 60)
        return answer

    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
        await friend.send(victim, Text("one"), friend.introduction)
        await in_time(received(bob, 1))
        await bob.accept(friend.account.id)
        await in_time(bob.settled())
        await friend.move(DeviceAccount.create())
        town.server.twist = no_time
        await friend.send(victim, Text("two"))

        async def has_come() -> bool:
            town.clock.move(10)
            return await seen(bob) == ["one", "two"]

        await until(has_come)
        assert len(refused) == 3
        assert await alarms(bob) == []


async def test_nothing_is_kept_of_strangers_who_do_not_even_ask(town: SmallTown) -> None:
    """Their messages bring no introduction, so that we fetch; and then are of a device that nobody listed."""
    await town.join("bob")
    victim = town.joined["bob"].link.account.id
    strangers = [Stranger(town.server, f"stranger {number}") for number in range(3)]
    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
        for each in strangers:
            await each.enroll()
            each.olm = DeviceAccount.create()
            await each.send(victim, Text("who am I?"))
        await until(lambda: has_alarms(bob, *[Alarm.UNDECRYPTABLE] * 3))

        def kept(t: Tables) -> list[Manifest | None]:
            return [t.manifests.newest(each.account.id) for each in strangers]

        assert await bob._ctx.db.reading(kept) == [None] * 3


async def test_nothing_is_fetched_for_strangers_without_room(
    town: SmallTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hushpost.client.store.people.MAX_REQUESTS", 1)
    await town.join("bob")
    victim = town.joined["bob"].link.account.id
    first, second = Stranger(town.server, "first"), Stranger(town.server, "second")
    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
        await first.send(victim, Text("one"), first.introduction)
        await in_time(received(bob, 1))
        await second.enroll()
        town.server.seen.clear()
        await second.send(victim, Text("nobody reads this"))
        await first.send(victim, Text("two"))
        await in_time(received(bob, 1))
        assert not [each for each in town.server.seen if isinstance(each, GetKeys)]


async def test_a_chain_of_ours_that_fits_into_no_introduction(town: SmallTown) -> None:
    """Whoever had our account key for a while may have left hundreds of manifests behind."""
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice") as (alice,):
        await in_time(alice.settled())
        account, store = alice._ctx.me.account.id, town.server.store

        def sign(t: Tables) -> list[Manifest]:
            me, newest = t.me.get(), t.manifests.newest(account)
            assert me is not None
            assert me.account_secret is not None
            assert newest is not None
            made = []
            for _ in range(MAX_MANIFESTS + 5):
                newest = next_manifest(newest, me.account_secret, newest.devices)
                t.manifests.append(newest, own=True)
                made.append(newest)
            return made

        for each in await alice._ctx.change(sign):
            listed = [device.id for device in each.devices]
            await store.put_manifest(account, each.version, each.encode(), listed)
        to_bob = await alice.add(town.link("bob"))
        message = await alice.send(to_bob.account, "hi")
        await in_time(alice.reached(message.id, Delivery.ACCEPTED))
    async with town.open("bob") as (bob,):
        assert [each.text for each in await in_time(received(bob, 1))] == ["hi"]


async def test_a_server_at_the_end_of_time(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    town.server.twist = lambda _, answer: (
        msgspec.structs.replace(answer, server_time=2**32 - 1) if isinstance(answer, HelloAnswer) else answer
    )
    async with town.open("alice") as (alice,):
        to_bob = await alice.add(town.link("bob"))
        town.clock.move(2)
        await alice.send(to_bob.account, "now?")
        await until(lambda: has_tried(town))
        assert alice._keeper is not None


async def has_tried(town: SmallTown) -> bool:
    return any(isinstance(each, SendEnvelope) for each in town.server.seen)
