"""A7 of `base.Accounts`: recovering, for every implementation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import pytest

from hushpost.errors import (
    IdTaken,
    StaleManifest,
    StoreFull,
    TooManyKeys,
    UnknownAccount,
)
from hushpost.ids import AccountId, TokenHash
from hushpost.stores.base import (
    MAX_ONE_TIME_KEYS,
    Device,
    DeviceList,
    KeyState,
    SealKeys,
    mailbox_of,
)

from .conftest import World, recovery_of, seal_key, session_keys

Worlds = Callable[..., Awaitable[World]]


class TestRecovering:
    async def test_a7_everything_is_there_together(self, world: World) -> None:
        person = await world.person(1, devices=2)
        new = recovery_of(world, person)
        await world.store.recover(new, 3)
        assert await world.store.devices(person.id) == DeviceList(3, frozenset([new.device]))
        assert await world.store.manifests(person.id, 2, 9) == [new.manifest]
        assert await world.store.seal_keys(person.id) == SealKeys(3, {new.device: new.seal_key})
        taken = [await world.store.take_session_keys(person.id, [new.device]) for _ in range(3)]
        assert taken == [{new.device: key} for key in (b"one-time 1", b"one-time 2", b"fallback")]
        for device in person.devices:
            assert await world.store.device(device) == Device(person.id, listed=False, version=2)
        person.devices, person.seals, person.token = [new.device], {new.device: 7}, new.token_hash
        await world.put(person)
        (envelope,) = await world.store.read(mailbox_of(new.device), after=0, max_count=9, max_bytes=99)
        assert not envelope.is_request

    async def test_a7_a_repeat_changes_nothing_whatever_comes_with_it(self, world: World) -> None:
        person = await world.person()
        new = recovery_of(world, person)
        await world.store.recover(new, 2)
        await world.store.take_session_keys(person.id, [new.device])
        forged = msgspec.structs.replace(
            new,
            seal_key=seal_key(8),
            one_time_keys=session_keys(9),
            fallback_key=b"forged",
            token_hash=TokenHash.random(),
        )
        for again in (new, forged):
            await world.store.recover(again, 2)
        assert (await world.store.seal_keys(person.id)).keys == {new.device: seal_key(7)}
        taken = [await world.store.take_session_keys(person.id, [new.device]) for _ in range(2)]
        assert taken == [{new.device: b"one-time 2"}, {new.device: b"fallback"}]
        person.devices, person.seals, person.token = [new.device], {new.device: 7}, new.token_hash
        await world.put(person)
        (envelope,) = await world.store.read(mailbox_of(new.device), after=0, max_count=9, max_bytes=99)
        assert not envelope.is_request

    @pytest.mark.parametrize("version", [1, 3])
    async def test_a7_only_the_next_version(self, world: World, version: int) -> None:
        person = await world.person()
        with pytest.raises(StaleManifest):
            await world.store.recover(recovery_of(world, person), version)
        assert await world.store.devices(person.id) == DeviceList(1, frozenset(person.devices))

    async def test_a7_only_with_a_device_of_its_own(self, world: World) -> None:
        person, other = await world.person(1), await world.person()
        for device in (person.device, other.device):
            new = msgspec.structs.replace(recovery_of(world, person), device=device)
            with pytest.raises(IdTaken):
                await world.store.recover(new, 2)
        assert await world.store.key_state(person.device) == KeyState(1, ())

    async def test_a7_or_nothing(self, worlds: Worlds) -> None:
        world = await worlds(total_bytes=5)
        person = await world.person()
        new = recovery_of(world, person)
        many = session_keys(*range(MAX_ONE_TIME_KEYS + 1))
        with pytest.raises(TooManyKeys):
            await world.store.recover(msgspec.structs.replace(new, one_time_keys=many), 2)
        with pytest.raises(ValueError, match="63 bits"):
            await world.store.recover(msgspec.structs.replace(new, seal_key=seal_key(2**63)), 2)
        with pytest.raises(UnknownAccount):
            await world.store.recover(msgspec.structs.replace(new, id=AccountId.random()), 2)
        await world.put(person)
        with pytest.raises(StoreFull):
            await world.store.recover(new, 2)
        assert await world.store.devices(person.id) == DeviceList(1, frozenset(person.devices))
        assert await world.store.device(new.device) is None
