"""Many connections share buffers, turns and one event loop: the slow and the silent cost nobody else."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hushpost.directio import DirectFile, aligned_buffer
from hushpost.server.connection import Connection
from hushpost.server.parts import buffers as part_buffers
from hushpost.server.parts import turns
from hushpost.server.parts.buffers import BUFFER_SIZE, PartBuffers
from hushpost.server.parts.traffic import AMONG_MANY, AT_ONCE, EACH_HOLDS
from hushpost.wire.limits import PART_SIZE
from hushpost.wire.messages import BlobCommitted, BlobCreated, BlobStatus, PartContent, PartPut
from tests.server.files import TWO_AND_A_BIT, File, noise, on_disk
from tests.server.narrows import Narrows
from tests.server.serving import Client, Served, deliver

ONE_READ = 256 * 1024
"""Bytes that uvloop takes from a socket at once."""


def undecrypted(connection: Any) -> int:
    """Bytes that it has from its socket, and TLS has not looked at."""
    return int(connection._transport.get_read_buffer_size())


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[object]]:
    """What is made to hold buffers; the server keeps none of it for the next."""
    made: list[weakref.ref[object]] = []

    def buffer(size: int, *, large: bool = True) -> memoryview:
        made.append(weakref.ref((room := aligned_buffer(size, large=large)).obj))
        return room

    monkeypatch.setattr(part_buffers, "aligned_buffer", buffer)
    monkeypatch.setattr(part_buffers, "BUFFERS_KEPT", 0)
    return made


@pytest.fixture
def lent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many buffers were lent, whenever one was."""
    lent: list[int] = []
    take = PartBuffers.take

    def watched(buffers: PartBuffers) -> memoryview:
        buffer = take(buffers)
        lent.append(buffers.lent)
        return buffer

    monkeypatch.setattr(PartBuffers, "take", watched)
    return lent


async def all_given_back(served: Served) -> None:
    async with asyncio.timeout(10):
        while served.office.shared.buffers.lent:
            await asyncio.sleep(0)


async def test_a_connection_keeps_no_buffer(tmp_path: Path, made: list[weakref.ref[object]]) -> None:
    """Nor a view of one, when its part is through and it says nothing more."""
    file = File(noise(PART_SIZE))
    async with on_disk(tmp_path) as (served, (_, alice), _):
        await alice.expect(BlobCreated, file.create())
        assert isinstance(await alice.put(file.put(0), file.content), PartPut)
        assert len(made) > 1
        await all_given_back(served)
        assert [each() for each in made] == [None] * len(made)


async def test_nor_one_that_waits_in_the_middle_of_a_record(
    tmp_path: Path, made: list[weakref.ref[object]]
) -> None:
    """TLS asks for room with every segment, and tells nothing before a record is whole.

    Of several who are stuck there, one has its turn, and a buffer. When alice has hers, all had theirs.
    """
    file = File(noise(PART_SIZE))
    async with AsyncExitStack() as stack:
        served, (keeper, alice), _ = await stack.enter_async_context(on_disk(tmp_path))
        await alice.expect(BlobCreated, file.create(8 * PART_SIZE))
        for index in range(6):
            narrows = await stack.enter_async_context(Narrows(served.address))
            line = await stack.enter_async_context(await Client.connect(narrows.address))
            await line.login(keeper)
            narrows.left = 300_003
            line.write_part(msgspec.structs.replace(file.put(0), index=index), file.content)
            await narrows.stuck.wait()
        put = msgspec.structs.replace(file.put(0), index=6)
        assert isinstance(await alice.put(put, file.content), PartPut)
        lent = served.office.shared.buffers.lent
        assert sum(each() is not None for each in made) <= lent <= 2


async def test_who_waits_for_a_turn_holds_no_buffer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lent: list[int]
) -> None:
    monkeypatch.setattr(turns, "REVIEW_SECONDS", 60)
    files = [File(noise(50_000)) for _ in range(12)]
    async with on_disk(tmp_path) as (served, (keeper, alice), (_, bob)):
        lines = [await served.login(keeper) for _ in files]
        for file, line in zip(files, lines, strict=True):
            await alice.expect(BlobCreated, file.create())
            line.write_part(file.put(0), file.content, 9_000)
        async with asyncio.timeout(10):
            while served.office.shared.turns.waiting < len(files) - 1:
                await asyncio.sleep(0)
        assert max(lent, default=0) <= 1, "one has its turn"
        for file, line in zip(files, lines, strict=True):
            line.writer.write(file.content[9_000:])
        for file, line in zip(files, lines, strict=True):
            assert isinstance(await line.receive(), PartPut)
            await alice.expect(BlobCommitted, file.commit())
            assert await file.download(bob) == file.content
            await line.close()


async def test_those_who_are_gone_together_leave_nothing(tmp_path: Path) -> None:
    """Among them some who get their turn when they are gone, and have something that is not decrypted yet."""
    file = File(noise(PART_SIZE))
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    async with on_disk(tmp_path) as (served, (keeper, alice), _):
        await alice.expect(BlobCreated, file.create(16 * PART_SIZE))
        before = served.acceptor.open_connections
        lines = [await served.login(keeper) for _ in range(12)]
        for index, line in enumerate(lines):
            line.write_part(msgspec.structs.replace(file.put(0), index=index), file.content, 220_000)
        async with asyncio.timeout(10):
            while sum(undecrypted(each) > AMONG_MANY for each in served.acceptor._open) < len(lines) / 2:
                await asyncio.sleep(0)
            for line in lines:
                line.writer.transport.abort()
            while served.acceptor.open_connections > before:
                await asyncio.sleep(0)
        again = [await served.login(keeper) for _ in lines]  # a device has places for 16
        for line in again:
            await line.close()
        assert isinstance(await alice.put(file.put(0), file.content), PartPut)
    assert failures == []


@pytest.mark.parametrize("bound", [1, 9])
async def test_a_disk_that_cannot_keep_up_costs_time_and_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lent: list[int], bound: int
) -> None:
    """Each piece takes it longer than to come. The one that is read may have a few beyond the bound."""
    write = DirectFile.write
    disk = threading.Semaphore(0)

    def slowly(handle: DirectFile, data: memoryview, offset: int) -> None:
        assert disk.acquire(timeout=30)
        write(handle, data, offset)

    monkeypatch.setattr(DirectFile, "write", slowly)
    monkeypatch.setattr(part_buffers, "BUFFERS_LENT", bound)
    monkeypatch.setattr(turns, "REVIEW_SECONDS", 0)
    file = File(noise(PART_SIZE))
    async with on_disk(tmp_path) as (served, (keeper, alice), _):
        await alice.expect(BlobCreated, file.create(14 * PART_SIZE))
        lines = [await served.login(keeper) for _ in range(14)]
        numbers = [
            line.write_part(msgspec.structs.replace(file.put(0), index=index), file.content)
            for index, line in enumerate(lines)
        ]
        async with asyncio.timeout(20):
            while served.office.shared.buffers.are_left:
                await asyncio.sleep(0)
            for _ in range(500):  # rounds in which more could be lent
                await asyncio.sleep(0)
            for number, line in zip(numbers, lines, strict=True):
                answer = asyncio.ensure_future(line.answer(number))
                while not answer.done():
                    disk.release()
                    await asyncio.sleep(0)
                assert isinstance(answer.result(), PartPut)
        assert served.office.shared.buffers.lent == 0
        for line in lines:
            await line.close()
    assert bound <= max(lent) <= bound + EACH_HOLDS + 1


async def test_however_many_parts_are_asked_for_few_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lent: list[int]
) -> None:
    monkeypatch.setattr("hushpost.server.parts.traffic.BUFFERS_SENT", 2)
    file = File(noise(PART_SIZE))
    async with on_disk(tmp_path) as (served, (keeper, alice), _):
        await file.upload(alice)
        lent.clear()
        lines = [await served.login(keeper) for _ in range(8)]
        for line in lines:
            line.write(file.get(0))
        for line in lines:
            assert isinstance(await line.receive(), PartContent)
            assert line.data == file.content
            await line.close()
    assert max(lent) == 2


async def test_a_part_that_is_there_already_needs_no_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "REVIEW_SECONDS", 60)
    file, slow = File(noise(PART_SIZE)), File(noise(PART_SIZE))
    async with on_disk(tmp_path) as (served, (keeper, alice), (_, bob)):
        await file.upload(alice)
        await bob.expect(BlobCreated, slow.create())
        bob.write_part(slow.put(0), slow.content, 1_000_000)
        async with asyncio.timeout(10):
            while not served.office.shared.turns._reading:
                await asyncio.sleep(0)
            for written in (3_000, 150_000):
                line = await served.login(keeper)
                number = line.write_part(file.put(0), file.content, written)
                assert isinstance(await line.answer(number), PartPut)
                line.write_data(file.content[written:])
                await line.expect(BlobStatus, file.status())
                await line.close()


async def test_messages_go_on_beside_a_part_that_does_not(tmp_path: Path) -> None:
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


async def test_a_slow_reader_costs_nobody_else(tmp_path: Path) -> None:
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


async def test_a_silent_line_keeps_no_part_from_another(tmp_path: Path) -> None:
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


async def test_slow_lines_hold_up_no_quick_one(tmp_path: Path) -> None:
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Envelopes wait for each of them. What one sends over two connections is not.

    Nor does much more wait to be decrypted; but who began while there were few has that turn as among few.
    """
    offered: defaultdict[int, list[int]] = defaultdict(list)
    waits: defaultdict[int, list[int]] = defaultdict(list)
    get_buffer = Connection.get_buffer

    def watched(connection: Connection, sizehint: int) -> memoryview:
        buffer = get_buffer(connection, sizehint)
        waiting = served.office.shared.turns.waiting
        offered[waiting].append(len(buffer))
        waits[waiting].append(undecrypted(connection))
        return buffer

    async def send(files: list[File], line: Client) -> None:
        for file in files:
            await line.expect(BlobCreated, file.create())
        asked = [line.write_part(file.put(0), file.content) for file in files]
        for number in asked:
            assert isinstance(await line.answer(number), PartPut)

    small, large = noise(180_000), noise(PART_SIZE)
    files = [[File(small if number % 2 else large) for _ in range(3)] for number in range(6)]
    async with on_disk(tmp_path) as (served, (keeper, alice), _):
        monkeypatch.setattr(Connection, "get_buffer", watched)
        lines = [alice, *[await served.login(keeper) for _ in files[1:]]]
        await asyncio.gather(send(files[0], lines[0]), send(files[2], lines[2]))
        assert max(offered[1]) == AT_ONCE
        assert max(offered) == 1
        offered.clear()
        await asyncio.gather(*map(send, files, lines))
        assert max(max(offered[count]) for count in offered if count > 1) == AMONG_MANY
        among = [size for count in waits if count > 1 for size in waits[count]]
        assert sum(size > AMONG_MANY + ONE_READ for size in among) < len(among) / 10
        for line in lines[1:]:
            await line.close()


async def test_a_slow_reader_gets_all_of_it_and_holds_no_buffer(tmp_path: Path) -> None:
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
