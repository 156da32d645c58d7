"""Transfers in the way of each other, of their user, and of what else goes on on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import select
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from hushpost.client.store import Offered
from hushpost.client.store.downloads import DownloadTable
from hushpost.client.threads import Check
from hushpost.client.transfers import dialing, downloading, finishing, receiving
from hushpost.client.transfers.dialing import CONNECTIONS
from hushpost.client.transfers.finishing import Note
from hushpost.client.transfers.naming import Place
from hushpost.client.transfers.partial import NoRoom, PartialFile
from hushpost.client.values import Progress, TransferState
from hushpost.crypto.filelayout import CHUNK, PART
from hushpost.errors import FileError, Unreachable, UsageError
from tests.client.depot import Blob
from tests.client.people import in_time, until
from tests.client.transfers.hall import Hall, Pair, content_of, left_over

SIX_PARTS = 376 * CHUNK
"""Bytes, with which no padding begins a seventh."""


def full(_: Path, size: int) -> None:
    raise NoRoom(size, 0)


async def test_what_another_put_under_the_name_is_never_taken_for_the_file(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the server would be told to delete the only copy."""
    source = pair.file(4 * PART)
    sent = await pair.send(source)
    wanted, other = pair.inbox() / "wanted", pair.folder / "other"
    other.mkdir()
    begun = asyncio.Event()
    getting = asyncio.ensure_future(pair.bob.receive_file(sent.id, wanted, progress=lambda _: begun.set()))
    await in_time(begun.wait())
    wanted.write_text("mine")
    with pytest.raises(UsageError, match="by now"):
        await in_time(getting)
    (waiting,) = await in_time(pair.bob.resume())
    assert waiting.state is TransferState.WAITING
    assert "of this name already" in waiting.why
    with monkeypatch.context() as inside:
        inside.setattr(receiving, "check_room", full)
        with pytest.raises(NoRoom):
            await pair.bob.receive_file(sent.id, other)
    assert len(left_over(pair.inbox())) == 1  # what has come is kept, as is said
    (got,) = await in_time(pair.bob.resume())
    assert Path(got.path).parent == other
    assert content_of(got) == source.read_bytes()
    assert wanted.read_text() == "mine"
    assert left_over(pair.inbox()) == []


async def test_what_an_attempt_left_elsewhere_is_gone_before_it_is_forgotten(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or, where the next one breaks off at once, nobody would ever know of it again."""
    sent = await pair.send(pair.file(4 * PART))
    other = pair.folder / "other"
    other.mkdir()
    begun = asyncio.Event()
    getting = asyncio.ensure_future(
        pair.bob.receive_file(sent.id, pair.inbox(), progress=lambda _: begun.set())
    )
    await in_time(begun.wait())
    getting.cancel()
    await asyncio.wait([getting])
    assert len(left_over(pair.inbox())) == 1

    def failing(path: Path, size: int) -> PartialFile:
        raise OSError(errno.EIO, "the disk has failed")

    monkeypatch.setattr(PartialFile, "create", failing)
    with pytest.raises(OSError, match="failed"):
        await in_time(pair.bob.receive_file(sent.id, other))
    assert left_over(pair.inbox()) == left_over(other) == []


async def test_cancelling_what_is_just_getting_its_name(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is at work behind it, and nothing appears later."""
    folder = pair.folder / "things"
    folder.mkdir()
    (folder / "file").touch()
    sent = await pair.send(folder)
    unpacking, loop = asyncio.Event(), asyncio.get_running_loop()

    def slow(partial: Path, place: Place, hostile: str, note: Note, check: Check) -> Path:
        loop.call_soon_threadsafe(unpacking.set)
        while True:
            check()

    monkeypatch.setattr(receiving, "finish_folder", slow)
    getting = asyncio.ensure_future(pair.bob.receive_file(sent.id, pair.inbox()))
    await in_time(unpacking.wait())
    cancelled = await in_time(pair.bob.cancel(sent.id))
    assert cancelled.state is TransferState.CANCELLED
    await in_time(getting)
    assert list(pair.inbox().iterdir()) == []


async def test_what_is_through_cannot_be_cancelled(pair: Pair) -> None:
    sent = await pair.send(pair.file(10))
    got = await in_time(pair.bob.receive_file(sent.id, pair.inbox()))
    for client in (pair.alice, pair.bob):
        with pytest.raises(UsageError, match="through already"):
            await client.cancel(sent.id)
    assert (await pair.bob.transfer(sent.id)).state is TransferState.DONE
    assert content_of(got) == (pair.folder / "file.bin").read_bytes()
    refused = await pair.send(pair.file(10))
    await pair.bob.cancel(refused.id)
    with pytest.raises(UsageError, match="cancelled before"):
        await pair.bob.cancel(refused.id)


async def test_a_reader_that_takes_nothing_can_be_left(pair: Pair) -> None:
    sent = await pair.send(pair.file(2 * PART))
    reader, writer = os.pipe()

    async def is_full() -> bool:
        return not select.select([], [writer], [], 0)[1]

    streaming = asyncio.ensure_future(pair.bob.stream_file(sent.id, writer))
    await until(is_full)
    streaming.cancel()
    await in_time(asyncio.wait([streaming]))
    assert streaming.cancelled()
    os.close(reader)
    os.close(writer)


async def test_a_folder_for_unasked_files_that_is_gone(pair: Pair) -> None:
    inbox = pair.inbox()
    await pair.bob.fetch_unasked(below=1_000, folder=inbox)
    sent = await pair.send(pair.file(10))
    inbox.rmdir()
    assert await in_time(pair.bob.collect()) == []
    assert not inbox.exists()
    inbox.mkdir()
    (got,) = await in_time(pair.bob.collect())
    assert (got.id, Path(got.path)) == (sent.id, inbox / "file.bin")


async def test_nobody_waits_for_what_nobody_asked_for(hall: Hall) -> None:
    """`in_time` is shorter than the patience with a transfer that somebody wants."""
    await hall.bob.fetch_unasked(below=1_000, folder=hall.inbox())
    for number in range(3):
        await hall.send(hall.file(10, f"{number}.bin"))
    await hall.town.server.stop()
    assert await in_time(hall.bob.collect()) == []
    await hall.town.server.start()
    assert len(await in_time(hall.bob.collect())) == 3


async def test_whoever_looks_on_is_told_why_it_stands_still(hall: Hall) -> None:
    """At once, while it is tried again; and that it goes on."""
    told: list[Progress] = []
    stands_still = asyncio.Event()

    def look(progress: Progress) -> None:
        told.append(progress)
        if progress.held_up:
            stands_still.set()

    await hall.town.server.stop()
    sending = asyncio.ensure_future(
        hall.alice.send_file(hall.to_bob.account, hall.file(2 * PART), progress=look)
    )
    await in_time(stands_still.wait())
    assert (told[-1].carried, told[-1].size) == (0, 2 * PART)
    assert "no connection" in told[-1].held_up
    await hall.town.server.start()
    assert (await in_time(sending)).state is TransferState.DONE
    assert (told[-1].carried, told[-1].held_up) == (2 * PART, "")


async def test_cancelling_what_the_server_never_had(hall: Hall) -> None:
    await hall.town.server.stop()
    hall.alice._porter._patience = 0
    with pytest.raises(Unreachable):
        await in_time(hall.alice.send_file(hall.to_bob.account, hall.file(10)))
    await hall.town.server.start()
    (waiting,) = await hall.alice.transfers()
    assert (await in_time(hall.alice.cancel(waiting.id))).state is TransferState.CANCELLED


async def test_a_pipe_gets_the_rest_when_the_server_is_back(hall: Hall) -> None:
    source, depot = hall.file(5 * PART + 3), hall.town.server.depot
    sent = await hall.send(source)

    def cut_once(_: Blob, number: int, part: bytes) -> bytes:
        if number == 3 and depot.got.count(3) == 1:
            hall.town.server.cut()
        return part

    depot.twist_part = cut_once
    target = hall.folder / "out"
    with target.open("wb") as file:
        await in_time(hall.bob.stream_file(sent.id, file.fileno()))
    assert target.read_bytes() == source.read_bytes()
    assert depot.got.count(3) == 2
    assert depot.got.count(0) == 1


async def test_what_a_disk_has_lost_is_fetched_again(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync fails once, and takes with it whatever was written since the last one that did not."""
    monkeypatch.setattr(downloading, "SYNCED_TOGETHER", 2)
    source = pair.file(6 * PART)
    sent = await pair.send(source)
    write, sync = PartialFile.write, PartialFile.sync
    written: list[tuple[int, int]] = []
    syncs = itertools.count(1)

    def writing(self: PartialFile, offset: int, data: memoryview) -> None:
        write(self, offset, data)
        written.append((offset, len(data)))

    def syncing(self: PartialFile) -> None:
        lost = list(written)
        if next(syncs) == 3:
            for offset, size in lost:
                os.pwrite(self._file.handle, bytes(size), offset)
            raise OSError(errno.EIO, "the disk has lost something")
        sync(self)
        for each in lost:
            with contextlib.suppress(ValueError):
                written.remove(each)

    monkeypatch.setattr(PartialFile, "write", writing)
    monkeypatch.setattr(PartialFile, "sync", syncing)
    with pytest.raises(OSError, match="lost"):
        await in_time(pair.bob.receive_file(sent.id, pair.inbox()))
    (got,) = await in_time(pair.bob.resume())
    assert got.state is TransferState.DONE
    assert content_of(got) == source.read_bytes()


async def interrupted(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A download of six parts that is broken off before the last. Its partial file, which was not synced."""
    monkeypatch.setattr(downloading, "crew", partial(dialing.crew, count=1))
    depot = hall.town.server.depot
    sent = await hall.send(hall.file(SIX_PARTS))
    honest, depot.twist_part = depot.twist_part, lambda _blob, number, part: b"" if number == 5 else part
    with pytest.raises(FileError):
        await in_time(hall.bob.receive_file(sent.id, hall.inbox()))
    depot.twist_part = honest
    (found,) = await hall.bob.transfers()
    assert found.carried == 5 * PART
    depot.got.clear()
    (unfinished,) = hall.inbox().iterdir()
    return unfinished


async def test_what_was_noted_is_looked_at_again_before_it_counts(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a power cut: the notes have survived, but of two parts not all that they tell of."""
    unfinished = await interrupted(hall, monkeypatch)
    whole = (hall.folder / "file.bin").read_bytes()
    with unfinished.open("r+b") as file:
        file.seek(2 * PART - 1)
        file.write(bytes([whole[2 * PART - 1] ^ 1]))
        file.seek(3 * PART)
        file.write(bytes(PART))
    begun: list[int] = []
    (got,) = await in_time(hall.bob.resume(progress=lambda each: begun.append(each.carried)))
    assert content_of(got) == whole
    assert hall.town.server.depot.got == [1, 3, 5]
    assert 3 * PART in begun
    assert max(begun) == SIX_PARTS


async def test_what_was_noted_and_is_there_is_not_fetched_again(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    await interrupted(hall, monkeypatch)
    begun: list[int] = []
    synced: set[int] = set()
    keep = DownloadTable.synced

    def keeping(self: DownloadTable, download: Offered, numbers: Sequence[int]) -> None:
        synced.update(numbers)
        keep(self, download, numbers)

    monkeypatch.setattr(DownloadTable, "synced", keeping)
    (got,) = await in_time(hall.bob.resume(progress=lambda each: begun.append(each.carried)))
    assert content_of(got) == (hall.folder / "file.bin").read_bytes()
    assert begun[0] == 5 * PART
    assert synced == set(range(6))
    assert hall.town.server.depot.got == [5]


async def test_the_disk_has_all_of_it_before_it_gets_its_name(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def told(where: object, name: str) -> None:
        work = getattr(where, name)

        def telling(*args: object) -> object:
            result = work(*args)
            done.append(name)
            return result

        monkeypatch.setattr(where, name, telling)

    told(PartialFile, "write")
    told(PartialFile, "sync")
    told(finishing, "link_under")
    sent = await pair.send(pair.file(SIX_PARTS))
    await in_time(pair.bob.receive_file(sent.id, pair.inbox()))
    assert done.count("write") >= 6  # a part is written as it comes
    assert done[-2:] == ["sync", "link_under"]


async def test_what_was_synced_is_believed(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "SYNCED_TOGETHER", 5)
    await interrupted(hall, monkeypatch)

    def looked_at(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(PartialFile, "read", looked_at)
    (got,) = await in_time(hall.bob.resume())
    assert content_of(got) == (hall.folder / "file.bin").read_bytes()
    assert hall.town.server.depot.got == [5]


async def test_a_source_whose_time_was_set_back_has_changed(pair: Pair) -> None:
    source = pair.file(8 * PART)
    begun = asyncio.Event()

    def watch(progress: Progress) -> None:
        if progress.carried > CONNECTIONS * PART:  # then one part is through
            begun.set()

    sending = asyncio.ensure_future(pair.alice.send_file(pair.to_bob.account, source, progress=watch))
    await in_time(begun.wait())
    sending.cancel()
    await asyncio.wait([sending])
    before = source.stat()
    with source.open("r+b") as file:
        for number in range(8):
            file.seek(number * PART)
            file.write(b"another beginning")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    (done,) = await in_time(pair.alice.resume())
    assert done.state is TransferState.DONE
    await pair.offered(done.id)
    got = await in_time(pair.bob.receive_file(done.id, pair.inbox()))
    assert content_of(got) == source.read_bytes()
