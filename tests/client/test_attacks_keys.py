"""A server that lies about keys: what it shows is refused, shown to the user, and nothing is sent with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec
import pytest

from hushpost.client.api import Client
from hushpost.client.profiles import ProfileFiles
from hushpost.client.store import Me, StoreThread
from hushpost.client.values import Alarm, Alarmed, Delivery, Trust
from hushpost.client.vault import InFile, Vault
from hushpost.crypto.faults import EnvelopeFault
from hushpost.crypto.identity import (
    AccountSecret,
    Manifest,
    ManifestFault,
    Signature,
    next_manifest,
    parse_phrase,
)
from hushpost.crypto.prekeys import PrekeyFault
from hushpost.errors import Blocked, ManifestError, PrekeyError, ProtocolError
from hushpost.wire.messages import DeviceKeys, Keys, RequestMessage, ResponseMessage
from tests.client.people import SmallTown, befriend, first_event, in_time, received
from tests.crypto.people import MALLORY

Change = Callable[[Keys], Keys]


def twist_keys(town: SmallTown, change: Change) -> None:
    """From now on, every answer with keys is changed like this."""

    def twist(_: RequestMessage, answer: ResponseMessage) -> ResponseMessage:
        return change(answer) if isinstance(answer, Keys) else answer

    town.server.twist = twist


def with_manifests(manifests: Sequence[Manifest]) -> Change:
    return lambda answer: msgspec.structs.replace(
        answer, manifests=[each.encode() for each in manifests], devices=[]
    )


async def secrets_of(town: SmallTown, name: str) -> tuple[Me, Manifest]:
    """What only this person's database knows."""
    files = ProfileFiles(town.profile(name))
    key = await asyncio.to_thread(Vault(files, InFile()).open)
    db = await StoreThread.open(files.database, key)
    try:
        me = await db.reading(lambda t: t.me.get())
        assert me is not None
        manifest = await db.reading(lambda t: t.manifests.newest(me.account.id))
        assert manifest is not None
        return me, manifest
    finally:
        await db.close()


async def alarm(client: Client) -> Alarmed:
    event = await in_time(first_event(client, Alarmed))
    assert isinstance(event, Alarmed)
    return event


async def test_another_persons_manifest(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    twist_keys(town, with_manifests([MALLORY.first()]))
    async with town.open("alice") as (alice,):
        for who in (town.link("bob"), "bob"):
            with pytest.raises(ManifestError):
                await alice.add(who)
        assert (await alarm(alice)).alarm is Alarm.BAD_MANIFEST
        assert await alice.contacts() == []


async def test_a_device_that_the_server_added(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    _, manifest = await secrets_of(town, "bob")
    spy = MALLORY.hand.joins(manifest.account)
    devices = sorted([*manifest.devices, spy], key=lambda each: each.id)
    forged = replace(
        manifest, version=2, previous=manifest.hash, devices=tuple(devices), signature=Signature(bytes(64))
    )
    async with town.open("alice") as (alice,):
        bob = await alice.add(town.link("bob"))
        twist_keys(town, with_manifests([forged]))
        message = await alice.send(bob.account, "for Bob alone")
        event = await alarm(alice)
        assert (event.alarm, event.detail) == (Alarm.BAD_MANIFEST, str(ManifestFault.BAD_SIGNATURE))
        assert (await alice.message(message.id)).delivery is Delivery.QUEUED
        assert len((await alice.contact("bob")).devices) == 1


async def newer_manifest(town: SmallTown, name: str) -> Manifest:
    """This person's second manifest, as their device would make it; at the server, too."""
    me, manifest = await secrets_of(town, name)
    assert me.account_secret is not None
    newer = next_manifest(manifest, me.account_secret, manifest.devices)
    await town.server.store.put_manifest(me.account.id, 2, newer.encode(), [me.device])
    return newer


async def test_a_manifest_that_is_rolled_back(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    _, first = await secrets_of(town, "bob")
    await newer_manifest(town, "bob")
    async with town.open("alice") as (alice,):
        await alice.add(town.link("bob"))
        twist_keys(town, with_manifests([first]))
        with pytest.raises(ManifestError) as refused:
            await alice.add(town.link("bob"))
        assert refused.value.reason == ManifestFault.ROLLBACK
        assert (await alarm(alice)).alarm is Alarm.ROLLBACK


async def test_two_manifests_in_the_place_of_one(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    me, first = await secrets_of(town, "bob")
    await newer_manifest(town, "bob")
    assert me.account_secret is not None
    device = first.devices[0]
    other = next_manifest(first, me.account_secret, [device, MALLORY.hand.joins(first.account)])
    async with town.open("alice") as (alice,):
        await alice.add(town.link("bob"))
        twist_keys(town, with_manifests([other]))
        with pytest.raises(ManifestError) as refused:
            await alice.add(town.link("bob"))
        assert refused.value.reason == ManifestFault.FORK
        assert (await alarm(alice)).alarm is Alarm.FORK


async def test_control_characters_in_a_name(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bobby")
    _, manifest = await secrets_of(town, "bobby")
    raw = manifest.encode().replace(b"bobby", b"b\x1b[2J")
    twist_keys(town, lambda answer: msgspec.structs.replace(answer, manifests=[raw], devices=[]))
    async with town.open("alice") as (alice,):
        with pytest.raises(ManifestError) as refused:
            await alice.add(town.link("bobby"))
        assert refused.value.reason == ManifestFault.MALFORMED


LOW_ORDER = bytes(32)
NOT_CANONICAL = (2**255 - 19 + 9).to_bytes(32, "little")


def other_seal(raw: bytes, key: bytes) -> bytes:
    """A seal key with another X25519 half."""
    return raw[: 17 + 1184] + key + raw[17 + 1216 :]


@pytest.mark.parametrize("key", [LOW_ORDER, NOT_CANONICAL], ids=["low-order", "not-canonical"])
@pytest.mark.parametrize("where", ["seal", "session"])
async def test_keys_that_nobody_honest_has(town: SmallTown, where: str, key: bytes) -> None:
    await town.join("alice")
    await town.join("bob")
    refused: list[bool] = []

    def change(answer: Keys) -> Keys:
        def weak(each: DeviceKeys) -> DeviceKeys:
            if where == "seal":
                return msgspec.structs.replace(each, seal_key=other_seal(each.seal_key, key))
            if not each.session_key:
                return each
            refused.append(True)
            session = each.session_key[:9] + key + each.session_key[41:]
            return msgspec.structs.replace(each, session_key=session)

        return msgspec.structs.replace(answer, devices=[weak(each) for each in answer.devices])

    async with town.open("alice") as (alice,):
        twist_keys(town, change)
        if where == "seal":
            with pytest.raises(PrekeyError):
                await alice.add(town.link("bob"))
        else:
            bob = await alice.add(town.link("bob"))
            message = await alice.send(bob.account, "for Bob alone")
        event = await alarm(alice)
        assert (event.alarm, event.detail) == (Alarm.BAD_PREKEY, str(PrekeyFault.MALFORMED))
        if where == "session":
            assert refused
            assert (await alice.message(message.id)).delivery is Delivery.QUEUED


async def test_another_devices_prekeys(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    await town.join("mallory")
    theirs = await town.server.store.seal_keys(town.joined["mallory"].link.account.id)
    (stolen,) = theirs.keys.values()

    def change(answer: Keys) -> Keys:
        devices = [msgspec.structs.replace(each, seal_key=stolen.signed) for each in answer.devices]
        return msgspec.structs.replace(answer, devices=devices)

    async with town.open("alice") as (alice,):
        twist_keys(town, change)
        with pytest.raises(PrekeyError):
            await alice.add(town.link("bob"))
        event = await alarm(alice)
        assert (event.alarm, event.detail) == (Alarm.BAD_PREKEY, str(PrekeyFault.BAD_SIGNATURE))


@pytest.mark.parametrize("count", [1, 6])
async def test_session_keys_that_nobody_asked_for(town: SmallTown, count: int) -> None:
    """Each would open a session in place of one that works."""
    await town.join("alice")
    await town.join("bob")

    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
        device = to_bob.devices[0]
        before = await alice._ctx.db.reading(lambda t: t.sessions.every(device))
        extra = town.server.fallback_keys[device]

        def change(answer: Keys) -> Keys:
            devices = [msgspec.structs.replace(each, session_key=extra) for each in answer.devices]
            return msgspec.structs.replace(answer, devices=devices * count)

        twist_keys(town, change)
        with pytest.raises(ProtocolError):
            await alice.add("bob")
        assert await alice._ctx.db.reading(lambda t: t.sessions.every(device)) == before


async def test_a_device_that_is_given_out_twice(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    twist_keys(town, lambda answer: msgspec.structs.replace(answer, devices=answer.devices * 2))
    async with town.open("alice") as (alice,):
        with pytest.raises(ProtocolError):
            await alice.add("bob")


async def test_one_prekey_for_two_senders(town: SmallTown) -> None:
    """The second message does not open: that is shown, and a new session brings it after all."""
    for name in ("alice", "bob", "carol"):
        await town.join(name)
    given: dict[bytes, bytes] = {}

    def change(answer: Keys) -> Keys:
        def same(each: DeviceKeys) -> DeviceKeys:
            if not each.session_key:
                return each
            key = given.setdefault(each.device, each.session_key)
            return msgspec.structs.replace(each, session_key=key)

        return msgspec.structs.replace(answer, devices=[same(each) for each in answer.devices])

    async with town.open("alice", "bob", "carol") as (alice, bob, carol):
        await bob.add(town.link("carol"))
        twist_keys(town, change)
        await alice.send((await alice.add(town.link("bob"))).account, "first")
        assert [each.text for each in await in_time(received(bob, 1))] == ["first"]
        await carol.send((await carol.add(town.link("bob"))).account, "second")
        event = await alarm(bob)
        assert (event.alarm, event.detail) == (Alarm.UNDECRYPTABLE, str(EnvelopeFault.RATCHET))
        given.clear()
        assert [each.text for each in await in_time(received(bob, 1))] == ["second"]


async def test_a_replaced_account_key_stops_sending(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
    _, manifest = await secrets_of(town, "bob")
    seed = parse_phrase(town.joined["bob"].recovery_phrase)
    fresh = AccountSecret.random()
    replaced = next_manifest(manifest, seed.secret, manifest.devices, account_key=fresh.public)
    device = manifest.devices[0].id
    await town.server.store.put_manifest(to_bob.account, 2, replaced.encode(), [device])
    async with town.open("alice") as (alice,):
        await alice.add(town.link("bob"))
        with pytest.raises(Blocked):
            await alice.send(to_bob.account, "still you?")
        event = await alarm(alice)
        assert event.alarm is Alarm.VERIFIED_KEY_REPLACED
        assert (await alice.accept(to_bob.account)).trust is Trust.UNVERIFIED
        await alice.send(to_bob.account, "still you?")
