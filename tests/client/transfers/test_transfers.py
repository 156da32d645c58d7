"""Files from one client to another through the real server: every byte, and nothing besides."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from pathlib import Path

import pytest

from hushpost.client.api import Client
from hushpost.client.transfers import receiving
from hushpost.client.transfers.dialing import CONNECTIONS
from hushpost.client.transfers.partial import NoRoom
from hushpost.client.transfers.sources import SourceChanged
from hushpost.client.values import (
    Direction,
    Progress,
    Received,
    TransferEnded,
    TransferState,
)
from hushpost.crypto.filelayout import CHUNK, PART, SEALED_PART
from hushpost.errors import UnknownBlob, UsageError
from hushpost.ids import MessageId
from tests.client.people import first_event, in_time, until
from tests.client.transfers.hall import Pair, content_of, left_over

SIZES = (0, 1, *(border + step for border in (CHUNK, PART, 2 * PART) for step in (-1, 0, 1)), 20_000_000)


def names_below(folder: Path) -> set[str]:
    return {str(each.relative_to(folder)) for each in folder.rglob("*")}


async def test_every_size_comes_whole(pair: Pair) -> None:
    for size in SIZES:
        source = pair.file(size, f"{size}.bin")
        got = await pair.through(source)
        assert got == pair.inbox() / source.name
        assert got.read_bytes() == source.read_bytes()
    assert left_over(pair.inbox()) == []
    states = {each.state for each in await pair.alice.transfers() + await pair.bob.transfers()}
    assert states == {TransferState.DONE}


async def test_a_file_is_a_message_with_a_receipt(pair: Pair) -> None:
    sent = await pair.send(pair.file(1_000, "notes.txt"), caption="look at this")
    (message,) = [each for each in await pair.bob.history(pair.to_alice.account) if each.file]
    assert (message.id, message.text, message.ours) == (sent.id, "look at this", False)
    assert message.file is not None
    assert (message.file.name, message.file.size, message.file.media_type) == (
        "notes.txt",
        1_000,
        "text/plain",
    )
    (ours,) = [each for each in await pair.alice.history(pair.to_bob.account) if each.file]
    assert ours.file == message.file
    pair.bob._ctx.schedule.ring()
    ended = await in_time(first_event(pair.alice, TransferEnded))
    assert isinstance(ended, TransferEnded)
    assert (ended.message, ended.direction, ended.state) == (sent.id, Direction.SENT, TransferState.DONE)


async def test_progress_is_told_in_order(pair: Pair) -> None:
    told: list[Progress] = []
    source = pair.file(3 * PART)
    sent = await pair.alice.send_file(pair.to_bob.account, source, progress=told.append)
    assert told[0].carried == 0
    assert (told[-1].carried, told[-1].size) == (3 * PART, 3 * PART)
    assert [each.carried for each in told] == sorted(each.carried for each in told)
    await pair.offered(sent.id)
    told.clear()
    await pair.bob.receive_file(sent.id, pair.inbox(), progress=told.append)
    assert told[-1].carried == 3 * PART


async def test_an_error_of_the_callback_is_the_callers(pair: Pair) -> None:
    def broken(_: Progress) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await pair.alice.send_file(pair.to_bob.account, pair.file(100), progress=broken)


@pytest.mark.parametrize(
    ("hostile", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("/etc/shadow", "shadow"),
        ("..", "file"),
        ("-rf", "rf"),
        (".bashrc", "bashrc"),
        ("a\nb\x1b[2J", "a_b_[2J"),
        ("CON.txt", "_CON.txt"),
        ("x" * 255, "x" * 255),
    ],
)
async def test_hostile_names_stay_in_the_folder(pair: Pair, hostile: str, name: str) -> None:
    got = await pair.through(pair.file(10), name=hostile)
    assert got == pair.inbox() / name
    assert [each.name for each in pair.inbox().iterdir()] == [name]


async def test_nothing_is_overwritten(pair: Pair) -> None:
    (pair.inbox() / "file.bin").write_text("mine")
    source = pair.file(500)
    assert await pair.through(source) == pair.inbox() / "file (2).bin"
    assert await pair.through(source) == pair.inbox() / "file (3).bin"
    assert (pair.inbox() / "file.bin").read_text() == "mine"
    sent = await pair.send(source)
    with pytest.raises(UsageError, match="already"):
        await pair.bob.receive_file(sent.id, pair.inbox() / "file.bin")
    got = await pair.bob.receive_file(sent.id, pair.inbox() / "chosen")
    assert Path(got.path) == pair.inbox() / "chosen"


async def test_a_link_at_the_place_is_not_followed(pair: Pair) -> None:
    target = pair.folder / "target"
    (pair.inbox() / "file.bin").symlink_to(target)
    assert await pair.through(pair.file(500)) == pair.inbox() / "file (2).bin"
    assert not target.exists()


async def test_a_fetched_file_is_gone_from_the_server(pair: Pair) -> None:
    sent = await pair.send(pair.file(500))
    await pair.bob.receive_file(sent.id, pair.inbox())
    with pytest.raises(UsageError, match="before"):
        await pair.bob.receive_file(sent.id, pair.inbox())


async def test_sparse_files_stay_sparse(pair: Pair) -> None:
    source = pair.folder / "sparse"
    with source.open("wb") as file:
        file.write(b"begin")
        file.seek(9 * PART)
        file.write(b"end")
    got = await pair.through(source)
    assert got.read_bytes() == source.read_bytes()
    assert got.stat().st_blocks * 512 < PART


async def test_a_folder_comes_as_a_folder(pair: Pair) -> None:
    folder = pair.folder / "things"
    (folder / "inner" / "empty").mkdir(parents=True)
    (folder / "a").write_bytes(os.urandom(100_000))
    (folder / "inner" / "b c").write_bytes(os.urandom(PART))
    (folder / "zero").touch()
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    (folder / "link").symlink_to("/etc/passwd")
    sent = await pair.send(folder)
    assert "1 links" in sent.why
    got = Path((await pair.bob.receive_file(sent.id, pair.inbox())).path)
    found = names_below(got)
    assert found == {"a", "inner", "inner/b c", "inner/empty", "run", "zero"}
    for name in ("a", "inner/b c", "zero", "run"):
        assert (got / name).read_bytes() == (folder / name).read_bytes()
    assert os.access(got / "run", os.X_OK)
    assert left_over(pair.inbox()) == []


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART + 5])
async def test_pipes_of_every_size(pair: Pair, size: int) -> None:
    content = os.urandom(size)
    sent = await in_time(pair.alice.send_file(pair.to_bob.account, io.BytesIO(content), name="backup.tar"))
    await pair.offered(sent.id)
    got = await pair.bob.receive_file(sent.id, pair.inbox())
    assert content_of(got) == content
    assert sent.size == size
    assert list((pair.town.profile("alice") / "spools").iterdir()) == []


async def test_a_pipe_is_kept_sealed_until_the_server_has_it(pair: Pair) -> None:
    reader, writer = os.pipe()
    secret = b"nobody may read this on the disk" * 400_000
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "wb") as end:
        sending = asyncio.ensure_future(pair.alice.send_file(pair.to_bob.account, pipe, name="x"))
        await asyncio.to_thread(end.write, secret)
        end.flush()
        spools = pair.town.profile("alice") / "spools"

        async def is_spooled() -> bool:
            return spools.exists() and any(spools.rglob("0"))

        await until(is_spooled)
        disk = b"".join(each.read_bytes() for each in spools.rglob("*") if each.is_file())
        assert b"nobody may read" not in disk
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    assert list(spools.iterdir()) == []
    (lost,) = await in_time(pair.alice.resume())
    assert lost.state is TransferState.FAILED
    assert "cannot be read again" in lost.why


async def test_standard_output_as_destination(pair: Pair) -> None:
    source = pair.file(3 * PART + 17)
    sent = await pair.send(source)
    target = pair.folder / "out"
    with target.open("wb") as file:
        await in_time(pair.bob.stream_file(sent.id, file.fileno()))
    assert target.read_bytes() == source.read_bytes()
    assert (await pair.bob.transfer(sent.id)).state is TransferState.OFFERED
    assert (await pair.through(source)).read_bytes() == source.read_bytes()


async def test_nobody_reads_standard_output(pair: Pair) -> None:
    sent = await pair.send(pair.file(3 * PART))
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        await in_time(pair.bob.stream_file(sent.id, writer))
    os.close(writer)


async def test_a_source_that_changes_on_the_way_is_given_up_and_sent_anew(pair: Pair) -> None:
    source = pair.file(6 * PART)
    was_touched = False
    overwriting = threading.Thread(target=source.write_bytes, args=(os.urandom(6 * PART),))

    def touch(progress: Progress) -> None:
        nonlocal was_touched
        if progress.carried > PART and not was_touched:
            was_touched = True
            overwriting.start()

    with pytest.raises(SourceChanged):
        await in_time(pair.alice.send_file(pair.to_bob.account, source, progress=touch))
    await asyncio.to_thread(overwriting.join)
    (failed,) = await pair.alice.transfers()
    assert failed.state is TransferState.FAILED
    assert "changed" in failed.why
    restarted: list[bool] = []
    (done,) = await in_time(pair.alice.resume(progress=lambda each: restarted.append(each.restarted)))
    assert done.state is TransferState.DONE
    assert any(restarted)
    await pair.offered(done.id)
    got = await pair.bob.receive_file(done.id, pair.inbox())
    assert content_of(got) == source.read_bytes()


async def test_a_source_that_is_gone_fails(pair: Pair) -> None:
    source = pair.file(2 * PART)
    sending = asyncio.ensure_future(pair.alice.send_file(pair.to_bob.account, source))

    async def has_begun() -> bool:
        return bool(await pair.alice.transfers())

    await until(has_begun)
    sending.cancel()
    await asyncio.wait([sending])
    if sending.cancelled():
        source.unlink()
        (failed,) = await in_time(pair.alice.resume())
        assert failed.state is TransferState.FAILED


@pytest.mark.parametrize("again", [1, 2])
async def test_both_sides_go_on_after_an_interruption(pair: Pair, again: int) -> None:
    source = pair.file(8 * PART)
    begun_only = CONNECTIONS * SEALED_PART  # so much may be under way, and nothing through

    async def interrupted(client: Client, work: str, message: MessageId | None = None) -> None:
        enough = asyncio.Event()

        def watch(progress: Progress) -> None:
            if progress.carried > begun_only * again:
                enough.set()

        if work == "send":
            task = asyncio.ensure_future(client.send_file(pair.to_bob.account, source, progress=watch))
        else:
            assert message is not None
            task = asyncio.ensure_future(client.receive_file(message, pair.inbox(), progress=watch))
        await in_time(enough.wait())
        task.cancel()
        await asyncio.wait([task])

    await interrupted(pair.alice, "send")
    begun: list[int] = []
    done = await in_time(pair.alice.resume(progress=lambda each: begun.append(each.carried)))
    name = (await pair.alice.transfers())[0].id
    assert not done or begun[0] >= PART
    await pair.offered(name)
    await interrupted(pair.bob, "receive", name)
    begun.clear()
    done = await in_time(pair.bob.resume(progress=lambda each: begun.append(each.carried)))
    assert not done or begun[0] >= PART
    assert (pair.inbox() / "file.bin").read_bytes() == source.read_bytes()
    assert left_over(pair.inbox()) == []


async def test_cancelling_a_running_upload(pair: Pair) -> None:
    begun = asyncio.Event()
    names: list[MessageId] = []

    def watch(progress: Progress) -> None:
        names.append(progress.id)
        begun.set()

    source = pair.file(6 * PART)
    sending = asyncio.ensure_future(pair.alice.send_file(pair.to_bob.account, source, progress=watch))
    await in_time(begun.wait())
    assert (await pair.alice.transfer(names[0])).state is TransferState.RUNNING
    cancelled = await in_time(pair.alice.cancel(names[0]))
    assert cancelled.state is TransferState.CANCELLED
    await in_time(asyncio.wait([sending]))
    assert await pair.alice.resume() == []


async def test_refusing_an_offer_lets_the_server_forget_it(pair: Pair) -> None:
    sent = await pair.send(pair.file(1_000))
    assert (await in_time(pair.bob.cancel(sent.id))).state is TransferState.CANCELLED
    with pytest.raises(UsageError):
        await pair.bob.receive_file(sent.id, pair.inbox())


async def test_two_processes_do_not_carry_the_same_file(pair: Pair) -> None:
    sent = await pair.send(pair.file(6 * PART))
    begun = asyncio.Event()
    first = asyncio.ensure_future(
        pair.bob.receive_file(sent.id, pair.inbox(), progress=lambda _: begun.set())
    )
    await in_time(begun.wait())
    async with Client.open(pair.town.profile("bob")) as other:
        with pytest.raises(UsageError, match="another process"):
            await other.receive_file(sent.id, pair.inbox())
        await in_time(first)
        assert (await other.transfer(sent.id)).state is TransferState.DONE
    assert [each.name for each in pair.inbox().iterdir()] == ["file.bin"]


async def test_a_process_that_is_not_connected_carries_files_all_the_same(pair: Pair) -> None:
    source = pair.file(PART + 1)
    async with Client.open(pair.town.profile("alice")) as other:
        sent = await in_time(other.send_file(pair.to_bob.account, source))
    await pair.offered(sent.id)
    got = await pair.bob.receive_file(sent.id, pair.inbox())
    assert content_of(got) == source.read_bytes()


async def test_no_room_is_seen_before_anything_is_written(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = await pair.send(pair.file(2 * PART))

    def full(folder: Path, size: int) -> None:
        raise NoRoom(size, 0)

    with monkeypatch.context() as inside:
        inside.setattr(receiving, "check_room", full)
        with pytest.raises(NoRoom):
            await pair.bob.receive_file(sent.id, pair.inbox())
    assert list(pair.inbox().iterdir()) == []
    (got,) = await in_time(pair.bob.resume())
    assert got.state is TransferState.DONE
    assert got.path == str(pair.inbox() / "file.bin")


async def test_what_is_wrong_is_said_before_anything_is_begun(pair: Pair) -> None:
    with pytest.raises(UsageError):
        await pair.alice.send_file(pair.to_bob.account, pair.folder / "nothing")
    with pytest.raises(UsageError):
        await pair.alice.send_file(pair.to_bob.account, Path("/dev/zero"))
    with pytest.raises(UsageError):
        await pair.alice.send_file(pair.to_bob.account, pair.file(1), name="x" * 256)
    with pytest.raises(UsageError):
        await pair.bob.receive_file(MessageId.random(), pair.inbox())
    with pytest.raises(UsageError):
        await pair.bob.cancel(MessageId.random())
    assert await pair.alice.transfers() == []
    sent = await pair.send(pair.file(1))
    with pytest.raises(UsageError):
        await pair.bob.receive_file(sent.id, pair.folder / "no" / "folder")


async def test_small_files_of_contacts_are_fetched_unasked(pair: Pair) -> None:
    await pair.bob.fetch_unasked(below=1_000, folder=pair.inbox())
    await pair.send(pair.file(1_000, "small"))
    await pair.send(pair.file(1_001, "large"))
    await in_time(pair.bob.collect())
    assert [each.name for each in pair.inbox().iterdir()] == ["small"]
    assert await pair.bob.collect() == []


async def test_nothing_is_fetched_unasked_by_default_or_of_strangers(pair: Pair) -> None:
    await pair.send(pair.file(10, "unasked"))
    assert await pair.bob.collect() == []
    await pair.bob.fetch_unasked(below=1_000, folder=pair.inbox())
    await pair.town.join("carol")
    async with pair.town.open("carol") as (carol,):
        stranger = await carol.add(pair.town.link("bob"))
        sent = await in_time(carol.send_file(stranger.account, pair.file(10, "stranger")))
        await pair.offered(sent.id)
    assert await pair.bob.collect() == []
    assert list(pair.inbox().iterdir()) == []
    assert (await pair.bob.transfer(sent.id)).state is TransferState.OFFERED


async def test_the_offer_of_a_blocked_person_is_dropped(pair: Pair) -> None:
    await pair.bob.block(pair.to_alice.account)
    await in_time(pair.alice.send_file(pair.to_bob.account, pair.file(10)))
    await pair.bob.settled()
    assert await pair.bob.transfers() == []


async def test_an_event_tells_of_the_offer(pair: Pair) -> None:
    sent = await pair.send(pair.file(10, "told.txt"))
    received = [each.message for each in await pair.bob.pending("judge") if isinstance(each, Received)]
    (found,) = [each for each in received if each.file is not None]
    assert found.id == sent.id


async def test_a_file_that_has_expired_is_said_to_be_gone(pair: Pair) -> None:
    sent = await pair.send(pair.file(10))
    offer = await pair.bob._ctx.db.reading(lambda t: t.downloads.offer(pair.to_alice.account, sent.id))
    assert offer is not None
    fetcher = receiving.Fetcher(pair.bob._ctx)
    (download,) = await pair.bob._ctx.db.reading(lambda t: t.downloads.called(sent.id))
    await fetcher.release(download)
    await pair.bob._ctx.change(
        lambda t: t.downloads._db.run("UPDATE download SET released = 0, offer = ?", offer.encode())
    )
    with pytest.raises(UnknownBlob):
        await pair.bob.receive_file(sent.id, pair.inbox())
    assert list(pair.inbox().glob("file*")) == []
