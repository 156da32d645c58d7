"""A server that lies about files: nobody gets a wrong byte, nothing has its name, nothing is released."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import msgspec
import pytest

from hushpost.client.transfers.dialing import CONNECTIONS
from hushpost.client.values import TransferState
from hushpost.crypto.filelayout import PART, SEALED_CHUNK, SEALED_PART
from hushpost.errors import FileError, HushpostError
from hushpost.wire.messages import BlobStatus, RequestMessage, ResponseMessage
from tests.client.depot import Blob
from tests.client.people import in_time
from tests.client.transfers.hall import Hall, content_of, left_over

Lie = Callable[[Blob, int, bytes], bytes]


def flipped(_: Blob, number: int, part: bytes) -> bytes:
    if number != 1:
        return part
    return part[:70_000] + bytes([part[70_000] ^ 1]) + part[70_001:]


def swapped(blob: Blob, number: int, part: bytes) -> bytes:
    return blob.parts.get(number ^ 1, part)


def truncated(_: Blob, number: int, part: bytes) -> bytes:
    return part[:-SEALED_CHUNK] if number == 2 else part


def without_a_byte(_: Blob, number: int, part: bytes) -> bytes:
    return part[:-1] if number == 0 else part


def extended(blob: Blob, number: int, part: bytes) -> bytes:
    return part if number != max(blob.parts) else part + bytes(SEALED_CHUNK)


def empty(_: Blob, number: int, part: bytes) -> bytes:
    return b"" if number == 1 else part


def random(_: Blob, _number: int, part: bytes) -> bytes:
    return os.urandom(len(part))


def chunks_swapped(_: Blob, number: int, part: bytes) -> bytes:
    first, second = part[16 : 16 + SEALED_CHUNK], part[16 + SEALED_CHUNK : 16 + 2 * SEALED_CHUNK]
    return part[:16] + second + first + part[16 + 2 * SEALED_CHUNK :]


LIES = (flipped, swapped, truncated, without_a_byte, extended, empty, random, chunks_swapped)


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
async def test_parts_that_are_not_what_was_sent(hall: Hall, lie: Lie) -> None:
    depot = hall.town.server.depot
    source = hall.file(3 * PART + 100_000)
    sent = await hall.send(source)
    honest, depot.twist_part = depot.twist_part, lie
    with pytest.raises(FileError):
        await in_time(hall.bob.receive_file(sent.id, hall.inbox()))
    assert not list(hall.inbox().glob("file*"))
    assert (await hall.bob.transfer(sent.id)).state is TransferState.FAILED
    (blob,) = depot.blobs.values()
    assert blob.releases
    assert max(depot.got.count(number) for number in range(4)) <= 3
    depot.twist_part = honest
    await in_time(hall.bob.resume())
    assert (hall.inbox() / "file.bin").read_bytes() == source.read_bytes()
    assert left_over(hall.inbox()) == []
    assert not depot.blobs


async def test_a_part_that_is_spoilt_once_is_fetched_again(hall: Hall) -> None:
    depot = hall.town.server.depot
    source = hall.file(2 * PART)
    sent = await hall.send(source)
    depot.twist_part = lambda blob, number, part: (
        flipped(blob, number, part) if depot.got.count(1) == 1 else part
    )
    got = await in_time(hall.bob.receive_file(sent.id, hall.inbox()))
    assert content_of(got) == source.read_bytes()


@pytest.mark.parametrize("lie", [flipped, truncated, random], ids=lambda lie: lie.__name__)
async def test_a_pipe_gets_whole_parts_only(hall: Hall, lie: Lie) -> None:
    source = hall.file(3 * PART)
    sent = await hall.send(source)
    hall.town.server.depot.twist_part = lie
    target = hall.folder / "out"
    with target.open("wb") as file, pytest.raises(FileError):
        await in_time(hall.bob.stream_file(sent.id, file.fileno()))
    written = target.read_bytes()
    assert source.read_bytes().startswith(written)
    assert len(written) % PART == 0


def with_digests(change: Callable[[list[bytes]], list[bytes]]) -> Callable[..., ResponseMessage]:
    def twist(_: RequestMessage, answer: ResponseMessage) -> ResponseMessage:
        if isinstance(answer, BlobStatus):
            return msgspec.structs.replace(answer, digests=change(answer.digests))
        return answer

    return twist


LISTS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "in another order": lambda digests: digests[::-1],
    "one is another": lambda digests: [bytes(32), *digests[1:]],
    "one is missing": lambda digests: [b"", *digests[1:]],
    "one is there twice": lambda digests: [digests[0], *digests[:-1]],
    "none": lambda _: [],
}


@pytest.mark.parametrize("change", LISTS.values(), ids=LISTS)
async def test_lists_of_parts_that_the_offer_does_not_vouch_for(
    hall: Hall, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    sent = await hall.send(hall.file(3 * PART))
    depot = hall.town.server.depot
    hall.town.server.twist = with_digests(change)
    with pytest.raises(HushpostError):
        await in_time(hall.bob.receive_file(sent.id, hall.inbox()))
    assert depot.got == []
    assert not list(hall.inbox().glob("file*"))


@pytest.mark.parametrize("change", LISTS.values(), ids=LISTS)
async def test_an_uploader_believes_no_digest_but_its_own(
    hall: Hall, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    """What is offered in the end is what was sealed here, or nothing."""
    hall.town.server.twist = with_digests(lambda digests: change(digests) if any(digests) else digests)
    with pytest.raises(HushpostError):
        await in_time(hall.alice.send_file(hall.to_bob.account, hall.file(3 * PART)))
    assert [each for each in await hall.alice.history(hall.to_bob.account) if each.file] == []


async def test_a_server_that_says_it_has_parts_is_given_them_once_it_forgets(hall: Hall) -> None:
    """After a restart without its disk everything is sent again, under new nonces."""
    source = hall.file(4 * PART)
    server, depot = hall.town.server, hall.town.server.depot
    lines = set(server.connections)
    enough = asyncio.Event()
    sending = asyncio.ensure_future(
        hall.alice.send_file(
            hall.to_bob.account,
            source,
            progress=lambda each: enough.set() if each.carried > CONNECTIONS * SEALED_PART else None,
        )
    )
    await in_time(enough.wait())
    sending.cancel()
    await asyncio.wait([sending])
    async with asyncio.timeout(10):
        while server.connections - lines:  # it has taken what was on its way
            await asyncio.sleep(0)
    before = {part[:16] for blob in depot.blobs.values() for part in blob.parts.values()}
    assert before
    depot.blobs.clear()
    depot.put.clear()
    (done,) = await in_time(hall.alice.resume())
    assert sorted(depot.put) == list(range(len(depot.put)))
    after = {part[:16] for blob in depot.blobs.values() for part in blob.parts.values()}
    assert not before & after
    await hall.offered(done.id)
    got = await in_time(hall.bob.receive_file(done.id, hall.inbox()))
    assert content_of(got) == source.read_bytes()


async def test_a_changed_source_shares_nothing_with_what_was_sent(hall: Hall) -> None:
    """Other keys, another blob: see docs/spec/files.md, "Sending", rule 3."""
    source = hall.file(6 * PART)
    depot = hall.town.server.depot
    enough = asyncio.Event()
    sending = asyncio.ensure_future(
        hall.alice.send_file(
            hall.to_bob.account,
            source,
            progress=lambda each: enough.set() if each.carried > PART else None,
        )
    )
    await in_time(enough.wait())
    sending.cancel()
    await asyncio.wait([sending])
    (old,) = list(depot.blobs)
    source.write_bytes(os.urandom(6 * PART))
    (done,) = await in_time(hall.alice.resume())
    (new,) = depot.blobs  # what was sent of the old state would count against the sender until it expires
    assert new != old
    assert depot.blobs[new].committed
    await hall.offered(done.id)
    got = await in_time(hall.bob.receive_file(done.id, hall.inbox()))
    assert content_of(got) == source.read_bytes()
