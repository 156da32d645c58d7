"""Promises P1 to P6 of `stores.base`, for every implementation."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from hushpost.errors import (
    IdConflict,
    RequestsFull,
    StaleDevices,
    StaleId,
    StaleSeal,
    StoreFull,
    UnknownAccount,
)
from hushpost.ids import AccountId, DeviceId, TokenHash
from hushpost.stores import rules
from hushpost.stores.base import (
    ID_MAX_AGE,
    REQUESTS_BYTES,
    REQUESTS_COUNT,
    Envelope,
    KeyUpdate,
    Position,
    SealedDelivery,
    SealedSend,
    Usage,
    mailbox_of,
)

from .conftest import Person, World, seal_key

Worlds = Callable[..., Awaitable[World]]


async def contents(world: World, person: Person) -> list[Envelope]:
    return await world.store.read(mailbox_of(person.device), after=0, max_count=100, max_bytes=1 << 30)


class TestChecks:
    async def test_p1_in_this_order(self, worlds: Worlds) -> None:
        """One send that is wrong in every way; each time the first of its faults is mended."""
        world = await worlds(mailbox_count=REQUESTS_COUNT)
        person = await world.person(devices=2)
        for _ in range(REQUESTS_COUNT):
            await world.store.append_sealed(world.send_to(person, stranger=True))
        used = world.fresh_id()
        good = world.send_to(person, stranger=True)
        first = SealedDelivery(good.deliveries[0].device, 99, b"h")
        wrong = SealedSend(AccountId.random(), world.fresh_id(ID_MAX_AGE + 1), (first,), b"other")
        assert await world.refusal(wrong) is UnknownAccount
        wrong = msgspec.structs.replace(wrong, account=person.id)
        assert await world.refusal(wrong) is StaleId
        wrong = msgspec.structs.replace(wrong, envelope=used)
        assert await world.refusal(wrong) is StaleDevices
        wrong = msgspec.structs.replace(wrong, deliveries=(first, good.deliveries[1]))
        assert await world.refusal(wrong) is StaleSeal
        wrong = msgspec.structs.replace(wrong, deliveries=good.deliveries)
        assert await world.refusal(wrong) is RequestsFull
        wrong = msgspec.structs.replace(wrong, token_hash=person.token)
        assert await world.refusal(wrong) is StoreFull
        for device in person.devices:
            await world.store.ack_up_to(mailbox_of(device), 99)
        assert len(await world.store.append_sealed(wrong)) == 2

    async def test_p1_repeats_come_first_whatever_has_changed_since(self, world: World) -> None:
        person = await world.person(devices=2)
        send = world.send_to(person)
        await world.store.append_sealed(send)
        conflicting = msgspec.structs.replace(send, body=b"other")
        for change in (
            world.store.publish(person.device, KeyUpdate(seal_key=seal_key(8))),
            world.store.publish(person.device, KeyUpdate(token_hash=TokenHash.random())),
            world.list_devices(person, person.devices[:1]),
        ):
            await change
            assert await world.store.append_sealed(send) == (1, 2)
            assert await world.refusal(conflicting) is IdConflict

    async def test_p1_not_the_repeat_of_another_accounts_send(self, world: World) -> None:
        """Whoever names somebody else's device learns nothing of what was sent to it."""
        person, other = await world.person(), await world.person()
        send = world.send_to(person)
        await world.store.append_sealed(send)
        assert await world.refusal(msgspec.structs.replace(send, account=other.id)) is StaleDevices

    async def test_p2_every_device_each_once(self, world: World) -> None:
        person, other = await world.person(devices=2), await world.person()
        send = world.send_to(person)
        extra = world.send_to(other).deliveries
        unknown = (SealedDelivery(DeviceId.random(), 7, b"h"),)
        for deliveries in (
            send.deliveries[:1],
            send.deliveries[1:],
            send.deliveries + extra,
            send.deliveries[:1] + extra,
            send.deliveries + unknown,
            unknown,
        ):
            with pytest.raises(StaleDevices) as stale:
                await world.store.append_sealed(msgspec.structs.replace(send, deliveries=deliveries))
            assert stale.value.manifest == b"manifest 2"
        await world.store.append_sealed(send)

    async def test_p2_those_of_the_newest_manifest(self, world: World) -> None:
        person = await world.person(devices=2)
        both = world.send_to(person)
        await world.list_devices(person, person.devices[1:])
        removed = msgspec.structs.replace(both, deliveries=both.deliveries[:1])
        for old in (both, removed):
            assert await world.refusal(old) is StaleDevices
        assert await world.store.append_sealed(world.send_to(person)) == (1,)

    async def test_p3_all_stale_seals_are_told(self, world: World) -> None:
        person = await world.person()
        second, third = DeviceId.random(), DeviceId.random()
        await world.store.put_manifest(person.id, 2, b"second", [person.device, second, third])
        await world.store.publish(third, KeyUpdate(seal_key=seal_key(3)))
        deliveries = tuple(
            SealedDelivery(device, seal, b"h")
            for device, seal in ((person.device, 6), (second, 1), (third, 3))
        )
        send = msgspec.structs.replace(world.send_to(person), deliveries=deliveries)
        with pytest.raises(StaleSeal) as stale:
            await world.store.append_sealed(send)
        assert stale.value.keys == {person.device: b"seal 7", second: None}
        assert [await world.waiting(device) for device in (person.device, second, third)] == [[], [], []]

    @pytest.mark.parametrize("number", [0, 6, 8, 2**63, 2**64])
    async def test_p3_another_number_is_stale(self, world: World, number: int) -> None:
        person = await world.person()
        person.seals[person.device] = number
        assert await world.refusal(world.send_to(person)) is StaleSeal


class TestRequests:
    async def test_p4_without_the_token_it_is_a_request(self, world: World) -> None:
        person = await world.person()
        await world.put(person)
        await world.put(person, stranger=True)
        wrong = msgspec.structs.replace(world.send_to(person), token_hash=TokenHash.random())
        await world.store.append_sealed(wrong)
        assert [each.is_request for each in await contents(world, person)] == [False, True, True]

    async def test_p4_at_most_so_many(self, world: World) -> None:
        person = await world.person()
        numbers = [await world.put(person, stranger=True) for _ in range(REQUESTS_COUNT)]
        assert await world.refusal(world.send_to(person, stranger=True)) is RequestsFull
        await world.put(person)
        await world.store.ack(mailbox_of(person.device), numbers[:1])
        await world.put(person, stranger=True)
        assert await world.refusal(world.send_to(person, stranger=True)) is RequestsFull

    async def test_p4_many_at_once_are_not_more(self, world: World) -> None:
        person = await world.person()
        sends = [world.send_to(person, stranger=True) for _ in range(3 * REQUESTS_COUNT)]
        answers = await asyncio.gather(*map(world.store.append_sealed, sends), return_exceptions=True)
        assert sum(isinstance(answer, tuple) for answer in answers) == REQUESTS_COUNT

    async def test_p4_at_most_so_many_bytes(self, world: World) -> None:
        person = await world.person()
        await world.put(person, bytes(REQUESTS_BYTES - 2 - 10), stranger=True)
        assert await world.refusal(world.send_to(person, bytes(11), stranger=True)) is RequestsFull
        await world.put(person, bytes(10), stranger=True)
        assert await world.refusal(world.send_to(person, b"", stranger=True)) is RequestsFull
        await world.put(person, bytes(11))
        await world.store.ack_up_to(mailbox_of(person.device), 1)
        await world.put(person, bytes(11), stranger=True)

    async def test_p4_they_count_against_the_mailbox_too(self, worlds: Worlds) -> None:
        world = await worlds(mailbox_count=3)
        person = await world.person()
        for _ in range(2):
            await world.put(person, stranger=True)
        await world.put(person)
        assert await world.refusal(world.send_to(person)) is StoreFull

    async def test_p4_the_token_is_compared_in_constant_time(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        person, compared = await world.person(), []

        def compare(one: bytes, other: bytes) -> bool:
            compared.append((bytes(one), bytes(other)))
            return hmac.compare_digest(one, other)

        monkeypatch.setattr(rules, "compare_digest", compare)
        await world.put(person)
        assert compared == [(person.token, person.token)]


class TestPosition:
    async def test_p5_what_was_stored_and_what_was_acknowledged(self, world: World) -> None:
        person, other = await world.person(), await world.person()
        box = mailbox_of(person.device)
        assert await world.store.position(box) == Position(0, 0)
        for who in (person, other, person, other, person):
            await world.put(who)
        assert await world.store.position(box) == Position(0, 5)
        for sequences, acknowledged in (([3], 3), ([1], 3), ([2, 4, 99], 3), ([5], 5)):
            await world.store.ack(box, sequences)
            assert await world.store.position(box) == Position(acknowledged, 5)
        await world.store.ack_up_to(mailbox_of(other.device), 3)
        assert await world.store.position(mailbox_of(other.device)) == Position(2, 4)

    async def test_p5_many_of_one_mailbox(self, world: World) -> None:
        """More than are noted at once."""
        person = await world.person()
        for count in (63, 1, 1, 200):
            before = await world.store.position(mailbox_of(person.device))
            sends = [world.send_to(person) for _ in range(count)]
            await asyncio.gather(*map(world.store.append_sealed, sends))
            after = await world.store.position(mailbox_of(person.device))
            assert after.highest == before.highest + count
        assert await world.store.usage(mailbox_of(person.device)) == Usage(265, 5 * 265)


class TestWakeups:
    async def test_p6_after_it_is_stored_for_its_subscribers_only(self, world: World) -> None:
        person, other = await world.person(devices=2), await world.person()
        heard: list[tuple[str, int]] = []

        def listen(name: str, device: DeviceId) -> None:
            world.store.subscribe(mailbox_of(device), lambda number: heard.append((name, number)))

        for name, device in (("a", person.device), ("b", person.devices[1]), ("c", other.device)):
            listen(name, device)
        listen("A", person.device)
        assert await world.store.append_sealed(world.send_to(person)) == (1, 2)
        await asyncio.sleep(0)
        assert heard == [("a", 1), ("A", 1), ("b", 2)]

    async def test_p6_whoever_reads_after_each_wakeup_misses_nothing(self, world: World) -> None:
        person = await world.person()
        box, wake, found = mailbox_of(person.device), asyncio.Event(), list[int]()
        world.store.subscribe(box, lambda number: wake.set())

        async def follow() -> None:
            while len(found) < 300:
                for envelope in await world.store.read(
                    box, after=found[-1] if found else 0, max_count=7, max_bytes=99
                ):
                    found.append(envelope.sequence)
                    wake.set()
                await wake.wait()
                wake.clear()

        async def send() -> None:
            for _ in range(300):
                await world.put(person)

        await asyncio.wait_for(asyncio.gather(follow(), send()), 20)
        assert found == list(range(1, 301))

    async def test_p6_not_for_what_was_refused_or_repeated(self, world: World) -> None:
        person, heard = await world.person(), list[int]()
        send = world.send_to(person)
        await world.store.append_sealed(send)
        await asyncio.sleep(0)
        world.store.subscribe(mailbox_of(person.device), heard.append)
        await world.store.append_sealed(send)
        assert await world.refusal(msgspec.structs.replace(send, body=b"other")) is IdConflict
        await asyncio.sleep(0)
        assert heard == []

    async def test_p6_not_after_its_end(self, world: World) -> None:
        person, heard = await world.person(), list[int]()
        end = world.store.subscribe(mailbox_of(person.device), heard.append)
        world.store.subscribe(mailbox_of(person.device), heard.append)
        end()
        end()
        await world.put(person)
        await asyncio.sleep(0)
        assert heard == [1]
