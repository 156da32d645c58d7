"""Promises M1 to M7 of `stores.base`, as version 3 has them, for every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from hushpost.errors import (
    IdConflict,
    StaleId,
    StoreFailed,
    StoreFull,
    UnknownMailbox,
)
from hushpost.ids import DeviceId, MailboxId
from hushpost.stores.base import (
    ID_MAX_AGE,
    ID_MAX_AHEAD,
    Envelope,
    Position,
    SealedDelivery,
    Usage,
    mailbox_of,
)

from .conftest import Person, World

Worlds = Callable[..., Awaitable[World]]


async def contents(world: World, person: Person) -> list[Envelope]:
    return await world.store.read(mailbox_of(person.device), after=0, max_count=100, max_bytes=1 << 30)


class TestAppend:
    async def test_m1_a_send_reaches_all_devices(self, world: World) -> None:
        person = await world.person(devices=3)
        send = world.send_to(person, b"body", header=b"header")
        assert await world.store.append_sealed(send) == (1, 2, 3)
        for number, device in enumerate(person.devices, start=1):
            found = await world.store.read(mailbox_of(device), after=0, max_count=9, max_bytes=99)
            assert found == [Envelope(number, b"header", b"body", send.envelope, None, 7)]

    async def test_m1_or_none_when_one_of_them_is_full(self, worlds: Worlds) -> None:
        world = await worlds(mailbox_count=1)
        person = await world.person()
        await world.put(person)
        await world.list_devices(person, [person.device, DeviceId.random()])
        assert await world.refusal(world.send_to(person)) is StoreFull
        assert await world.waiting(person.devices[1]) == []
        assert await world.store.position(mailbox_of(person.devices[1])) == Position(0, 0)

    async def test_m1_what_nobody_may_send(self, world: World) -> None:
        person = await world.person()
        send = world.send_to(person)
        for deliveries in ((), send.deliveries * 2):
            with pytest.raises(ValueError, match="send"):
                world.store.append_sealed(msgspec.structs.replace(send, deliveries=deliveries))

    async def test_m1_a_caller_that_goes_away_harms_nobody(self, world: World) -> None:
        person = await world.person()
        world.store.append_sealed(world.send_to(person)).cancel()
        sequence = await world.put(person)
        assert (await world.waiting(person.device))[-1] == sequence

    async def test_m3_numbers_grow_over_the_whole_store_in_the_order_of_the_calls(self, world: World) -> None:
        people = [await world.person() for _ in range(3)]
        sends = [world.send_to(people[k % 3], b"%d" % k) for k in range(600)]
        assert await asyncio.gather(*map(world.store.append_sealed, sends)) == [(k + 1,) for k in range(600)]
        bodies = [envelope.body for envelope in await contents(world, people[1])]
        assert bodies == [b"%d" % k for k in range(1, 300, 3)]

    async def test_m3_the_number_of_a_deleted_newest_is_not_reused(self, world: World) -> None:
        person = await world.person()
        for expected in (1, 2, 3):
            assert await world.put(person) == expected
            await world.store.ack(mailbox_of(person.device), [expected])

    async def test_m4_the_epoch(self, world: World) -> None:
        assert len(world.store.epoch) == 16
        assert world.store.epoch == world.store.epoch


class TestRepeats:
    async def test_m2_repeating_gives_the_first_answer(self, world: World) -> None:
        person = await world.person(devices=2)
        send = world.send_to(person)
        assert await asyncio.gather(*(world.store.append_sealed(send) for _ in range(5))) == [(1, 2)] * 5
        assert await world.store.append_sealed(send) == (1, 2)
        assert [await world.waiting(device) for device in person.devices] == [[1], [2]]

    async def test_m2_the_body_makes_the_message_not_the_header(self, world: World) -> None:
        """A sender seals anew for a retry, and asks for the devices in another order, perhaps."""
        person = await world.person(devices=2)
        send = world.send_to(person)
        await world.store.append_sealed(send)
        turned = tuple(SealedDelivery(each.device, 99, b"sealed anew") for each in reversed(send.deliveries))
        assert await world.store.append_sealed(msgspec.structs.replace(send, deliveries=turned)) == (2, 1)

    async def test_m2_also_after_the_acknowledgement_and_when_full(self, worlds: Worlds) -> None:
        world = await worlds(mailbox_count=1, total_bytes=10)
        person = await world.person()
        send = world.send_to(person)
        assert await world.store.append_sealed(send) == (1,)
        assert await world.store.append_sealed(send) == (1,)
        await world.store.ack(mailbox_of(person.device), [1])
        assert await world.store.append_sealed(send) == (1,)
        assert await world.waiting(person.device) == []

    async def test_m2_another_body_is_a_conflict(self, world: World) -> None:
        person = await world.person()
        send = world.send_to(person)
        await world.store.append_sealed(send)
        assert await world.refusal(msgspec.structs.replace(send, body=b"Body")) is IdConflict
        assert await world.waiting(person.device) == [1]

    async def test_m2_further_mailboxes_are_a_conflict(self, world: World) -> None:
        person = await world.person()
        send = world.send_to(person)
        await world.store.append_sealed(send)
        await world.list_devices(person, [person.device, DeviceId.random()])
        assert await world.refusal(world.send_to(person, envelope=send.envelope)) is IdConflict

    async def test_m2_an_id_belongs_to_its_mailbox(self, world: World) -> None:
        person, other = await world.person(), await world.person()
        again = world.fresh_id()
        assert await world.store.append_sealed(world.send_to(person, b"one", again)) == (1,)
        assert await world.store.append_sealed(world.send_to(other, b"two", again)) == (2,)

    async def test_m2_a_refused_send_does_not_use_its_id_up(self, worlds: Worlds) -> None:
        world = await worlds(mailbox_count=1)
        person = await world.person()
        await world.put(person)
        send = world.send_to(person)
        assert await world.refusal(send) is StoreFull
        await world.store.ack(mailbox_of(person.device), [1])
        assert await world.store.append_sealed(send) == (2,)

    @pytest.mark.parametrize(
        ("age", "stale"),
        [(ID_MAX_AGE, False), (ID_MAX_AGE + 1, True), (-ID_MAX_AHEAD, False), (-ID_MAX_AHEAD - 1, True)],
    )
    async def test_m2_ids_have_an_age(self, world: World, age: int, stale: bool) -> None:
        person = await world.person()
        send = world.send_to(person, envelope=world.fresh_id(age))
        if stale:
            assert await world.refusal(send) is StaleId
        else:
            await world.store.append_sealed(send)
            assert await world.store.append_sealed(send) == (1,)
        assert len(await world.waiting(person.device)) == (not stale)

    async def test_m2_a_record_outlives_its_id(self, world: World) -> None:
        person = await world.person()
        send = world.send_to(person, envelope=world.fresh_id(-ID_MAX_AHEAD))
        await world.store.append_sealed(send)
        for _ in range(30):
            world.now += 86_400
            await world.put(person)
        assert await world.store.append_sealed(send) == (1,)
        world.now += 86_400
        assert await world.refusal(send) is StaleId


class TestReading:
    async def test_m5_bounded_in_count(self, world: World) -> None:
        person = await world.person()
        for _ in range(5):
            await world.put(person)
        box = mailbox_of(person.device)
        for after, count, expected in (
            (0, 2, [1, 2]),
            (4, 2, [5]),
            (5, 2, []),
            (0, 0, [1]),
            (1 << 70, 9, []),
        ):
            found = await world.store.read(box, after=after, max_count=count, max_bytes=1000)
            assert [envelope.sequence for envelope in found] == expected
        assert await world.waiting(person.device) == [1, 2, 3, 4, 5]

    @pytest.mark.parametrize(
        ("limit", "count"), [(0, 1), (21, 1), (22, 2), (23, 3), (33, 3), (34, 4), (99, 4)]
    )
    async def test_m5_bounded_in_bytes(self, world: World, limit: int, count: int) -> None:
        person = await world.person()
        for size in (10, 10, 0, 10):  # and a byte of header each
            await world.put(person, b"x" * size)
        found = await world.store.read(mailbox_of(person.device), after=0, max_count=10, max_bytes=limit)
        assert len(found) == count

    async def test_m5_unknown_mailboxes_say_so(self, world: World) -> None:
        nobody = MailboxId.random()
        with pytest.raises(UnknownMailbox):
            await world.store.read(nobody, after=0, max_count=1, max_bytes=1)
        with pytest.raises(UnknownMailbox):
            await world.store.usage(nobody)
        with pytest.raises(UnknownMailbox):
            await world.store.position(nobody)

    async def test_m6_exactly_these_and_up_to(self, world: World) -> None:
        person, other = await world.person(), await world.person()
        for who in (person, other) * 4:
            await world.put(who)
        await world.store.ack(mailbox_of(person.device), [3, 7, 2])
        assert await world.waiting(person.device) == [1, 5]
        await world.store.ack_up_to(mailbox_of(other.device), 5)
        assert await world.waiting(other.device) == [6, 8]
        assert await world.store.usage(mailbox_of(other.device)) == Usage(2, 10)

    async def test_m6_again_and_unknown_is_harmless(self, world: World) -> None:
        person, other = await world.person(), await world.person()
        await world.put(person)
        await world.put(other)
        box = mailbox_of(person.device)
        for _ in range(2):
            await world.store.ack(box, [1, 1, 2, 99, 0, -1, 1 << 70])
            await world.store.ack_up_to(box, 0)
            await world.store.ack_up_to(box, 1 << 70)
            await world.store.ack(MailboxId.random(), [1])
            await world.store.ack_up_to(MailboxId.random(), 9)
        assert await world.waiting(person.device) == []
        assert await world.waiting(other.device) == [2]
        assert await world.store.position(box) == Position(1, 1)

    async def test_m6_more_than_one_transaction_of_them(self, world: World) -> None:
        person = await world.person()
        sends = [world.send_to(person, b"") for _ in range(4_500)]
        await asyncio.gather(*map(world.store.append_sealed, sends))
        box = mailbox_of(person.device)
        await world.store.ack(box, range(1, 2_101))
        assert await world.store.usage(box) == Usage(2_400, 2_400)
        await world.store.ack_up_to(box, 4_499)
        assert await world.waiting(person.device) == [4_500]
        assert await world.store.position(box) == Position(4_499, 4_500)


class TestFull:
    async def test_m7_a_mailbox_is_full_by_count(self, worlds: Worlds) -> None:
        world = await worlds(mailbox_count=2)
        person, other = await world.person(), await world.person()
        await world.put(person)
        await world.put(person)
        for stranger in (False, True):
            assert await world.refusal(world.send_to(person, stranger=stranger)) is StoreFull
        await world.put(other)
        await world.store.ack(mailbox_of(person.device), [1])
        assert await world.put(person) == 4

    async def test_m7_a_mailbox_is_full_by_bytes(self, worlds: Worlds) -> None:
        world = await worlds(mailbox_bytes=20)
        person = await world.person()
        await world.put(person, b"x" * 9)
        assert await world.refusal(world.send_to(person, b"x" * 10)) is StoreFull
        await world.put(person, b"x" * 9)
        assert await world.store.usage(mailbox_of(person.device)) == Usage(2, 20)

    async def test_m7_the_store_is_full(self, worlds: Worlds) -> None:
        world = await worlds(total_bytes=20)
        person, other = await world.person(), await world.person()
        await world.put(person, b"x" * 9)
        assert await world.refusal(world.send_to(other, b"x" * 10)) is StoreFull
        await world.put(other, b"x" * 9)
        assert await world.refusal(world.send_to(other, b"")) is StoreFull
        assert await world.waiting(person.device) == [1]
        await world.store.ack(mailbox_of(person.device), [1])
        assert await world.put(other, b"x" * 9) == 3

    async def test_m7_the_numbers_are_used_up(self, worlds: Worlds) -> None:
        world = await worlds(max_sequence=3)
        person, other = await world.person(devices=2), await world.person()
        await world.store.append_sealed(world.send_to(person))
        assert await world.refusal(world.send_to(person)) is StoreFull
        assert await world.put(other) == 3
        await world.store.ack(mailbox_of(other.device), [3])
        assert await world.refusal(world.send_to(other)) is StoreFull

    async def test_after_close_everything_is_refused(self, world: World) -> None:
        person = await world.person()
        await world.store.close()
        assert await world.refusal(world.send_to(person)) is StoreFailed
        for late in (
            world.store.usage(mailbox_of(person.device)),
            world.store.ack(mailbox_of(person.device), [1]),
            world.store.take_session_keys(person.id, person.devices),
            world.store.tidy(1),
        ):
            with pytest.raises(StoreFailed):
                await late
