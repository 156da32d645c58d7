"""Nothing lost without acknowledgements: what may be deleted, and what a reader may do to prevent it."""

from __future__ import annotations

import asyncio
import gc
import select
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushpost.classic.payloads import ClientId, MessageType
from hushpost.classic.server.buffers import BUFFER_COUNT
from hushpost.classic.server.channel import Channel
from hushpost.classic.server.fetch import Handover, Proof, await_proof
from hushpost.ids import MailboxId
from hushpost.settings import ListenLimits
from hushpost.stores.base import Delivery, Envelope, Send
from tests.classic.server.serving import (
    ALICE,
    BOB,
    Peer,
    Served,
    fetch_request,
    parse_messages,
    register_request,
    send_request,
    serving,
)

LARGE = bytes(range(256)) * 4096 * 12
"""12 MiB: more than the kernel takes at once on loopback."""


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as served:
        yield served


async def fill(served: Served, *contents: bytes) -> None:
    for content in contents:
        assert len(await served.exchange(send_request(ALICE, BOB, content, MessageType.FILE))) == 27


async def settled(served: Served) -> None:
    """Wait until no delivery to bob is under way: a newer fetch waits for the older to conclude."""
    async with await served.connect() as peer:
        await peer.send(fetch_request(BOB))
        await peer.receive(7)
        peer.reset()


async def contents(served: Served) -> list[bytes]:
    return [content for _, content in await served.fetch(BOB)]


async def test_a_reader_that_reads_all_and_leaves_has_its_messages_deleted(served: Served) -> None:
    await fill(served, b"one", b"", LARGE, b"two")
    assert await contents(served) == [b"one", b"", LARGE, b"two"]
    assert await contents(served) == []
    assert served.leftovers() == []


async def test_the_original_reader_that_closes_without_waiting_for_the_end(served: Served) -> None:
    """It reads the header, then exactly the payload, then closes at once."""
    await fill(served, b"one", b"two")
    async with await served.connect() as peer:
        await peer.send(fetch_request(BOB))
        header = await peer.receive(7)
        await peer.receive(int.from_bytes(header[3:], "little"))
    assert await contents(served) == []


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("read", [0, 1, 7, 20, 7 + 25 + 3, 7 + 25 + 3 + 25, 1_000_000])
async def test_a_reader_that_leaves_in_the_middle_loses_nothing(
    served: Served, read: int, leave: str
) -> None:
    await fill(served, b"one", LARGE, b"two")
    async with await served.connect() as peer:
        await peer.send(fetch_request(BOB))
        await peer.receive(read)
        if leave == "reset":
            peer.reset()
    assert await contents(served) == [b"one", LARGE, b"two"]


@pytest.mark.parametrize("read", range(0, 7 + 2 * (25 + 3), 5))
async def test_small_inbox_dropped_at_any_byte(served: Served, read: int) -> None:
    """Everything is in the reader's kernel long before it leaves: only its reset tells."""
    await fill(served, b"one", b"two")
    async with await served.connect() as peer:
        await peer.send(fetch_request(BOB))
        await peer.receive(read)
    assert await contents(served) == [b"one", b"two"]


async def test_a_reader_that_ended_its_side_before_sees_messages_twice(served: Served) -> None:
    """Its end-of-file proves nothing; the second full delivery is taken for enough. Count: 2."""
    await fill(served, b"one", LARGE)

    async def fetch_half_closed() -> list[bytes]:
        async with await served.connect() as peer:
            await peer.send(fetch_request(BOB))
            peer.half_close()
            return [content for _, content in parse_messages(await peer.receive_all())]

    shown = [await fetch_half_closed()]
    await fill(served, b"three")
    shown += [await fetch_half_closed() for _ in range(3)]
    assert shown == [[b"one", LARGE], [b"one", LARGE, b"three"], [b"three"], []]
    assert served.leftovers() == []


async def test_half_closed_readers_that_drop_are_no_full_delivery(served: Served) -> None:
    await fill(served, LARGE)
    for _ in range(3):
        async with await served.connect() as peer:
            await peer.send(fetch_request(BOB))
            peer.half_close()
            await peer.receive(100_000)
    assert await contents(served) == [LARGE]


async def test_a_newer_fetch_ends_the_older(served: Served) -> None:
    await fill(served, LARGE)
    async with await served.connect() as stalled:
        await stalled.send(fetch_request(BOB))
        await stalled.receive(7)
        assert await contents(served) == [LARGE]
        with pytest.raises(AssertionError):  # it was broken off: shorter than its header says
            parse_messages(b"\2\xec\3" + b"\xff" * 4 + await stalled.receive_all())
    assert await contents(served) == []


async def test_a_fetch_right_after_a_good_leave_does_not_repeat(served: Served) -> None:
    """The end-of-file of the first may still be unread when the second request is handled."""
    for round_number in range(30):
        await fill(served, str(round_number).encode())
        async with await served.connect() as early:
            second = await served.connect()
            await early.send(fetch_request(BOB))
            assert len(parse_messages(await early.receive_all())) == 1
        async with second:
            await second.send(fetch_request(BOB))
            assert parse_messages(await second.receive_all()) == []


async def wait_for_reset(peer: Peer) -> None:
    """Read nothing, until the server has reset the connection."""
    poll = select.poll()
    poll.register(peer.socket, 0)
    (_, events), *_ = await asyncio.to_thread(poll.poll, 10_000)
    assert events & select.POLLERR


async def test_a_reader_that_stalls_meets_the_deadline_and_loses_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, ListenLimits(request_deadline=0.2, min_rate=1 << 30)) as served:
        await fill(served, LARGE)
        async with await served.connect() as stalled:
            await stalled.send(fetch_request(BOB))
            await stalled.receive(7)
            await wait_for_reset(stalled)
        assert await contents(served) == [LARGE]


async def test_a_reader_that_never_leaves_meets_the_deadline_and_sees_its_messages_again(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, ListenLimits(request_deadline=0.2)) as served:
        await fill(served, b"one")
        async with await served.connect() as staying:
            await staying.send(fetch_request(BOB))
            assert len(parse_messages(await staying.receive_all())) == 1
            await settled(served)
        assert await contents(served) == [b"one"]


async def test_large_inboxes_come_in_portions_of_whole_messages(tmp_path: Path) -> None:
    async with serving(tmp_path, handover=Handover(portion=100_000)) as served:
        sent = [bytes([number]) * 30_000 for number in range(10)]
        await fill(served, *sent, bytes(150_000), b"last")
        fetched = [await contents(served) for _ in range(6)]
        assert [len(portion) for portion in fetched] == [3, 3, 3, 1, 1, 1]
        assert [content for portion in fetched for content in portion] == [
            *sent,
            bytes(150_000),
            b"last",
        ]
        assert await contents(served) == []


async def test_more_messages_than_one_page(served: Served) -> None:
    body = bytes(50)
    header = ALICE + bytes([MessageType.TEXT])
    for _ in range(2_500):
        await served.store.append(Send((Delivery(MailboxId(BOB), header),), body))
    messages = await served.fetch(BOB)
    assert [header.message_id for header, _ in messages] == list(range(1, 2_501))
    assert await contents(served) == []


async def test_what_comes_during_a_delivery_waits_for_the_next(served: Served) -> None:
    await fill(served, LARGE)
    async with await served.connect() as peer:
        await peer.send(fetch_request(BOB))
        start = await peer.receive(1 << 20)
        await fill(served, b"newer")
        assert len(parse_messages(start + await peer.receive_all())) == 1
    assert await contents(served) == [b"newer"]


async def test_stalled_readers_do_not_hold_the_shared_buffers(served: Served) -> None:
    await fill(served, LARGE)
    peers: list[Peer] = []
    for number in range(BUFFER_COUNT + 2):
        reader = ClientId((await served.exchange(register_request(f"reader {number}")))[7:])
        assert len(await served.exchange(send_request(ALICE, reader, LARGE, MessageType.FILE))) == 27
        peers.append(await served.connect())
        await peers[-1].send(fetch_request(reader))
        assert await peers[-1].receive(1 << 16)  # and no more: its answer is stuck from here on
    assert await contents(served) == [LARGE]
    for peer in peers:
        peer.close()


async def test_behind_a_relay_how_a_reader_leaves_proves_nothing(tmp_path: Path) -> None:
    """A relay acknowledges what its client never gets, and passes a reset on as an orderly end."""
    async with serving(tmp_path, handover=Handover(relayed=True)) as served:
        await fill(served, b"one", LARGE)
        assert await contents(served) == [b"one", LARGE]
        await fill(served, b"two")
        assert await contents(served) == [b"one", LARGE, b"two"]
        assert await contents(served) == [b"two"]
        assert await contents(served) == []


async def test_a_newer_fetch_resets_one_that_has_everything_and_stays(served: Served) -> None:
    """So that it does not show what the newer one shows, too."""
    await fill(served, b"one")
    async with await served.connect() as staying:
        await staying.send(fetch_request(BOB))
        assert len(parse_messages(await staying.receive_all())) == 1
        newer = asyncio.ensure_future(contents(served))
        await wait_for_reset(staying)
        assert await newer == [b"one"]


async def test_readers_that_stall_hold_no_memory(served: Served) -> None:
    """Of a page that does not fit into the kernel nothing is kept: it is read again later."""
    texts = [bytes([number]) * 60_000 for number in range(200)]
    for text in texts:
        await served.store.append(Send((Delivery(MailboxId(BOB), ALICE + bytes([MessageType.TEXT])),), text))
    async with await served.connect() as stalled:
        await stalled.send(fetch_request(BOB))
        start = await stalled.receive(100_000)
        await asyncio.to_thread(gc.collect)
        held = [each for each in gc.get_objects() if isinstance(each, list) and len(each) > 1]
        entries = [each for each in held if isinstance(each[0], tuple) and isinstance(each[0][0], Envelope)]
        assert entries == []
        messages = parse_messages(start + await stalled.receive_all())
    assert [content for _, content in messages] == texts
    assert await contents(served) == []


async def choking(served: Served, bad: bytes) -> list[bytes]:
    """Fetch as the original does: give up at a bad message, with the rest unread."""
    async with await served.connect() as peer:
        await peer.send(fetch_request(BOB))
        size = int.from_bytes((await peer.receive(7))[3:], "little")
        shown: list[bytes] = []
        while size:
            entry = await peer.receive(25)
            shown.append(await peer.receive(int.from_bytes(entry[21:], "little")))
            size -= 25 + len(shown[-1])
            if shown[-1] == bad:
                break
        return shown


async def test_a_message_at_which_the_reader_gives_up_does_not_block_its_inbox(served: Served) -> None:
    before, behind = [b"%d" % number for number in range(5)], [b"behind", b"last"]
    await fill(served, *before, b"bad", *behind)
    fetches = [await choking(served, b"bad") for _ in range(16)]
    assert fetches[:3] == 3 * [[*before, b"bad"]]
    assert fetches[3] == before[:1]
    assert behind in fetches or [behind[0]] in fetches
    assert await served.waiting(BOB) == 0


async def test_setbacks_are_overcome_in_growing_portions(served: Served) -> None:
    await fill(served, *(bytes(600) for _ in range(9)))
    for _ in range(3):
        async with await served.connect() as peer:
            await peer.send(fetch_request(BOB))
            await peer.receive(100)
    assert [len(await contents(served)) for _ in range(4)] == [1, 1, 7, 0]


async def test_a_newer_fetch_does_not_undo_a_proof() -> None:
    """It may be handled when the older reader's end has come, and nobody has looked at it yet."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        reader = await Peer.connect(listener.getsockname())
        accepted, _ = await loop.sock_accept(listener)
    channel = Channel(loop, accepted)
    channel.send(b"the answer")
    channel.half_close()
    assert await reader.receive_all() == b"the answer"
    reader.close()
    await channel.readable()
    channel.interrupt()
    assert await await_proof(channel, ended_early=False) is Proof.READ
    channel.close()
