"""Files over real TLS: up, down, and everything that a peer may do wrong."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3

from hushpost.ids import TokenHash
from hushpost.server.parts.buffers import BUFFER_SIZE
from hushpost.settings import ListenLimits, Rate, Rates
from hushpost.stores.base import StoreLimits
from hushpost.stores.post.partfiles import extent
from hushpost.stores.post.sqlite import SqlitePost
from hushpost.wire.frames import RequestHeader
from hushpost.wire.limits import PART_SIZE
from hushpost.wire.messages import (
    BlobCommitted,
    BlobCreated,
    BlobReleased,
    BlobStatus,
    Error,
    ErrorCode,
    GetUsage,
    PartContent,
    PartPut,
    UsageAnswer,
)
from tests.server.files import TWO_AND_A_BIT, File, Token, noise, on_disk
from tests.server.serving import alice_and_bob, deliver, serving, settings


def refusal(answer: object) -> tuple[str, int | None]:
    assert isinstance(answer, Error), answer
    return answer.error, answer.retry_after


class TestUpAndDown:
    async def test_up_and_down(self, tmp_path: Path) -> None:
        file = File(TWO_AND_A_BIT)
        async with on_disk(tmp_path) as (served, (_, alice), (_, bob)):
            await file.upload(alice)
            assert await file.download(bob) == file.content
            assert served.office.shared.buffers.lent == 0
            state = await bob.expect(BlobStatus, file.status())
            assert (state.size, state.parts, state.present, state.committed) == (
                len(file.content),
                3,
                3,
                True,
            )
            assert state.digests == [blake3(data).digest() for _, data in file.parts()]
            waiting = await bob.expect(BlobReleased, file.release(file.releases[0]))
            assert waiting.waiting == 1
            assert (await bob.expect(BlobReleased, file.release())).waiting == 0
            assert (await bob.refused(file.get(0))).error == ErrorCode.UNKNOWN_BLOB
            assert list((tmp_path / "files").glob("*/*")) == []

    async def test_parts_over_several_connections_in_any_order(self, tmp_path: Path) -> None:
        file = File(TWO_AND_A_BIT)
        async with on_disk(tmp_path) as (served, (keeper, alice), (_, bob)):
            await alice.expect(BlobCreated, file.create())
            async with await served.login(keeper) as second:
                numbers = [(each, each.write_part(file.put(2), file.part(2))) for each in (alice, second)]
                numbers += [(second, second.write_part(file.put(k), file.part(k))) for k in (1, 0)]
                answers = [await client.answer(number) for client, number in numbers]
            assert all(isinstance(each, PartPut) or refusal(each)[0] == "blob-conflict" for each in answers)
            for index in range(3):
                assert isinstance(await alice.put(file.put(index), file.part(index)), PartPut)
            await alice.expect(BlobCommitted, file.commit())
            assert await file.download(bob) == file.content

    async def test_questions_are_answered_between_parts_and_while_they_come(self, tmp_path: Path) -> None:
        file = File(TWO_AND_A_BIT)
        async with on_disk(tmp_path) as (_, (_, alice), (_, bob)):
            await file.upload(alice)
            parts = [bob.write(file.get(index, offset)) for index in (0, 1, 2) for offset in (0, 70_000)]
            usage = bob.write(GetUsage(0))
            got: dict[int, bytes] = {}
            while len(got) <= len(parts):
                answer = await bob.receive()
                assert answer is not None
                assert isinstance(answer, PartContent | UsageAnswer)
                got[answer.number] = bob.data
            assert usage in got
            expected = [file.part(index)[offset:] for index in (0, 1, 2) for offset in (0, 70_000)]
            assert [got[number] for number in parts] == expected

    async def test_parts_and_questions_in_one_breath(self, tmp_path: Path) -> None:
        """Nothing that follows a part is taken for its data, wherever it ends in what is received at once."""
        sizes = [1, 4096, 70_000, BUFFER_SIZE - 1, BUFFER_SIZE, BUFFER_SIZE + 1, PART_SIZE]
        files = [File(noise(size)) for size in sizes]
        async with on_disk(tmp_path) as (served, (_, alice), _):
            for file in files:
                await alice.expect(BlobCreated, file.create())
            asked = []
            for file in files:
                asked += [alice.write_part(file.put(0), file.content), alice.write(file.status())]
            answers = [await alice.answer(number) for number in asked]
            assert [type(each) for each in answers] == [PartPut, BlobStatus] * len(files)
            for file in files:
                await alice.expect(BlobCommitted, file.commit())
                assert await file.download(alice) == file.content
            assert served.office.shared.buffers.lent == 0


class TestAttacks:
    async def test_tokens_and_ids(self, tmp_path: Path) -> None:
        file, other = File(noise(1_000)), File(noise(2_000))
        async with alice_and_bob(settings(tmp_path)) as (_, (_, alice), (_, bob)):
            await file.upload(alice)
            await other.upload(bob)
            for wrong in (
                file.get(0, token=other.read),
                file.get(0, token=file.releases[0]),
                file.get(0, token=file.read.hash),
                file.get(0, token=bytes(32)),
                file.get(1),
                file.status(token=other.read),
                file.release(other.releases[0]),
                file.release(file.read),
                file.release(file.releases[0], other.releases[0]),
                File(b"x").get(0),
            ):
                assert (await bob.refused(wrong)).error == ErrorCode.UNKNOWN_BLOB
            assert await file.download(bob) == file.content

    async def test_anothers_blob(self, tmp_path: Path) -> None:
        file = File(noise(1_000))
        async with alice_and_bob(settings(tmp_path)) as (_, (_, alice), (_, bob)):
            await file.upload(alice)
            mine = msgspec.structs.replace(file.create(), read_hash=Token.random().hash)
            assert refusal(await bob.ask(mine)) == (ErrorCode.BLOB_CONFLICT, None)
            other = noise(999)
            put = file.put(0, blake3(other).digest())
            assert refusal(await bob.put(put, other)) == (ErrorCode.BLOB_CONFLICT, None)
            assert refusal(await bob.ask(file.commit(999)))[0] == ErrorCode.BLOB_CONFLICT
            assert await file.download(bob) == file.content

    @pytest.mark.parametrize("size", [1_000, 300_000, PART_SIZE])
    async def test_lies(self, tmp_path: Path, size: int) -> None:
        file = File(noise(size))
        async with on_disk(tmp_path) as (served, (_, alice), _):
            await alice.expect(BlobCreated, file.create())
            honest = file.put(0)
            lie = file.put(0, bytes(32))
            answers = [
                await alice.put(lie, file.content),
                await alice.put(honest, file.content[:-1] + bytes([file.content[-1] ^ 1])),
                await alice.put(honest, file.content[:-1]),
                await alice.put(file.put(1), b"beyond the end"),
                await alice.put(honest, b""),
                await alice.put(honest, file.content + b"x"),
                await alice.ask(file.commit()),
            ]
            expected = ["bad-digest"] * 3 + ["incomplete"] * 3 + ["incomplete"]
            if size == PART_SIZE:
                expected[5] = "too-large"
            assert [refusal(each)[0] for each in answers] == expected
            assert (await alice.expect(BlobStatus, file.status())).present == 0
            assert isinstance(await alice.put(honest, file.content), PartPut)
            assert isinstance(await alice.put(honest, file.content), PartPut)
            await alice.expect(BlobCommitted, file.commit())
            assert await file.download(alice) == file.content
            assert served.office.shared.buffers.lent == 0

    async def test_what_is_gone_from_the_disk_is_said(self, tmp_path: Path) -> None:
        file = File(noise(2 * PART_SIZE))
        async with on_disk(tmp_path) as (_, (_, alice), _):
            await file.upload(alice)
            (path,) = (tmp_path / "files").glob("*/*")
            os.truncate(path, extent(len(file.content)) - 1)
            assert refusal(await alice.ask(file.get(1)))[0] == ErrorCode.UNKNOWN_BLOB
            assert isinstance(await alice.ask(file.get(0)), PartContent)
            path.unlink()
            assert refusal(await alice.ask(file.get(0)))[0] == ErrorCode.UNKNOWN_BLOB

    async def test_half_a_part_counts_for_nothing(self, tmp_path: Path) -> None:
        file = File(noise(1_000_000))
        async with on_disk(tmp_path) as (served, (keeper, alice), _):
            await alice.expect(BlobCreated, file.create())
            for written in (0, 1, 300_000, 999_999):
                line = await served.login(keeper)
                line.write_part(file.put(0), file.content, written)
                await line.writer.drain()
                await line.close()
            assert isinstance(await alice.put(file.put(0), file.content), PartPut)
            await alice.expect(BlobCommitted, file.commit())
            assert await file.download(alice) == file.content
            assert served.office.shared.buffers.lent == 0

    async def test_a_part_that_is_too_large_for_its_frame(self, tmp_path: Path) -> None:
        async with alice_and_bob(settings(tmp_path)) as (_, (keeper, alice), _):
            alice.writer.write(RequestHeader(keeper.device, 3, 121, 5_000_000).encode())
            assert await alice.ended()

    async def test_a_stranger_puts_nothing(self, tmp_path: Path) -> None:
        async with serving(settings(tmp_path)) as served, await served.connect() as guest:
            await guest.hello()
            head = msgspec.msgpack.encode([7, bytes(16), 0, bytes(32)])
            payload = len(head).to_bytes(2, "little") + head + bytes(100)
            guest.writer.write(RequestHeader(bytes(16), 3, 121, len(payload)).encode() + payload)
            answer = b""
            while len(answer) < 7 or len(answer) < 7 + int.from_bytes(answer[3:7], "little"):
                answer += await guest.reader.read(1_000)
            assert msgspec.msgpack.decode(answer[7:])[:2] == [7, ErrorCode.UNEXPECTED]

    async def test_announcing_without_end(self, tmp_path: Path) -> None:
        rates = Rates(files=Rate(5, 3_600))
        async with alice_and_bob(settings(tmp_path, rates=rates)) as (_, (_, alice), (_, bob)):
            for _ in range(5):
                await alice.expect(BlobCreated, File(b"x").create())
            assert refusal(await alice.ask(File(b"x").create())) == (ErrorCode.RATE_LIMITED, 720)
            await bob.expect(BlobCreated, File(b"x").create())

    async def test_the_quota(self, tmp_path: Path) -> None:
        limits = StoreLimits(min_free_bytes=0, blob_quota=3 << 20, blob_free_bytes=0)
        async with on_disk(tmp_path, limits) as (_, (_, alice), (_, bob)):
            await alice.expect(BlobCreated, File(b"x").create(2 << 20))
            code, retry_after = refusal(await alice.ask(File(b"x").create(2 << 20)))
            assert code == ErrorCode.QUOTA
            assert retry_after is not None
            assert 0 < retry_after <= 86_400
            await alice.expect(BlobCreated, File(b"x").create())
            assert refusal(await alice.ask(File(b"x").create()))[0] == ErrorCode.QUOTA
            await bob.expect(BlobCreated, File(b"x").create(2 << 20))

    async def test_a_full_disk(self, tmp_path: Path) -> None:
        limits = StoreLimits(min_free_bytes=0, blob_free_bytes=1 << 60)
        async with on_disk(tmp_path, limits) as (_, (_, alice), (keeper, _)):
            code, retry_after = refusal(await alice.ask(File(b"x").create()))
            assert code == ErrorCode.FULL
            assert retry_after
            await deliver(alice, keeper)

    async def test_a_device_that_was_removed_reads_and_puts_nothing(self, tmp_path: Path) -> None:
        file = File(noise(1_000))
        async with alice_and_bob(settings(tmp_path)) as (served, (keeper, alice), (_, bob)):
            await file.upload(bob)
            served.office.peers.list_only(keeper.person.account.id, [])
            assert await file.download(alice) == file.content
            mine = File(b"x")
            assert refusal(await alice.ask(mine.create()))[0] == ErrorCode.DENIED
            assert refusal(await alice.put(mine.put(0), b"x"))[0] == ErrorCode.DENIED
            assert refusal(await alice.ask(mine.commit()))[0] == ErrorCode.DENIED


class TestTime:
    async def test_a_slow_line_has_time_and_a_silent_one_ends(self, tmp_path: Path) -> None:
        limits = ListenLimits(request_deadline=1.5, min_rate=100_000, stop_deadline=1.0)
        file = File(noise(250_000))
        rates = Rates(file_questions=Rate(1_000_000, 60))
        async with on_disk(tmp_path, listen_limits=limits, rates=rates) as (served, (keeper, alice), _):
            await alice.expect(BlobCreated, file.create())
            loop = asyncio.get_running_loop()
            silent = await served.login(keeper)
            begun = loop.time()
            silent.write_part(file.put(0), file.content, 1_000)
            assert await silent.ended()
            assert 1.5 + 2.4 <= loop.time() - begun < 9.0
            slow = await served.login(keeper)
            begun = loop.time()
            number = slow.write_part(file.put(0), file.content, 1_000)
            while loop.time() < begun + 2.5:  # longer than a request without data has
                await alice.expect(BlobStatus, file.status())
            slow.write_data(file.content[1_000:])
            assert isinstance(await slow.answer(number), PartPut)

    async def test_a_server_that_stops(self, tmp_path: Path) -> None:
        file = File(TWO_AND_A_BIT)
        async with on_disk(tmp_path) as (served, (keeper, alice), _):
            await alice.expect(BlobCreated, file.create())
            assert isinstance(await alice.put(file.put(0), file.part(0)), PartPut)
            half = await served.login(keeper)
            half.write_part(file.put(1), file.part(1), 500_000)
            await half.writer.drain()
            await served.acceptor.stop()
        store = await SqlitePost.open(tmp_path / "post.db")
        assert (await store.parts.state(file.blob, TokenHash(file.read.hash), 0, 9)).present == 1
        await store.close()
