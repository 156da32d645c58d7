"""F1 to F9 of `base.Parts`, for every implementation."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from hushpost.errors import (
    BadDigest,
    BlobConflict,
    BlobIncomplete,
    QuotaFull,
    StoreFull,
    UnknownAccount,
    UnknownBlob,
)
from hushpost.ids import AccountId, BlobId, TokenHash
from hushpost.stores import blobrules
from hushpost.stores.base import (
    LEAST_CHARGE,
    UNFINISHED_SECONDS,
    NewBlob,
    Parts,
    PartWriter,
    StoreLimits,
    parts_of,
)
from hushpost.wire.limits import PART_SIZE

from .conftest import Person, World

Worlds = Callable[..., Awaitable[World]]

DAY = 86_400
READ = TokenHash(b"r" * 32)
RELEASES = TokenHash(b"1" * 32), TokenHash(b"2" * 32)
SMALL = b"a sealed part of few bytes"
FULL = bytes(range(256)) * (PART_SIZE // 256)
WHOLE = FULL + SMALL


def new_blob(size: int = len(WHOLE), releases: tuple[TokenHash, ...] = RELEASES) -> NewBlob:
    return NewBlob(BlobId.random(), size, READ, releases)


async def put(parts: Parts, blob: NewBlob, index: int, content: bytes, piece: int = 1 << 20) -> bool:
    """Put one part in pieces; False if it was there."""
    writer = await parts.begin_part(blob.id, index, blake3(content).digest(), len(content))
    if writer is None:
        return False
    for start in range(0, len(content), piece):
        await writer.write([memoryview(content)[start : start + piece]])
    await writer.finish()
    return True


async def write_all(writer: PartWriter, content: bytes) -> None:
    await writer.write([memoryview(content)])
    await writer.finish()


async def fill(parts: Parts, account: AccountId, content: bytes = SMALL) -> NewBlob:
    """A committed blob."""
    blob = new_blob(len(content))
    await parts.create(account, blob)
    for index in range(parts_of(len(content))):
        assert await put(parts, blob, index, content[index * PART_SIZE : (index + 1) * PART_SIZE])
    await parts.commit(account, blob.id, len(content))
    return blob


async def content_of(parts: Parts, blob: NewBlob, index: int = 0, piece: int = 1_000_003) -> bytes:
    """All of a part, read in pieces."""
    part = await parts.find_part(blob.id, READ, index)
    got, buffer = bytearray(), memoryview(bytearray(piece))
    while count := await parts.read_part(part, len(got), buffer):
        got += buffer[:count]
    assert len(got) == part.size
    assert blake3(got).digest() == part.digest
    return bytes(got)


async def sums(world: World, person: Person) -> str:
    usage = await world.store.account_usage(person.id)
    return usage["files-put"]


@pytest.fixture
async def parts(world: World) -> Parts:
    return world.store.parts


@pytest.fixture
async def alice(world: World) -> Person:
    return await world.person()


class TestReading:
    async def test_f1_what_was_put_is_read_when_it_is_committed(self, parts: Parts, alice: Person) -> None:
        blob = new_blob()
        await parts.create(alice.id, blob)
        for index, content in ((1, SMALL), (0, FULL)):
            with pytest.raises(UnknownBlob):
                await parts.find_part(blob.id, READ, index)
            assert await put(parts, blob, index, content)
            with pytest.raises(UnknownBlob):
                await parts.find_part(blob.id, READ, index)
        await parts.commit(alice.id, blob.id, len(WHOLE))
        assert await content_of(parts, blob, 0) + await content_of(parts, blob, 1) == WHOLE
        part = await parts.find_part(blob.id, READ, 0)
        tail = memoryview(bytearray(100))
        assert await parts.read_part(part, PART_SIZE - 60, tail) == 60
        assert bytes(tail[:60]) == FULL[-60:]
        assert await parts.read_part(part, PART_SIZE, tail) == 0
        assert await parts.read_part(part, 2**32 - 1, tail) == 0

    @pytest.mark.parametrize("token", [TokenHash(bytes(32)), TokenHash(b"r" * 31 + b"s"), RELEASES[0]])
    async def test_f1_not_with_another_token(self, parts: Parts, alice: Person, token: TokenHash) -> None:
        blob = await fill(parts, alice.id)
        with pytest.raises(UnknownBlob) as wrong:
            await parts.find_part(blob.id, token, 0)
        with pytest.raises(UnknownBlob) as unknown:
            await parts.find_part(BlobId.random(), token, 0)
        assert str(wrong.value) == str(unknown.value)
        with pytest.raises(UnknownBlob):
            await parts.state(blob.id, token, 0, 9)

    async def test_f1_a_part_that_there_is_not(self, parts: Parts, alice: Person) -> None:
        blob = await fill(parts, alice.id)
        with pytest.raises(UnknownBlob):
            await parts.find_part(blob.id, READ, 1)


class TestPutting:
    async def test_f2_twice_is_once(self, parts: Parts, alice: Person) -> None:
        blob = new_blob(len(SMALL))
        await parts.create(alice.id, blob)
        assert await put(parts, blob, 0, SMALL)
        assert not await put(parts, blob, 0, SMALL)
        with pytest.raises(BlobConflict):
            await put(parts, blob, 0, SMALL[::-1])
        await parts.commit(alice.id, blob.id, len(SMALL))
        assert not await put(parts, blob, 0, SMALL)
        with pytest.raises(BlobConflict):
            await put(parts, blob, 0, SMALL[::-1])
        assert await content_of(parts, blob) == SMALL

    @pytest.mark.parametrize("content", [SMALL[:-1], SMALL[::-1], SMALL + b"x", b""])
    async def test_f2_not_what_the_digest_says(self, parts: Parts, alice: Person, content: bytes) -> None:
        blob = new_blob(100)
        await parts.create(alice.id, blob)
        writer = await parts.begin_part(blob.id, 0, blake3(SMALL).digest(), len(SMALL))
        assert writer is not None
        with pytest.raises(BadDigest):
            await write_all(writer, content)
        await writer.abandon()
        assert (await parts.state(blob.id, READ, 0, 9)).present == 0
        assert await put(parts, blob, 0, SMALL)

    async def test_f2_after_a_part_that_was_given_up(self, parts: Parts, alice: Person) -> None:
        blob = new_blob(len(SMALL))
        await parts.create(alice.id, blob)
        writer = await parts.begin_part(blob.id, 0, blake3(SMALL).digest(), len(SMALL))
        assert writer is not None
        await writer.write([memoryview(SMALL)[:9]])
        await writer.abandon()
        await writer.abandon()
        assert await put(parts, blob, 0, SMALL)
        await parts.commit(alice.id, blob.id, len(SMALL))
        assert await content_of(parts, blob) == SMALL

    @pytest.mark.parametrize(
        ("index", "size"), [(0, 0), (0, PART_SIZE + 1), (1, len(SMALL) + 1), (2, 1), (2**32 - 1, 1)]
    )
    async def test_f2_beyond_what_was_announced(
        self, parts: Parts, alice: Person, index: int, size: int
    ) -> None:
        blob = new_blob()
        await parts.create(alice.id, blob)
        with pytest.raises(BlobIncomplete):
            await parts.begin_part(blob.id, index, bytes(32), size)

    async def test_f2_a_blob_that_nobody_announced(self, parts: Parts) -> None:
        with pytest.raises(UnknownBlob):
            await parts.begin_part(BlobId.random(), 0, bytes(32), 9)

    async def test_f3_the_later_of_two_writers(self, parts: Parts, alice: Person) -> None:
        """The connection of the first may be dead, and the server cannot know."""
        blob, other = new_blob(len(SMALL)), SMALL[::-1]
        await parts.create(alice.id, blob)
        first = await parts.begin_part(blob.id, 0, blake3(other).digest(), len(other))
        assert first is not None
        await first.write([memoryview(other)[:9]])
        second = await parts.begin_part(blob.id, 0, blake3(SMALL).digest(), len(SMALL))
        assert second is not None
        with pytest.raises(BlobConflict):
            await first.write([memoryview(other)[9:]])
        with pytest.raises(BlobConflict):
            await first.finish()
        await second.write([memoryview(SMALL)])
        await second.finish()
        await parts.commit(alice.id, blob.id, len(SMALL))
        assert await content_of(parts, blob) == SMALL

    async def test_f3_many_at_once(self, parts: Parts, alice: Person) -> None:
        blob = new_blob(len(SMALL))
        await parts.create(alice.id, blob)
        contents = [SMALL[k:] + SMALL[:k] for k in range(12)]
        outcomes = await asyncio.gather(
            *(put(parts, blob, 0, each, piece=5) for each in contents), return_exceptions=True
        )
        assert outcomes.count(True) == 1
        assert all(each is True or isinstance(each, BlobConflict) for each in outcomes)
        await parts.commit(alice.id, blob.id, len(SMALL))
        assert await content_of(parts, blob) == contents[outcomes.index(True)]


class TestCommitting:
    async def test_f4_again_is_harmless(self, parts: Parts, alice: Person) -> None:
        blob = await fill(parts, alice.id)
        await parts.commit(alice.id, blob.id, len(SMALL))
        with pytest.raises(BlobConflict):
            await parts.commit(alice.id, blob.id, len(SMALL) + 1)
        with pytest.raises(UnknownBlob):
            await parts.commit(alice.id, BlobId.random(), 9)

    @pytest.mark.parametrize(
        ("contents", "size"),
        [
            ({}, 1),
            ({1: SMALL}, len(WHOLE)),
            ({0: FULL}, len(WHOLE)),
            ({0: FULL, 1: SMALL}, PART_SIZE),
            ({0: FULL, 1: SMALL}, len(WHOLE) + 1),
            ({0: FULL, 1: SMALL}, len(WHOLE) - 1),
            ({0: FULL[:-1], 1: SMALL}, len(WHOLE) - 1),
            ({0: FULL[:-1], 1: SMALL + b"x"}, len(WHOLE)),
            ({0: SMALL, 1: FULL}, len(WHOLE)),
            ({0: FULL, 2: SMALL}, len(WHOLE)),
        ],
    )
    async def test_f4_not_with_parts_missing_or_short(
        self, parts: Parts, alice: Person, contents: dict[int, bytes], size: int
    ) -> None:
        blob = new_blob(3 * PART_SIZE)
        await parts.create(alice.id, blob)
        for index, content in contents.items():
            assert await put(parts, blob, index, content)
        with pytest.raises(BlobIncomplete):
            await parts.commit(alice.id, blob.id, size)
        assert not (await parts.state(blob.id, READ, 0, 0)).committed

    async def test_f4_how_far_it_is(self, parts: Parts, alice: Person) -> None:
        blob = new_blob(3 * PART_SIZE)
        await parts.create(alice.id, blob)
        await put(parts, blob, 1, FULL)
        digest = blake3(FULL).digest()
        state = await parts.state(blob.id, READ, 0, 99)
        assert (state.size, state.present, state.committed) == (3 * PART_SIZE, 1, False)
        assert state.digests == (None, digest, None)
        assert (await parts.state(blob.id, READ, 1, 1)).digests == (digest,)
        assert (await parts.state(blob.id, READ, 2**32 - 1, 9)).digests == ()
        await put(parts, blob, 0, FULL)
        await parts.commit(alice.id, blob.id, 2 * PART_SIZE)
        state = await parts.state(blob.id, READ, 0, 99)
        assert (state.size, state.present, state.committed) == (2 * PART_SIZE, 2, True)
        assert state.digests == (digest, digest)


class TestGoing:
    async def test_f5_when_all_have_released_it(self, parts: Parts, alice: Person) -> None:
        blob = await fill(parts, alice.id)
        for _ in range(2):
            assert await parts.release(alice.id, blob.id, RELEASES[:1]) == 1
        assert await content_of(parts, blob) == SMALL
        part = await parts.find_part(blob.id, READ, 0)
        assert await parts.release(alice.id, blob.id, RELEASES) == 0
        with pytest.raises(UnknownBlob):
            await parts.read_part(part, 0, memoryview(bytearray(9)))
        for gone in (
            parts.find_part(blob.id, READ, 0),
            parts.release(alice.id, blob.id, RELEASES),
            parts.commit(alice.id, blob.id, len(SMALL)),
            parts.state(blob.id, READ, 0, 1),
            put(parts, blob, 0, SMALL),
        ):
            with pytest.raises(UnknownBlob):
                await gone
        await parts.create(alice.id, blob)  # nothing is left that could be in its way

    async def test_f5_not_with_other_tokens(self, parts: Parts, alice: Person) -> None:
        blob = await fill(parts, alice.id)
        for tokens in ([READ], [RELEASES[0], READ], [TokenHash(bytes(32))]):
            with pytest.raises(UnknownBlob):
                await parts.release(alice.id, blob.id, tokens)
        assert await parts.release(alice.id, blob.id, RELEASES[1:]) == 1, (
            "a refused release has changed something"
        )

    async def test_f5_when_its_days_are_over(self, worlds: Worlds) -> None:
        world = await worlds(blob_seconds=3 * DAY)
        parts, alice = world.store.parts, await world.person()
        blob = await fill(parts, alice.id)
        await world.store.tidy(3 * DAY)
        assert await content_of(parts, blob) == SMALL
        assert await sums(world, alice) == f"{LEAST_CHARGE} bytes, in a sum for each of 1 days of expiry"
        await world.store.tidy(DAY)
        with pytest.raises(UnknownBlob):
            await parts.find_part(blob.id, READ, 0)
        assert await sums(world, alice) == "0 bytes, in a sum for each of 0 days of expiry"

    async def test_f5_a_day_after_the_last_part(self, world: World, parts: Parts, alice: Person) -> None:
        blob, never = new_blob(), new_blob()
        await parts.create(alice.id, blob)
        await parts.create(alice.id, never)
        await world.store.tidy(UNFINISHED_SECONDS - 1)
        await put(parts, blob, 0, FULL)
        await world.store.tidy(1)
        with pytest.raises(UnknownBlob):
            await put(parts, never, 0, FULL)
        await world.store.tidy(UNFINISHED_SECONDS - 2)
        assert not await put(parts, blob, 0, FULL)
        await world.store.tidy(1)
        with pytest.raises(UnknownBlob):
            await put(parts, blob, 0, FULL)

    async def test_f5_while_a_part_is_coming(self, parts: Parts, alice: Person) -> None:
        blob = new_blob(len(SMALL))
        await parts.create(alice.id, blob)
        writer = await parts.begin_part(blob.id, 0, blake3(SMALL).digest(), len(SMALL))
        assert writer is not None
        await writer.write([memoryview(SMALL)[:9]])
        assert await parts.release(alice.id, blob.id, RELEASES) == 0
        with pytest.raises(UnknownBlob):
            await write_all(writer, SMALL[9:])
        await writer.abandon()


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


@given(st.lists(st.binary(min_size=32, max_size=32).map(TokenHash), min_size=1, max_size=5), st.data())
def test_shown_tokens_are_all_known_or_nothing(known: list[TokenHash], data: st.DataObject) -> None:
    shown = data.draw(st.lists(st.sampled_from(known), max_size=4))
    assert blobrules.matching(known, shown) == set(shown)
    with pytest.raises(UnknownBlob):
        blobrules.matching(known, [*shown, TokenHash(os.urandom(32))])


def test_the_disk_keeps_what_was_promised() -> None:
    limits = StoreLimits(blob_free_bytes=100)
    blobrules.check_room(limits, 0, promised=50, adding=10, free=160)
    with pytest.raises(StoreFull):
        blobrules.check_room(limits, 0, promised=50, adding=11, free=160)
