"""Promises U1 to U3 of `stores.base`, for every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from hushpost.errors import UnknownAccount, UnknownMailbox
from hushpost.ids import AccountId
from hushpost.stores import rules
from hushpost.stores.base import WAITING_SECONDS, KeyUpdate, Position, Stats, Usage, mailbox_of

from .conftest import Person, World, seal_key

Worlds = Callable[..., Awaitable[World]]


class TestUsage:
    async def test_u1_every_fact_and_no_other(self, world: World) -> None:
        person = await world.person(1, 2, 3, devices=3)
        other = await world.person(1, 2, 3, 4)
        await world.put(other)
        await world.store.append_sealed(world.send_to(person, b"four"))
        await world.list_devices(person, person.devices[:2])
        await world.store.append_sealed(world.send_to(person, b"sixsix", stranger=True))
        await world.store.publish(person.device, KeyUpdate(seal_key=seal_key(8)))
        assert await world.store.account_usage(person.id) == {
            "account-id": str(person.id),
            "name": person.name,
            "manifests": "3, 35 bytes",
            "devices": "2, and 1 that were removed",
            "delivery-token": "a digest of it",
            "waiting-envelopes": "5, 29 bytes",
            "waiting-requests": "2 of them, 14 bytes",
            "one-time-keys": "3",
            "fallback-keys": "1",
            "seal-keys": "2",
            "retired-seal-keys": "1: number, time of retirement, last sequence",
            "files-put": "0 bytes, in a sum for each of 0 days of expiry",
            "positions": "per device: the highest sequences stored and acknowledged, the highest key numbers,"
            " the last manifest that listed it",
            "send-records": "for 31 days per envelope received: its id, its sequence, a digest of its body",
        }

    async def test_u1_of_nobody(self, world: World) -> None:
        with pytest.raises(UnknownAccount):
            await world.store.account_usage(AccountId.random())

    async def test_the_operators_numbers(self, world: World) -> None:
        people = [await world.person(1, 2, devices=k) for k in (1, 2)]
        gone = await world.person(1)
        await world.store.append_sealed(world.send_to(gone))
        await world.store.leave(gone.id)
        await world.invite()
        await world.invite(expires=0)
        await world.store.append_sealed(world.send_to(people[0]))
        await world.store.append_sealed(world.send_to(people[1], stranger=True))
        assert await world.store.stats() == Stats(
            accounts=2, left=1, mailboxes=3, envelopes=3, size=15, requests=2, one_time_keys=4, invitations=1
        )


async def nothing_is_held(world: World, person: Person) -> None:
    for question in (
        world.store.devices(person.id),
        world.store.seal_keys(person.id),
        world.store.account_usage(person.id),
    ):
        with pytest.raises(UnknownAccount):
            await question
    for device in person.devices:
        assert await world.store.device(device) is None
        for about in (world.store.usage(mailbox_of(device)), world.store.position(mailbox_of(device))):
            with pytest.raises(UnknownMailbox):
                await about
    assert await world.store.account(person.id) is None
    assert await world.store.account_named(person.name) is None


class TestLeaving:
    async def test_u2_nothing_is_held_but_id_and_name(self, world: World) -> None:
        person, other = await world.person(1, devices=3), await world.person(2)
        await world.store.append_sealed(world.send_to(person))
        await world.list_devices(person, person.devices[:2])
        await world.put(other)
        await world.store.leave(person.id)
        await nothing_is_held(world, person)
        assert await world.store.stats() == Stats(
            accounts=1, left=1, mailboxes=1, envelopes=1, size=5, requests=0, one_time_keys=1, invitations=0
        )
        with pytest.raises(UnknownAccount):
            await world.store.append_sealed(world.send_to(person))
        with pytest.raises(UnknownAccount):
            await world.store.leave(person.id)
        assert await world.waiting(other.device) == [4]

    async def test_u2_a_great_many_envelopes(self, world: World) -> None:
        person = await world.person()
        sends = [world.send_to(person, b"") for _ in range(1_300)]
        await asyncio.gather(*map(world.store.append_sealed, sends))
        await world.store.leave(person.id)
        stats = await world.store.stats()
        assert (stats.envelopes, stats.size) == (0, 0)

    async def test_u2_whoever_lists_the_device_later_begins_anew(self, world: World) -> None:
        person = await world.person(1)
        send = world.send_to(person)
        await world.store.append_sealed(send)
        await world.store.leave(person.id)
        new = msgspec.structs.replace(world.new_account(), device=person.device)
        await world.store.enroll(new, None)
        box = mailbox_of(person.device)
        assert await world.store.position(box) == Position(0, 0)
        again = msgspec.structs.replace(send, account=new.id, token_hash=new.token_hash)
        assert await world.store.append_sealed(again) == (2,)
        assert await world.store.usage(box) == Usage(1, 5)


class TestExpiry:
    @pytest.mark.parametrize(("waited", "gone"), [(WAITING_SECONDS - 1, False), (WAITING_SECONDS, True)])
    async def test_u3_an_envelope_waits_for_so_long(self, world: World, waited: int, gone: bool) -> None:
        person = await world.person()
        await world.put(person)
        await world.store.tidy(1_000)  # the next note of the time: it cannot be older than this
        await world.store.tidy(waited)
        assert await world.waiting(person.device) == ([] if gone else [1])

    async def test_u3_it_goes_within_an_hour_after_that(self, worlds: Worlds) -> None:
        world = await worlds(waiting_seconds=10_000)
        person, stored, waited = await world.person(), dict[int, int](), dict[int, int]()
        for now in range(0, 40_000, 300):
            stored[await world.put(person)] = now
            await world.store.tidy(300)
            left = set(await world.waiting(person.device))
            for sequence in stored.keys() - left - waited.keys():
                waited[sequence] = now + 300 - stored[sequence]
        assert len(waited) > 80
        assert 10_000 <= min(waited.values()) <= max(waited.values()) <= 10_000 + rules.HOUR + 600

    async def test_u3_a_wall_clock_that_jumps_deletes_nothing(self, world: World) -> None:
        person = await world.person()
        await world.put(person)
        await world.store.tidy(10)
        world.now += 100 * 365 * 86_400
        await world.store.tidy(10)
        assert await world.waiting(person.device) == [1]

    async def test_u3_the_position_stays_and_the_quota_is_free(self, worlds: Worlds) -> None:
        world = await worlds(waiting_seconds=100, mailbox_count=2)
        person, other = await world.person(), await world.person(devices=2)
        await world.put(person, stranger=True)
        await world.put(person)
        await world.store.append_sealed(world.send_to(other))
        await world.store.ack(mailbox_of(person.device), [1])
        await world.store.tidy(0)
        await world.store.tidy(100)
        box = mailbox_of(person.device)
        assert await world.store.position(box) == Position(1, 2)
        assert await world.store.usage(box) == Usage(0, 0)
        for number, device in enumerate(other.devices, start=3):
            assert await world.store.position(mailbox_of(device)) == Position(0, number)
            assert await world.store.usage(mailbox_of(device)) == Usage(0, 0)
        assert (await world.store.stats()).size == 0
        assert [await world.put(person) for _ in range(2)] == [5, 6]
        assert await world.store.usage(box) == Usage(2, 10)
        assert await world.store.position(box) == Position(1, 6)

    async def test_u3_of_many_mailboxes(self, worlds: Worlds) -> None:
        world = await worlds(waiting_seconds=100)
        people = [await world.person() for _ in range(5)]
        sends = [world.send_to(people[k % 5], b"", stranger=k < 5) for k in range(1_300)]
        await asyncio.gather(*map(world.store.append_sealed, sends))
        await world.store.tidy(0)
        kept = [await world.put(person) for person in people]
        await world.store.tidy(100)
        for person, sequence in zip(people, kept, strict=True):
            assert await world.waiting(person.device) == [sequence]
            assert await world.store.usage(mailbox_of(person.device)) == Usage(1, 5)
        assert (await world.store.stats()).requests == 0

    async def test_u3_of_a_device_that_was_removed(self, worlds: Worlds) -> None:
        world = await worlds(waiting_seconds=100)
        person = await world.person(devices=2)
        await world.store.append_sealed(world.send_to(person))
        await world.list_devices(person, person.devices[:1])
        await world.store.tidy(0)
        await world.store.tidy(100)
        assert (await world.store.stats()).envelopes == 0
        assert await world.store.account_usage(person.id)

    async def test_nothing_to_tidy(self, world: World) -> None:
        await world.store.tidy(0)
        await world.store.tidy(10**9)
