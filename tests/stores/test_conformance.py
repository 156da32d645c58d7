"""The numbered guarantees of `stores.base`, one by one, for every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hushpost.errors import (
    BlobMissing,
    IdConflict,
    StaleId,
    StoreFailed,
    StoreFull,
    UnknownMailbox,
)
from hushpost.ids import BlobId, MailboxId
from hushpost.stores.base import (
    ID_MAX_AGE,
    ID_MAX_AHEAD,
    Attachment,
    Delivery,
    Extent,
    Send,
    Usage,
)

from .conftest import World

Worlds = Callable[..., Awaitable[World]]


class TestAppend:
    async def test_m1_a_send_reaches_all_its_mailboxes(self, world: World) -> None:
        boxes = [await world.mailbox() for _ in range(3)]
        send = Send(
            tuple(Delivery(box, bytes([k])) for k, box in enumerate(boxes)), b"body", world.fresh_id()
        )
        assert await world.store.append(send) == (1, 2, 3)
        for k, box in enumerate(boxes):
            (envelope,) = await world.store.read(box, after=0, max_count=9, max_bytes=99)
            assert (envelope.sequence, envelope.header, envelope.body) == (k + 1, bytes([k]), b"body")
            assert envelope.envelope == send.envelope

    async def test_m1_or_none(self, world: World) -> None:
        box = await world.mailbox()
        with pytest.raises(UnknownMailbox):
            await world.store.append(Send((Delivery(box, b""), Delivery(MailboxId.random(), b"")), b"body"))
        assert await world.waiting(box) == []
        assert await world.put(box) == 1

    async def test_m1_or_none_when_one_of_them_is_full(self, worlds: Worlds) -> None:
        world = await worlds(mailbox_count=1)
        full, empty = await world.mailbox(), await world.mailbox()
        await world.put(full)
        with pytest.raises(StoreFull):
            await world.store.append(Send((Delivery(empty, b""), Delivery(full, b"")), b"body"))
        assert await world.store.usage(empty) == Usage(0, 0)

    async def test_m1_what_nobody_may_send(self, world: World) -> None:
        box, other = await world.mailbox(), await world.mailbox()
        twice = (Delivery(box, b""), Delivery(box, b""))
        for deliveries, attachment in (
            ((), None),
            (twice, None),
            ((twice[0], Delivery(other, b"")), Attachment(BlobId.random(), 1)),
        ):
            with pytest.raises(ValueError, match=r"send|attachment"):
                world.store.append(Send(deliveries, b"", attachment=attachment))

    async def test_m1_a_caller_that_goes_away_harms_nobody(self, world: World) -> None:
        box = await world.mailbox()
        world.store.append(Send((Delivery(box, b""),), b"unwanted")).cancel()
        sequence = await world.put(box)
        assert (await world.waiting(box))[-1] == sequence

    async def test_m2_repeating_gives_the_first_answer(self, world: World) -> None:
        boxes = [await world.mailbox() for _ in range(2)]
        send = Send(tuple(Delivery(box, b"") for box in boxes), b"body", world.fresh_id())
        first = await world.store.append(send)
        assert await world.store.append(send) == first
        assert [await world.waiting(box) for box in boxes] == [[1], [2]]
        assert await world.put(boxes[0]) == 3

    async def test_m2_repeating_at_once(self, world: World) -> None:
        box = await world.mailbox()
        send = Send((Delivery(box, b""),), b"body", world.fresh_id())
        assert await asyncio.gather(*(world.store.append(send) for _ in range(5))) == [(1,)] * 5

    async def test_m2_also_after_the_acknowledgement(self, world: World) -> None:
        box = await world.mailbox()
        again = world.fresh_id()
        sequence = await world.put(box, envelope=again)
        await world.store.ack(box, [sequence])
        assert await world.put(box, envelope=again) == sequence
        assert await world.waiting(box) == []

    async def test_m2_also_when_full(self, worlds: Worlds) -> None:
        world = await worlds(mailbox_count=1)
        box, again = await world.mailbox(), world.fresh_id()
        assert await world.put(box, envelope=again) == await world.put(box, envelope=again)

    async def test_m2_another_body_is_a_conflict(self, world: World) -> None:
        box, again = await world.mailbox(), world.fresh_id()
        await world.put(box, b"body", envelope=again)
        with pytest.raises(IdConflict):
            await world.put(box, b"Body", envelope=again)
        with pytest.raises(IdConflict):
            await world.put(box, b"body", envelope=again, attachment=await world.blob())
        assert await world.waiting(box) == [1]

    async def test_m2_other_mailboxes_beside_the_first_are_a_conflict(self, world: World) -> None:
        box, other, again = await world.mailbox(), await world.mailbox(), world.fresh_id()
        await world.put(box, envelope=again)
        with pytest.raises(IdConflict):
            await world.store.append(Send((Delivery(box, b"h"), Delivery(other, b"h")), b"body", again))
        assert await world.waiting(other) == []

    async def test_m2_an_id_belongs_to_its_mailbox(self, world: World) -> None:
        box, other, again = await world.mailbox(), await world.mailbox(), world.fresh_id()
        assert await world.put(box, b"one", envelope=again) == 1
        assert await world.put(other, b"two", envelope=again) == 2

    async def test_m2_a_refused_send_does_not_use_its_id_up(self, worlds: Worlds) -> None:
        world = await worlds(mailbox_count=1)
        box, again = await world.mailbox(), world.fresh_id()
        sequence = await world.put(box)
        with pytest.raises(StoreFull):
            await world.put(box, envelope=again)
        await world.store.ack(box, [sequence])
        assert await world.put(box, envelope=again) == 2

    @pytest.mark.parametrize(
        ("age", "stale"),
        [(ID_MAX_AGE, False), (ID_MAX_AGE + 1, True), (-ID_MAX_AHEAD, False), (-ID_MAX_AHEAD - 1, True)],
    )
    async def test_m2_ids_have_an_age(self, world: World, age: int, stale: bool) -> None:
        box = await world.mailbox()
        if stale:
            with pytest.raises(StaleId):
                await world.put(box, envelope=world.fresh_id(age))
        else:
            await world.put(box, envelope=world.fresh_id(age))
        assert len(await world.waiting(box)) == (not stale)

    async def test_m2_a_record_outlives_its_id(self, world: World) -> None:
        box, again = await world.mailbox(), world.fresh_id(-ID_MAX_AHEAD)
        await world.put(box, envelope=again)
        for _ in range(30):
            world.now += 86_400
            await world.put(await world.mailbox(), envelope=world.fresh_id())
        assert await world.put(box, envelope=again) == 1
        world.now += 86_400
        with pytest.raises(StaleId):
            await world.put(box, envelope=again)


class TestOrder:
    async def test_m3_numbers_grow_over_the_whole_store_in_the_order_of_the_calls(self, world: World) -> None:
        boxes = [await world.mailbox() for _ in range(3)]
        sends = [Send((Delivery(boxes[k % 3], b""),), b"%d" % k) for k in range(600)]
        answers = await asyncio.gather(*map(world.store.append, sends))
        assert answers == [(k + 1,) for k in range(600)]
        found = await world.store.read(boxes[1], after=0, max_count=1000, max_bytes=1 << 20)
        assert [(e.sequence, e.body) for e in found] == [(k + 1, b"%d" % k) for k in range(1, 600, 3)]

    async def test_m3_the_number_of_a_deleted_newest_is_not_reused(self, world: World) -> None:
        box = await world.mailbox()
        for expected in (1, 2, 3):
            assert await world.put(box) == expected
            await world.store.ack(box, [expected])

    async def test_m4_the_epoch(self, world: World) -> None:
        assert len(world.store.epoch) == 16
        assert world.store.epoch == world.store.epoch


class TestReading:
    async def test_m5_reading_deletes_nothing(self, world: World) -> None:
        box = await world.mailbox()
        await world.put(box)
        assert await world.waiting(box) == await world.waiting(box) == [1]

    async def test_m5_bounded_in_count(self, world: World) -> None:
        box = await world.mailbox()
        for _ in range(5):
            await world.put(box)
        for after, count, expected in ((0, 2, [1, 2]), (2, 2, [3, 4]), (4, 2, [5]), (5, 2, []), (0, 0, [1])):
            found = await world.store.read(box, after=after, max_count=count, max_bytes=1000)
            assert [envelope.sequence for envelope in found] == expected

    @pytest.mark.parametrize(
        ("limit", "count"), [(0, 1), (11, 1), (21, 1), (22, 2), (23, 3), (33, 3), (34, 4), (99, 4)]
    )
    async def test_m5_bounded_in_bytes_of_headers_and_bodies(
        self, world: World, limit: int, count: int
    ) -> None:
        box = await world.mailbox()
        for size in (10, 10, 0, 10):  # and a byte of header each
            await world.put(box, b"x" * size)
        assert len(await world.store.read(box, after=0, max_count=10, max_bytes=limit)) == count

    async def test_m5_attachments_do_not_count(self, world: World) -> None:
        box = await world.mailbox()
        attachment = await world.blob(b"x" * 1000)
        await world.put(box, b"", attachment=attachment)
        await world.put(box, b"")
        found = await world.store.read(box, after=0, max_count=10, max_bytes=2)
        assert [envelope.attachment for envelope in found] == [attachment, None]

    async def test_m5_unknown_mailboxes_say_so(self, world: World) -> None:
        nobody = MailboxId.random()
        with pytest.raises(UnknownMailbox):
            await world.store.read(nobody, after=0, max_count=1, max_bytes=1)
        with pytest.raises(UnknownMailbox):
            await world.store.extent(nobody, max_size=1, overhead=1)
        with pytest.raises(UnknownMailbox):
            await world.store.usage(nobody)
        with pytest.raises(UnknownMailbox):
            await world.store.admit(nobody, 1)
        with pytest.raises(UnknownMailbox):
            await world.put(nobody)

    async def test_m5_extent_is_the_longest_run_that_fits(self, world: World) -> None:
        box = await world.mailbox()
        assert await world.store.extent(box, max_size=100, overhead=5) == Extent(0, 0, 0)
        await world.put(box, b"x" * 9)
        await world.put(box, b"x" * 9, attachment=Attachment(BlobId.random(), 10))
        await world.put(box, b"x" * 9)
        for limit, expected in (
            (0, Extent(1, 10, 1)),
            (39, Extent(1, 10, 1)),
            (40, Extent(2, 30, 2)),
            (54, Extent(2, 30, 2)),
            (55, Extent(3, 40, 3)),
        ):
            assert await world.store.extent(box, max_size=limit, overhead=5) == expected
        await world.store.ack(box, [1])
        assert await world.store.extent(box, max_size=39, overhead=5) == Extent(1, 20, 2)
        assert await world.store.extent(box, max_size=40, overhead=5) == Extent(2, 30, 3)


class TestAcknowledging:
    async def test_m6_exactly_these(self, world: World) -> None:
        box = await world.mailbox()
        for _ in range(5):
            await world.put(box)
        await world.store.ack(box, [2, 4])
        assert await world.waiting(box) == [1, 3, 5]
        assert await world.store.usage(box) == Usage(3, 15)

    async def test_m6_up_to(self, world: World) -> None:
        box, other = await world.mailbox(), await world.mailbox()
        for k in range(6):
            await world.put((box, other)[k % 2])
        await world.store.ack_up_to(box, 4)
        assert await world.waiting(box) == [5]
        assert await world.waiting(other) == [2, 4, 6]

    async def test_m6_more_than_one_transaction_of_them(self, world: World) -> None:
        box = await world.mailbox()
        await asyncio.gather(*(world.put(box, b"") for _ in range(4_500)))
        await world.store.ack(box, range(1, 2_101))
        assert await world.store.usage(box) == Usage(2_400, 2_400)
        await world.store.ack_up_to(box, 4_499)
        assert await world.waiting(box) == [4_500]

    async def test_m6_again_and_unknown_is_harmless(self, world: World) -> None:
        box, other = await world.mailbox(), await world.mailbox()
        await world.put(box)
        await world.put(other)
        for _ in range(2):
            await world.store.ack(box, [1, 1, 2, 99, 0, -1, 1 << 70])
            await world.store.ack_up_to(box, 0)
            await world.store.ack_up_to(box, 1 << 70)
            await world.store.ack(MailboxId.random(), [1])
            await world.store.ack_up_to(MailboxId.random(), 9)
        assert await world.waiting(box) == []
        assert await world.waiting(other) == [2]
        assert await world.store.read(other, after=1 << 70, max_count=1, max_bytes=1) == []

    async def test_m6_the_attachment_goes_too(self, world: World) -> None:
        box = await world.mailbox()
        attachments = [await world.blob() for _ in range(3)]
        for attachment in attachments:
            await world.put(box, attachment=attachment)
        await world.store.ack(box, [1])
        await world.store.ack_up_to(box, 2)
        for gone in attachments[:2]:
            with pytest.raises(BlobMissing):
                await world.blobs.read_into(gone.blob, 0, memoryview(bytearray(9)))
        assert await world.blobs.read_into(attachments[2].blob, 0, memoryview(bytearray(9))) == 7

    async def test_m6_an_append_before_an_acknowledgement_comes_before_it(self, world: World) -> None:
        box = await world.mailbox()
        first = world.store.append(Send((Delivery(box, b""),), b"1"))
        gone = asyncio.ensure_future(world.store.ack_up_to(box, 10))
        await gone
        assert await first == (1,)
        assert await world.store.usage(box) == Usage(0, 0)


class TestFull:
    async def test_m7_a_mailbox_is_full_by_count(self, worlds: Worlds) -> None:
        world = await worlds(mailbox_count=2)
        box, other = await world.mailbox(), await world.mailbox()
        await world.put(box)
        await world.store.admit(box, 1)
        await world.put(box)
        with pytest.raises(StoreFull) as full:
            await world.put(box)
        assert full.value.retry_after > 0
        with pytest.raises(StoreFull):
            await world.store.admit(box, 0)
        await world.put(other)
        assert await world.waiting(box) == [1, 2]
        await world.store.ack(box, [1])
        assert await world.put(box) == 4

    async def test_m7_a_mailbox_is_full_by_bytes(self, worlds: Worlds) -> None:
        world = await worlds(mailbox_bytes=20)
        box = await world.mailbox()
        await world.put(box, b"x" * 9)
        with pytest.raises(StoreFull):
            await world.put(box, b"x" * 10)
        with pytest.raises(StoreFull):
            await world.put(box, b"", attachment=Attachment(BlobId.random(), 10))
        with pytest.raises(StoreFull):
            await world.store.admit(box, 11)
        await world.store.admit(box, 10)
        await world.put(box, b"", attachment=Attachment(BlobId.random(), 9))
        assert await world.store.usage(box) == Usage(2, 20)

    async def test_m7_the_store_is_full(self, worlds: Worlds) -> None:
        world = await worlds(total_bytes=20)
        box, other = await world.mailbox(), await world.mailbox()
        await world.put(box, b"x" * 9)
        with pytest.raises(StoreFull):
            await world.put(other, b"x" * 10)
        with pytest.raises(StoreFull):
            await world.store.admit(other, 11)
        await world.put(other, b"x" * 9)
        with pytest.raises(StoreFull):
            await world.mailbox()
        assert await world.waiting(box) == [1]
        await world.store.ack(box, [1])
        assert await world.put(await world.mailbox(), b"x" * 9) == 3

    async def test_m7_the_numbers_are_used_up(self, worlds: Worlds) -> None:
        world = await worlds(max_sequence=3)
        box, other = await world.mailbox(), await world.mailbox()
        assert await world.put(box) == 1
        assert await world.put(box) == 2
        with pytest.raises(StoreFull):
            await world.store.append(Send((Delivery(box, b""), Delivery(other, b"")), b""))
        assert await world.put(box) == 3
        with pytest.raises(StoreFull):
            await world.put(box)
        await world.store.ack(box, [3])
        with pytest.raises(StoreFull):
            await world.put(box)
        assert await world.waiting(box) == [1, 2]

    async def test_after_close_everything_is_refused(self, world: World) -> None:
        box = await world.mailbox()
        await world.store.close()
        with pytest.raises(StoreFailed):
            await world.put(box)
        with pytest.raises(StoreFailed):
            await world.mailbox()
        with pytest.raises(StoreFailed):
            await world.store.usage(box)
