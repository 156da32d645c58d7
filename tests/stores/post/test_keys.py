"""Promises K1 to K5 of `stores.base`, for every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hushpost.errors import StaleSeal, StoreFull, TooManyKeys, UnknownAccount
from hushpost.ids import AccountId, DeviceId, TokenHash
from hushpost.stores.base import (
    MAX_ONE_TIME_KEYS,
    RETIRED_AFTER,
    RETIRED_KEPT,
    KeyState,
    KeyUpdate,
    RetiredSealKey,
    mailbox_of,
)

from .conftest import Person, World, seal_key, session_keys

Worlds = Callable[..., Awaitable[World]]


async def take(world: World, person: Person) -> bytes:
    return (await world.store.take_session_keys(person.id, [person.device]))[person.device]


class TestOneTimeKeys:
    async def test_k1_each_once_in_the_order_of_their_ids(self, world: World) -> None:
        person = await world.person(5, 3, 4)
        taken = [await take(world, person) for _ in range(4)]
        assert taken == [b"one-time 3", b"one-time 4", b"one-time 5", b"fallback"]

    async def test_k1_each_once_when_many_ask_at_once(self, world: World) -> None:
        person = await world.person(*range(100))
        answers = await asyncio.gather(*(take(world, person) for _ in range(120)))
        assert sorted(answers)[:20] == [b"fallback"] * 20
        assert len(set(answers)) == 101

    async def test_k1_asking_twice_in_one_request_takes_one(self, world: World) -> None:
        person = await world.person(1, 2)
        assert await world.store.take_session_keys(person.id, [person.device] * 3) == {
            person.device: b"one-time 1"
        }
        assert (await world.store.key_state(person.device)).one_time_keys == 1

    @pytest.mark.parametrize("replace_all", [False, True])
    async def test_k1_an_uploaded_again_is_not_taken_in_again(self, world: World, replace_all: bool) -> None:
        person = await world.person(1, 2, 3)
        await take(world, person)
        update = KeyUpdate(session_keys(0, 1, 2, 3, 4), replace_all=replace_all)
        state = await world.store.publish(person.device, update)
        assert state.one_time_keys == (1 if replace_all else 3)
        expected = [b"one-time 4"] if replace_all else [b"one-time 2", b"one-time 3", b"one-time 4"]
        assert [await take(world, person) for _ in expected] == expected
        assert await take(world, person) == b"fallback"

    async def test_k1_not_even_when_all_were_replaced_by_nothing(self, world: World) -> None:
        person = await world.person(1, 2, 3)
        await world.store.publish(person.device, KeyUpdate(replace_all=True))
        state = await world.store.publish(person.device, KeyUpdate(session_keys(2, 3)))
        assert state.one_time_keys == 0
        assert await take(world, person) == b"fallback"

    async def test_k1_one_key_twice_in_an_upload_is_one(self, world: World) -> None:
        person = await world.person()
        state = await world.store.publish(person.device, KeyUpdate(session_keys(4, 4, 5)))
        assert state.one_time_keys == 2

    async def test_k1_of_whom_nothing_can_be_had(self, world: World) -> None:
        person, other = await world.person(1), await world.person(1)
        assert await world.store.take_session_keys(person.id, [other.device, DeviceId.random()]) == {}
        assert (await world.store.key_state(other.device)).one_time_keys == 1
        with pytest.raises(UnknownAccount):
            await world.store.take_session_keys(AccountId.random(), [person.device])
        with pytest.raises(UnknownAccount):
            await world.store.seal_keys(AccountId.random())

    async def test_k5_the_fallback_key_as_often_as_needed(self, world: World) -> None:
        person = await world.person()
        assert [await take(world, person) for _ in range(3)] == [b"fallback"] * 3
        await world.store.publish(person.device, KeyUpdate(session_keys(1), fallback_key=b"second"))
        assert [await take(world, person) for _ in range(3)] == [b"one-time 1", b"second", b"second"]

    async def test_k5_the_fallback_key_where_none_shall_be_taken(self, world: World) -> None:
        person, other = await world.person(1, devices=2), await world.person()
        wanted = [*person.devices, other.device, DeviceId.random()]
        for _ in range(2):
            assert await world.store.fallback_keys(person.id, wanted) == {person.device: b"fallback"}
        assert await take(world, person) == b"one-time 1"
        await world.list_devices(person, person.devices[1:])
        assert await world.store.fallback_keys(person.id, wanted) == {}
        with pytest.raises(UnknownAccount):
            await world.store.fallback_keys(AccountId.random(), wanted)


class TestPublishing:
    async def test_k2_all_of_an_update_or_nothing(self, world: World) -> None:
        person = await world.person(1)
        for wrong in (
            KeyUpdate(session_keys(2), True, b"other", seal_key(6), TokenHash.random()),
            KeyUpdate(session_keys(*range(2, 103)), True, b"other", seal_key(8), TokenHash.random()),
        ):
            with pytest.raises((StaleSeal, TooManyKeys)):
                await world.store.publish(person.device, wrong)
        assert await world.store.key_state(person.device) == KeyState(1, ())
        assert (await world.store.seal_keys(person.id)).keys == {person.device: seal_key(7)}
        assert [await take(world, person) for _ in range(2)] == [b"one-time 1", b"fallback"]
        await world.put(person)
        (envelope,) = await world.store.read(mailbox_of(person.device), after=0, max_count=1, max_bytes=1)
        assert not envelope.is_request  # the token is still the old one

    async def test_k2_what_is_not_said_stays(self, world: World) -> None:
        person = await world.person(1)
        assert await world.store.publish(person.device, KeyUpdate()) == KeyState(1, ())
        assert (await world.store.seal_keys(person.id)).keys == {person.device: seal_key(7)}
        assert [await take(world, person) for _ in range(2)] == [b"one-time 1", b"fallback"]

    @pytest.mark.parametrize("replace_all", [False, True])
    async def test_k2_at_most_so_many(self, world: World, replace_all: bool) -> None:
        person = await world.person(1)
        room = MAX_ONE_TIME_KEYS - (not replace_all)
        with pytest.raises(TooManyKeys):
            await world.store.publish(
                person.device, KeyUpdate(session_keys(*range(2, 3 + room)), replace_all)
            )
        state = await world.store.publish(
            person.device, KeyUpdate(session_keys(*range(2, 2 + room)), replace_all)
        )
        assert state.one_time_keys == MAX_ONE_TIME_KEYS

    async def test_k2_the_token_of_the_account(self, world: World) -> None:
        person = await world.person(devices=2)
        token = TokenHash.random()
        await world.store.publish(person.devices[1], KeyUpdate(token_hash=token))
        await world.store.append_sealed(world.send_to(person))
        person.token = token
        await world.store.append_sealed(world.send_to(person))
        found = await world.store.read(mailbox_of(person.device), after=0, max_count=9, max_bytes=99)
        assert [envelope.is_request for envelope in found] == [True, False]

    async def test_k2_refused_when_full_and_of_unknown_devices(self, worlds: Worlds) -> None:
        world = await worlds(total_bytes=5)
        person = await world.person()
        with pytest.raises(UnknownAccount):
            await world.store.publish(DeviceId.random(), KeyUpdate())
        with pytest.raises(UnknownAccount):
            await world.store.key_state(DeviceId.random())
        await world.put(person)
        with pytest.raises(StoreFull):
            await world.store.publish(person.device, KeyUpdate(session_keys(1)))
        assert (await world.store.key_state(person.device)).one_time_keys == 0

    @pytest.mark.parametrize("number", [-1, 2**63])
    async def test_k2_refused_with_impossible_ids(self, world: World, number: int) -> None:
        person = await world.person()
        for update in (KeyUpdate(session_keys(number)), KeyUpdate(seal_key=seal_key(number))):
            with pytest.raises(ValueError, match="63 bits"):
                await world.store.publish(person.device, update)
        last = KeyUpdate(session_keys(2**63 - 1), seal_key=seal_key(2**63 - 1))
        assert (await world.store.publish(person.device, last)).one_time_keys == 1
        person.seals[person.device] = 2**63 - 1
        await world.put(person)
        (envelope,) = await world.store.read(mailbox_of(person.device), after=0, max_count=1, max_bytes=1)
        assert envelope.seal_key_id == 2**63 - 1


class TestSealKeys:
    async def test_k3_ids_only_grow(self, world: World) -> None:
        person = await world.person()
        with pytest.raises(StaleSeal) as stale:
            await world.store.publish(person.device, KeyUpdate(seal_key=seal_key(6)))
        assert stale.value.keys == {person.device: b"seal 7"}
        await world.store.publish(person.device, KeyUpdate(seal_key=seal_key(9)))
        assert (await world.store.seal_keys(person.id)).keys == {person.device: seal_key(9)}

    async def test_k3_the_same_again_is_harmless_and_another_of_its_id_is_not(self, world: World) -> None:
        person = await world.person()
        await world.store.publish(person.device, KeyUpdate(seal_key=seal_key(7)))
        with pytest.raises(StaleSeal):
            await world.store.publish(person.device, KeyUpdate(seal_key=type(seal_key(7))(7, b"other")))
        world.now += 2 * RETIRED_AFTER
        assert (await world.store.key_state(person.device)).retired == ()

    async def test_k4_an_older_one_is_refused_at_once(self, world: World) -> None:
        person = await world.person()
        old = world.send_to(person)
        rotation = world.store.publish(person.device, KeyUpdate(seal_key=seal_key(8)))
        await rotation
        with pytest.raises(StaleSeal):
            await world.store.append_sealed(old)
        assert await world.waiting(person.device) == []

    async def test_k4_retired_with_the_highest_sequence_of_the_mailbox(self, world: World) -> None:
        person, other = await world.person(), await world.person()
        for _ in range(3):
            await world.put(person)
        await world.store.ack_up_to(mailbox_of(person.device), 9)
        await world.put(other)
        await world.store.publish(person.device, KeyUpdate(seal_key=seal_key(8)))
        world.now += RETIRED_AFTER
        state = await world.store.key_state(person.device)
        assert state.retired == (RetiredSealKey(7, 3),)

    async def test_k4_told_from_an_hour_after_it_on(self, world: World) -> None:
        person = await world.person()
        await world.store.publish(person.device, KeyUpdate(seal_key=seal_key(8)))
        world.now += RETIRED_AFTER - 1
        assert (await world.store.key_state(person.device)).retired == ()
        world.now += 1
        assert (await world.store.key_state(person.device)).retired == (RetiredSealKey(7, 0),)
        assert (await world.store.publish(person.device, KeyUpdate())).retired == (RetiredSealKey(7, 0),)

    async def test_k4_until_so_many_newer_ones_are(self, world: World) -> None:
        person = await world.person()
        for number in range(8, 8 + RETIRED_KEPT):
            await world.store.publish(person.device, KeyUpdate(seal_key=seal_key(number)))
        world.now += RETIRED_AFTER
        retired = [key.id for key in (await world.store.key_state(person.device)).retired]
        assert retired == list(range(7, 7 + RETIRED_KEPT))
        await world.store.publish(person.device, KeyUpdate(seal_key=seal_key(999)))
        world.now += RETIRED_AFTER
        retired = [key.id for key in (await world.store.key_state(person.device)).retired]
        assert retired == list(range(8, 8 + RETIRED_KEPT))

    async def test_k4_a_first_key_retires_none(self, world: World) -> None:
        person = await world.person(devices=2)
        world.now += RETIRED_AFTER
        assert (await world.store.key_state(person.devices[1])).retired == ()
