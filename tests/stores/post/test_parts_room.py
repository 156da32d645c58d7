"""F6 and F7 of `base.Parts`: sums, quotas and room, for every implementation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from hushpost.errors import (
    BlobConflict,
    QuotaFull,
    StoreFull,
    UnknownAccount,
)
from hushpost.ids import TokenHash
from hushpost.stores import blobrules
from hushpost.stores.base import (
    LEAST_CHARGE,
    NewBlob,
    Parts,
    StoreLimits,
)
from hushpost.wire.limits import PART_SIZE

from .conftest import Person, World
from .putting import DAY, FULL, READ, RELEASES, SMALL, content_of, fill, new_blob, put, sums

Worlds = Callable[..., Awaitable[World]]


class TestRoom:
    async def test_f6_sums_by_day(self, world: World, parts: Parts, alice: Person) -> None:
        size = 2 * LEAST_CHARGE
        for _ in range(2):
            await parts.create(alice.id, new_blob(size))
        await fill(parts, alice.id)
        await world.store.tidy(DAY)
        await parts.create(alice.id, new_blob(size))
        assert await sums(world, alice) == f"{7 * LEAST_CHARGE} bytes, in a sum for each of 2 days of expiry"

    async def test_f6_the_commit_counts_what_is_there(
        self, world: World, parts: Parts, alice: Person
    ) -> None:
        blob = new_blob(10 * PART_SIZE)
        await parts.create(alice.id, blob)
        assert (await sums(world, alice)).startswith(f"{10 * PART_SIZE} bytes")
        await put(parts, blob, 0, FULL)
        await world.store.tidy(DAY - 1)
        await parts.commit(alice.id, blob.id, PART_SIZE)
        assert await sums(world, alice) == f"{PART_SIZE} bytes, in a sum for each of 1 days of expiry"

    async def test_f6_given_up_before_the_commit(self, world: World, parts: Parts, alice: Person) -> None:
        blob, committed = new_blob(), await fill(parts, alice.id)
        await parts.create(alice.id, blob)
        assert await parts.release(alice.id, blob.id, RELEASES) == 0
        assert (await sums(world, alice)).startswith(f"{LEAST_CHARGE} bytes")
        assert await parts.release(alice.id, committed.id, RELEASES) == 0
        assert (await sums(world, alice)).startswith(f"{LEAST_CHARGE} bytes"), "nobody knows whose that was"

    async def test_f6_nobody_is_paid_for_what_another_put(self, world: World, parts: Parts) -> None:
        alice, bob = await world.person(), await world.person()
        blob = new_blob(PART_SIZE)
        await parts.create(alice.id, blob)
        assert await parts.release(bob.id, blob.id, RELEASES) == 0
        assert (await sums(world, bob)).startswith("0 bytes")
        assert (await sums(world, alice)).startswith(f"{PART_SIZE} bytes")

    async def test_f6_an_account_that_left(self, world: World, parts: Parts, alice: Person) -> None:
        blob = await fill(parts, alice.id)
        await world.store.leave(alice.id)
        with pytest.raises(UnknownAccount):
            await parts.create(alice.id, new_blob())
        assert await content_of(parts, blob) == SMALL

    async def test_f7_the_quota_of_an_account(self, worlds: Worlds) -> None:
        world = await worlds(blob_quota=3 * PART_SIZE)
        parts, alice, bob = world.store.parts, await world.person(), await world.person()
        blob = new_blob(2 * PART_SIZE)
        await parts.create(alice.id, blob)
        await world.store.tidy(100)
        with pytest.raises(QuotaFull) as full:
            await parts.create(alice.id, new_blob(PART_SIZE + 1))
        assert full.value.retry_after == DAY - 100
        await parts.create(alice.id, blob)
        await parts.create(alice.id, NewBlob(blob.id, 3 * PART_SIZE, READ, RELEASES))
        with pytest.raises(QuotaFull):
            await parts.create(alice.id, NewBlob(blob.id, 3 * PART_SIZE + 1, READ, RELEASES))
        with pytest.raises(QuotaFull):
            await parts.create(alice.id, new_blob(1))
        await parts.create(bob.id, new_blob(PART_SIZE))
        assert await put(parts, blob, 2, FULL)

    async def test_f7_many_small_ones(self, worlds: Worlds) -> None:
        world = await worlds(blob_quota=3 * LEAST_CHARGE)
        parts, alice = world.store.parts, await world.person()
        for _ in range(3):
            await parts.create(alice.id, new_blob(1))
        with pytest.raises(QuotaFull):
            await parts.create(alice.id, new_blob(1))

    async def test_f7_all_that_a_server_may_hold(self, worlds: Worlds) -> None:
        world = await worlds(blob_bytes=3 * PART_SIZE)
        parts, alice = world.store.parts, await world.person()
        blob = new_blob(2 * PART_SIZE)
        await parts.create(alice.id, blob)
        with pytest.raises(StoreFull) as full:
            await parts.create(alice.id, new_blob(PART_SIZE + 1))
        assert not isinstance(full.value, QuotaFull)
        assert (await sums(world, alice)).startswith(f"{2 * PART_SIZE} bytes")
        await parts.create(alice.id, new_blob(PART_SIZE))
        await parts.release(alice.id, blob.id, RELEASES)
        await parts.create(alice.id, new_blob(2 * PART_SIZE))
        await world.store.append_sealed(world.send_to(alice))  # blobs keep no envelope out

    async def test_another_blob_of_the_same_id(self, parts: Parts, alice: Person) -> None:
        blob = await fill(parts, alice.id)
        await parts.create(alice.id, blob)
        for other in (
            NewBlob(blob.id, blob.size, TokenHash(bytes(32)), RELEASES),
            NewBlob(blob.id, blob.size, READ, RELEASES[:1]),
            NewBlob(blob.id, blob.size, READ, (*RELEASES, READ)),
        ):
            with pytest.raises(BlobConflict):
                await parts.create(alice.id, other)

    async def test_the_operators_numbers(self, world: World, parts: Parts, alice: Person) -> None:
        await fill(parts, alice.id)
        blob = new_blob()
        await parts.create(alice.id, blob)
        await put(parts, blob, 0, FULL)
        stats = await world.store.stats()
        assert (stats.blobs, stats.blob_bytes, stats.unfinished_blobs) == (2, len(SMALL) + PART_SIZE, 1)


def test_the_disk_keeps_what_was_promised() -> None:
    limits = StoreLimits(blob_free_bytes=100)
    blobrules.check_room(limits, 0, promised=50, adding=10, free=160)
    with pytest.raises(StoreFull):
        blobrules.check_room(limits, 0, promised=50, adding=11, free=160)
