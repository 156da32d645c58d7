"""The numbered guarantees of `stores.base`, for every implementation: contents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from hushpost.errors import (
    BlobMissing,
)
from hushpost.ids import BlobId

from .conftest import World

Worlds = Callable[..., Awaitable[World]]


class TestBlobs:
    async def test_b1_readable_only_when_finished(self, world: World) -> None:
        blob, buffer = BlobId.random(), memoryview(bytearray(8))
        await world.blobs.create(blob)
        await world.blobs.write(blob, 4, memoryview(b"5678"))
        with pytest.raises(BlobMissing):
            await world.blobs.read_into(blob, 0, buffer)
        await world.blobs.write(blob, 0, memoryview(b"1234"))
        for wrong in (0, 7, 9):
            with pytest.raises(BlobMissing):
                await world.blobs.finish(blob, wrong)
        await world.blobs.finish(blob, 8)
        assert await world.blobs.read_into(blob, 0, buffer) == 8
        assert bytes(buffer) == b"12345678"

    async def test_b1_in_pieces_and_past_the_end(self, world: World) -> None:
        attachment = await world.blob(b"0123456789")
        for offset, size, expected in (
            (0, 4, b"0123"),
            (8, 4, b"89"),
            (10, 4, b""),
            (99, 4, b""),
            (3, 0, b""),
        ):
            buffer = bytearray(size)
            count = await world.blobs.read_into(attachment.blob, offset, memoryview(buffer))
            assert bytes(buffer[:count]) == expected

    async def test_b1_an_empty_one(self, world: World) -> None:
        attachment = await world.blob(b"")
        assert await world.blobs.read_into(attachment.blob, 0, memoryview(bytearray(1))) == 0

    async def test_b1_what_was_not_begun_cannot_be_written_or_finished(self, world: World) -> None:
        with pytest.raises(BlobMissing):
            await world.blobs.write(BlobId.random(), 0, memoryview(b"x"))
        with pytest.raises(BlobMissing):
            await world.blobs.finish(BlobId.random(), 0)

    async def test_b2_discarding_at_any_stage(self, world: World) -> None:
        begun, finished = BlobId.random(), (await world.blob()).blob
        await world.blobs.create(begun)
        await world.blobs.discard([begun, finished, BlobId.random()])
        await world.blobs.discard([begun, finished])
        with pytest.raises(BlobMissing):
            await world.blobs.write(begun, 0, memoryview(b"x"))
        with pytest.raises(BlobMissing):
            await world.blobs.read_into(finished, 0, memoryview(bytearray(1)))
        assert await world.blobs.sweep(set()) == 0

    async def test_b3_the_buffer_is_free_after_the_call(self, world: World) -> None:
        blob, buffer = BlobId.random(), bytearray(b"first")
        await world.blobs.create(blob)
        await world.blobs.write(blob, 0, memoryview(buffer))
        buffer[:] = b"other"
        await world.blobs.finish(blob, 5)
        await world.blobs.read_into(blob, 0, memoryview(buffer))
        assert buffer == b"first"

    async def test_b4_the_sweep_keeps_only_what_is_finished_and_referenced(self, world: World) -> None:
        kept, lost, begun = (await world.blob()).blob, (await world.blob()).blob, BlobId.random()
        await world.blobs.create(begun)
        assert await world.blobs.sweep({kept, begun}) == 2
        assert await world.blobs.read_into(kept, 0, memoryview(bytearray(9))) == 7
        with pytest.raises(BlobMissing):
            await world.blobs.read_into(lost, 0, memoryview(bytearray(9)))
        with pytest.raises(BlobMissing):
            await world.blobs.finish(begun, 0)
