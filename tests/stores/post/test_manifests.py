"""A5, A6 and A8 of `base.Accounts`: manifests and the devices that they list, for every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from hushpost.errors import (
    StaleManifest,
    StoreFull,
    TooManyManifests,
    UnknownAccount,
)
from hushpost.ids import AccountId, DeviceId
from hushpost.stores.base import (
    MANIFESTS_BYTES,
    MANIFESTS_COUNT,
    RECOVERIES_COUNT,
    Device,
    DeviceList,
    KeyState,
    KeyUpdate,
    Position,
    Usage,
    mailbox_of,
)

from .conftest import World, recovery_of, seal_key

Worlds = Callable[..., Awaitable[World]]


class TestManifests:
    async def test_a5_versions_grow_by_one(self, world: World) -> None:
        person = await world.person()
        for wrong in (0, 1, 3, 4, 2**32 - 1):
            with pytest.raises(StaleManifest) as stale:
                await world.store.put_manifest(person.id, wrong, b"wrong", [person.device])
            assert stale.value.manifest == b"manifest 1 of 1"
        await world.store.put_manifest(person.id, 2, b"second", [person.device])
        assert await world.store.devices(person.id) == DeviceList(2, frozenset(person.devices))

    async def test_a5_repeating_the_newest_is_harmless(self, world: World) -> None:
        person = await world.person()
        for _ in range(2):
            await world.store.put_manifest(person.id, 2, b"second", [person.device])
        with pytest.raises(StaleManifest):
            await world.store.put_manifest(person.id, 2, b"Second", [person.device])
        assert await world.store.manifests(person.id, 0, 9) == [b"manifest 1 of 1", b"second"]

    async def test_a5_of_two_at_once_one_is_next(self, world: World) -> None:
        person = await world.person()
        answers = await asyncio.gather(
            *(world.store.put_manifest(person.id, 2, b"%d" % k, [person.device]) for k in range(4)),
            return_exceptions=True,
        )
        assert answers.count(None) == 1
        assert sum(isinstance(answer, StaleManifest) for answer in answers) == 3

    async def test_a5_pages(self, world: World) -> None:
        person = await world.person()
        for version in range(2, 7):
            await world.store.put_manifest(person.id, version, b"%d" % version, [person.device])
        assert await world.store.manifests(person.id, 1, 2) == [b"2", b"3"]
        assert await world.store.manifests(person.id, 4, 9) == [b"5", b"6"]
        assert await world.store.manifests(person.id, 6, 9) == []
        assert await world.store.manifests(person.id, 2**63 - 1, 9) == []

    async def test_a5_nobodys(self, world: World) -> None:
        with pytest.raises(UnknownAccount):
            await world.store.put_manifest(AccountId.random(), 1, b"first", [DeviceId.random()])

    async def test_a6_new_devices_get_mailboxes_and_have_no_keys_yet(self, world: World) -> None:
        person, other = await world.person(), DeviceId.random()
        await world.store.put_manifest(person.id, 2, b"second", [person.device, other])
        assert await world.store.usage(mailbox_of(other)) == Usage(0, 0)
        assert (await world.store.seal_keys(person.id)).keys == {person.device: seal_key(7)}
        assert await world.store.take_session_keys(person.id, [other]) == {}
        assert await world.store.key_state(other) == KeyState(0, ())

    async def test_a6_removed_ones_lose_their_keys(self, world: World) -> None:
        person = await world.person(1, 2, devices=2)
        gone, kept = person.devices
        await world.store.publish(gone, KeyUpdate(seal_key=seal_key(8)))
        await world.list_devices(person, [kept])
        assert await world.store.take_session_keys(person.id, [gone]) == {}
        assert (await world.store.seal_keys(person.id)).keys == {kept: seal_key(7)}
        assert (await world.store.stats()).one_time_keys == 0
        assert (await world.store.account_usage(person.id))["retired-seal-keys"].startswith("0:")
        for refused in (world.store.key_state(gone), world.store.publish(gone, KeyUpdate())):
            with pytest.raises(UnknownAccount):
                await refused

    async def test_a6_what_waits_for_them_can_be_fetched(self, world: World) -> None:
        person = await world.person(devices=2)
        gone, kept = person.devices
        await world.store.append_sealed(world.send_to(person))
        await world.list_devices(person, [kept])
        assert await world.store.device(gone) == Device(person.id, listed=False, version=2)
        await world.store.append_sealed(world.send_to(person))
        assert await world.waiting(gone) == [1]
        assert await world.waiting(kept) == [2, 3]
        await world.store.ack(mailbox_of(gone), [1])
        assert await world.store.usage(mailbox_of(gone)) == Usage(0, 0)
        assert await world.store.position(mailbox_of(gone)) == Position(1, 1)

    async def test_a6_the_newest_manifest_that_lists_a_device(self, world: World) -> None:
        person = await world.person(devices=2)
        kept, gone = person.devices
        for version in (3, 4):
            await world.list_devices(person, [kept])
            assert await world.store.device(kept) == Device(person.id, listed=True, version=version)
            assert await world.store.device(gone) == Device(person.id, listed=False, version=2)

    async def test_a8_so_many_versions_and_some_more_by_recovery(self, world: World) -> None:
        person = await world.person()
        versions = range(2, MANIFESTS_COUNT + 1)
        await asyncio.gather(
            *(world.store.put_manifest(person.id, k, b"%d" % k, person.devices) for k in versions)
        )
        with pytest.raises(TooManyManifests):
            await world.store.put_manifest(person.id, MANIFESTS_COUNT + 1, b"more", [person.device])
        for k in range(RECOVERIES_COUNT):
            new = msgspec.structs.replace(recovery_of(world, person), manifest=b"recovered %d" % k)
            await world.store.recover(new, MANIFESTS_COUNT + 1 + k)
        with pytest.raises(TooManyManifests):
            await world.store.recover(recovery_of(world, person), MANIFESTS_COUNT + RECOVERIES_COUNT + 1)
        assert (await world.store.devices(person.id)).version == MANIFESTS_COUNT + RECOVERIES_COUNT

    async def test_a8_so_many_bytes(self, world: World) -> None:
        person = await world.person()
        room = MANIFESTS_BYTES - len(b"manifest 1 of 1")
        with pytest.raises(TooManyManifests):
            await world.store.put_manifest(person.id, 2, bytes(room + 1), [DeviceId.random()])
        assert await world.store.devices(person.id) == DeviceList(1, frozenset(person.devices))
        await world.store.put_manifest(person.id, 2, bytes(room), [person.device])
        with pytest.raises(TooManyManifests):
            await world.store.put_manifest(person.id, 3, b"x", [person.device])
        await world.store.recover(recovery_of(world, person), 3)

    async def test_a6_a_manifest_when_full_changes_nothing(self, worlds: Worlds) -> None:
        world = await worlds(total_bytes=5)
        person = await world.person()
        await world.put(person)
        with pytest.raises(StoreFull):
            await world.store.put_manifest(person.id, 2, b"second", [DeviceId.random()])
        assert await world.store.devices(person.id) == DeviceList(1, frozenset(person.devices))
        assert await world.store.manifests(person.id, 1, 9) == []
