"""Files over real TLS: up, down, and everything that a peer may do wrong."""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3

from hushpost.directio import aligned_buffer
from hushpost.ids import TokenHash
from hushpost.server.identity import ServerIdentity
from hushpost.server.parts import buffers as part_buffers
from hushpost.server.parts.buffers import BUFFER_SIZE
from hushpost.server.parts.traffic import AMONG_MANY, AT_ONCE, Traffic
from hushpost.settings import ListenLimits, Rate, Rates
from hushpost.stores.base import PostOffice, StoreLimits
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
from tests.crypto.people import ALICE, BOB
from tests.server.files import File, Token, noise
from tests.server.serving import Client, Keeper, Served, alice_and_bob, deliver, serving, settings

TWO_AND_A_BIT = noise(2 * PART_SIZE + 70_001)


@asynccontextmanager
async def on_disk(
    folder: Path, limits: StoreLimits | None = None, **changes: object
) -> AsyncIterator[tuple[Served, tuple[Keeper, Client], tuple[Keeper, Client]]]:
    """A server that keeps what it keeps on the disk, with alice and bob."""
    await asyncio.to_thread(ServerIdentity.open, folder, int(time.time()))
    store = await SqlitePost.open(folder / "post.db", limits or StoreLimits(min_free_bytes=0))

    def opened() -> PostOffice:
        return store

    alice, bob = Keeper.of(ALICE), Keeper.of(BOB)
    async with (
        serving(settings(folder, **changes), make_store=opened) as served,
        await served.enroll(alice) as one,
        await served.enroll(bob) as other,
    ):
        yield served, (alice, one), (bob, other)


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

    async def test_a_connection_keeps_no_buffer(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nor a view of one, when its part is through and it says nothing more."""
        made: list[weakref.ref[object]] = []

        def buffer(size: int) -> memoryview:
            made.append(weakref.ref((room := aligned_buffer(size)).obj))
            return room

        monkeypatch.setattr(part_buffers, "aligned_buffer", buffer)
        monkeypatch.setattr(part_buffers, "BUFFERS_KEPT", 0)
        file = File(noise(PART_SIZE))
        async with on_disk(tmp_path) as (served, (_, alice), _):
            await alice.expect(BlobCreated, file.create())
            assert isinstance(await alice.put(file.put(0), file.content), PartPut)
            assert len(made) > 1
            async with asyncio.timeout(10):
                while (buffers := served.office.shared.buffers).lent:
                    await asyncio.sleep(0)
            assert sum(each() is not None for each in made) == buffers.kept, "two are one object"

    async def test_messages_go_on_beside_a_part_that_does_not(self, tmp_path: Path) -> None:
        file = File(TWO_AND_A_BIT)
        async with on_disk(tmp_path) as (served, (keeper, alice), (bob_keeper, _)):
            await alice.expect(BlobCreated, file.create())
            begun = []
            for _ in range(10):
                line = await served.login(keeper)
                begun.append(line)
                line.write_part(file.put(0), file.part(0), written=1_000_000)
            await deliver(alice, bob_keeper)
            assert isinstance(await alice.put(file.put(1), file.part(1)), PartPut)
            for line in begun:
                await line.close()
            assert isinstance(await alice.put(file.put(0), file.part(0)), PartPut)
            assert served.office.shared.buffers.lent == 0

    async def test_a_slow_reader_costs_nobody_else(self, tmp_path: Path) -> None:
        file = File(TWO_AND_A_BIT)
        async with on_disk(tmp_path) as (served, (keeper, alice), (_, bob)):
            await file.upload(alice)
            slow = await served.connect(receive_buffer=4_096)
            await slow.login(keeper)
            for _ in range(20):
                slow.write(file.get(0))
            assert await file.download(bob) == file.content
            assert served.office.shared.buffers.lent == 0, "a buffer waits for a peer"
            await slow.close()


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

    async def test_a_silent_line_keeps_no_part_from_another(self, tmp_path: Path) -> None:
        """A client whose network has changed comes back while its old connection still seems to be there."""
        file = File(noise(PART_SIZE))
        async with on_disk(tmp_path) as (served, (keeper, alice), _):
            await alice.expect(BlobCreated, file.create())
            silent = await served.login(keeper)
            silent.write_part(file.put(0), file.content, 3 * BUFFER_SIZE + 5)
            await silent.writer.drain()
            async with asyncio.timeout(10):
                assert isinstance(await alice.put(file.put(0), file.content), PartPut)
                await alice.expect(BlobCommitted, file.commit())
                assert await file.download(alice) == file.content
            await silent.close()

    async def test_slow_lines_hold_up_no_quick_one(self, tmp_path: Path) -> None:
        """Three of them, each quicker than what one could call silence."""
        slow_file, quick_file = File(noise(PART_SIZE)), File(noise(3 * PART_SIZE))
        async with on_disk(tmp_path) as (served, (keeper, alice), (_, bob)):
            await alice.expect(BlobCreated, slow_file.create(3 * PART_SIZE))
            lines = [await served.login(keeper) for _ in range(3)]
            trickling = []
            for index, line in enumerate(lines):
                put = msgspec.structs.replace(slow_file.put(0), index=index)
                line.write_part(put, slow_file.content, 1)

                async def trickle(line: Client = line) -> None:
                    while True:
                        line.writer.write(bytes(4_000))
                        await line.writer.drain()
                        await asyncio.sleep(0.01)

                trickling.append(asyncio.ensure_future(trickle()))
            async with asyncio.timeout(8):  # they need 10 s for their parts
                await quick_file.upload(bob)
            for task in trickling:
                task.cancel()
            await asyncio.wait(trickling)
            for line in lines:
                await line.close()

    async def test_what_many_send_is_read_in_smaller_pieces(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Envelopes wait for each of them."""
        offered: dict[bool, set[int]] = {True: set(), False: set()}
        room = Traffic.room

        def watched(traffic: Traffic) -> memoryview | None:
            if (buffer := room(traffic)) is not None:
                offered[served.office.shared.turns.waiting > 1].add(len(buffer))
            return buffer

        monkeypatch.setattr(Traffic, "room", watched)
        files = [File(noise(PART_SIZE)) for _ in range(4)]
        async with on_disk(tmp_path) as (served, (keeper, alice), _):
            await files[0].upload(alice)
            assert max(offered[False]) == AT_ONCE
            assert not offered[True]
            lines = [await served.login(keeper) for _ in files]
            await asyncio.gather(*(file.upload(line) for file, line in zip(files[1:], lines, strict=False)))
            assert max(offered[True]) == AMONG_MANY
            for line in lines:
                await line.close()

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

    async def test_a_slow_reader_gets_all_of_it_and_holds_no_buffer(self, tmp_path: Path) -> None:
        file = File(noise(PART_SIZE))
        async with on_disk(tmp_path) as (served, (keeper, alice), _):
            await file.upload(alice)
            slow = await Client.connect(served.address, receive_buffer=100_000)
            await slow.login(keeper)
            buffers = served.office.shared.buffers
            for _ in range(3):
                slow.write(file.get(0))
            async with asyncio.timeout(10):
                while not buffers.lent:
                    await asyncio.sleep(0)
                while buffers.lent:
                    await asyncio.sleep(0)
                for _ in range(3):
                    assert isinstance(await slow.receive(), PartContent)
                    assert slow.data == file.content
            assert buffers.lent == 0
            await slow.close()

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
