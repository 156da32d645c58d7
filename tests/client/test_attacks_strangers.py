"""What one stranger with an account can do: nothing to the mail of others, and nothing unseen."""

from __future__ import annotations

import asyncio

from hushpost.client.api import Client
from hushpost.client.profiles import ProfileFiles
from hushpost.client.store import StoreThread, Tables
from hushpost.client.values import Alarm, Alarmed, Received
from hushpost.client.vault import InFile, Vault
from hushpost.crypto.content import Text
from hushpost.crypto.ratchet import DeviceAccount
from hushpost.ids import DeviceId
from hushpost.stores.base import mailbox_of
from tests.client.people import SmallTown, befriend, in_time, received
from tests.client.strangers import Stranger


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
