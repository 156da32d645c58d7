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
    UnknownBlob,
)
from hushpost.ids import BlobId, TokenHash
from hushpost.stores import blobrules
from hushpost.stores.base import (
    LEAST_CHARGE,
    UNFINISHED_SECONDS,
    Parts,
)
from hushpost.wire.limits import PART_SIZE

from .conftest import Person, World
from .putting import DAY, FULL, READ, RELEASES, SMALL, WHOLE, content_of, fill, new_blob, put, sums, write_all

Worlds = Callable[..., Awaitable[World]]


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


@given(st.lists(st.binary(min_size=32, max_size=32).map(TokenHash), min_size=1, max_size=5), st.data())
def test_shown_tokens_are_all_known_or_nothing(known: list[TokenHash], data: st.DataObject) -> None:
    shown = data.draw(st.lists(st.sampled_from(known), max_size=4))
    assert blobrules.matching(known, shown) == set(shown)
    with pytest.raises(UnknownBlob):
        blobrules.matching(known, [*shown, TokenHash(os.urandom(32))])
