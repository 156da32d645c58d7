"""Large contents on their way in: whole or not at all, in constant memory, blocking nobody."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hushpost.classic.payloads import (
    REFUSAL,
    STREAM_ABOVE,
    MessageType,
    Request,
    SendPrefix,
    request,
)
from hushpost.classic.server.buffers import BUFFER_COUNT
from hushpost.errors import StoreFailed
from hushpost.settings import ListenLimits
from hushpost.stores.base import Send, StoreLimits
from hushpost.stores.memory import MemoryStore
from tests.classic.server.serving import ALICE, BOB, Peer, Served, send_request, serving

LARGE = bytes(range(256)) * 4096 * 5
REQUEST = send_request(ALICE, BOB, LARGE, MessageType.FILE)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as served:
        yield served


async def begun(served: Served, sent: int) -> Peer:
    """An upload of which the server has taken the first `sent` bytes into a file."""
    peer = await served.connect()
    before = len(served.leftovers())
    await peer.send(REQUEST[:sent])
    await until(lambda: len(served.leftovers()) > before)
    return peer


async def until(condition: Callable[[], bool]) -> None:
    """Let the server work until this holds; the test's own time limit is the end of patience."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.parametrize("size", [0, 1, STREAM_ABOVE, STREAM_ABOVE + 1, 1 << 20, (1 << 20) + 1])
async def test_every_size_arrives_as_it_was(served: Served, size: int) -> None:
    content = LARGE[:size]
    assert len(await served.exchange(send_request(ALICE, BOB, content, MessageType.FILE))) == 27
    assert len(served.leftovers()) == (size > STREAM_ABOVE)
    ((header, received),) = await served.fetch(BOB)
    assert (header.content_size, header.message_type) == (size, MessageType.FILE)
    assert received == content
    assert await served.fetch(BOB) == []  # and so the deletion is over
    assert served.leftovers() == []


async def test_content_behind_a_pause_after_every_part(served: Served) -> None:
    async with await served.connect() as peer:
        for cut in (10, 22, 30, 43, 44, 70_000, 70_001, 1_500_000, len(REQUEST)):
            await peer.send(REQUEST[:cut][-(cut - _previous(cut)) :])
        assert len(await peer.receive_all()) == 27
    ((_, received),) = await served.fetch(BOB)
    assert received == LARGE


def _previous(cut: int) -> int:
    cuts = [0, 10, 22, 30, 43, 44, 70_000, 70_001, 1_500_000, len(REQUEST)]
    return cuts[cuts.index(cut) - 1]


@pytest.mark.parametrize("sent", [70_000, 3_000_000, len(REQUEST) - 1])
@pytest.mark.parametrize("leave", ["close", "reset", "half-close"])
async def test_half_an_upload_leaves_nothing_behind(served: Served, sent: int, leave: str) -> None:
    peer = await begun(served, sent)
    if leave == "half-close":
        peer.half_close()
        assert await peer.receive_all() == REFUSAL
        peer.close()
    elif leave == "reset":
        peer.reset()
    else:
        peer.close()
    await until(lambda: not served.leftovers())
    assert await served.waiting(BOB) == 0


async def test_upload_to_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    async with serving(tmp_path, store_limits=StoreLimits(min_free_bytes=1 << 62)) as served:
        assert await served.exchange(REQUEST) == REFUSAL
        assert served.leftovers() == []


async def test_slow_uploads_block_nobody(served: Served) -> None:
    """More of them than there are shared buffers, all stuck in the middle."""
    stuck = [await begun(served, 1_000_000) for _ in range(BUFFER_COUNT + 2)]
    assert len(await served.exchange(send_request(ALICE, BOB, b"small"))) == 27
    assert len(await served.exchange(REQUEST)) == 27
    for peer in stuck:
        await peer.send(REQUEST[1_000_000:])
        assert len(await peer.receive_all()) == 27
        peer.close()
    assert len(await served.fetch(BOB)) == len(stuck) + 2


async def test_upload_below_the_minimal_rate_meets_its_deadline(tmp_path: Path) -> None:
    async with serving(tmp_path, ListenLimits(request_deadline=0.2, min_rate=1 << 30)) as served:
        async with await begun(served, 1_000_000) as peer:
            assert await peer.receive_all() == REFUSAL
        assert served.leftovers() == []


async def test_stopping_lets_an_upload_finish(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        peer = await begun(served, 1_000_000)

        async def finish() -> bytes:
            async with peer:
                await peer.send(REQUEST[1_000_000:])
                return await peer.receive_all()

        finishing = asyncio.create_task(finish())
    assert len(await finishing) == 27


class FailingStore(MemoryStore):
    """Its disk fails in the very moment of the commit: what was stored may be there after a restart."""

    def append(self, send: Send) -> asyncio.Future[tuple[int, ...]]:
        super().append(send)
        failed: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
        failed.set_exception(StoreFailed("the disk has failed"))
        return failed


async def test_a_content_whose_commit_is_in_doubt_is_kept(tmp_path: Path) -> None:
    async with serving(tmp_path, store_type=FailingStore) as served:
        assert await served.exchange(REQUEST) == REFUSAL
        assert await served.waiting(BOB) == 1
        ((_, received),) = await served.fetch(BOB)
        assert received == LARGE


async def test_a_content_that_became_too_much_meanwhile_is_removed(tmp_path: Path) -> None:
    async with serving(tmp_path, store_limits=StoreLimits(mailbox_count=1, min_free_bytes=0)) as served:
        async with await begun(served, 1_000_000) as peer:
            assert len(await served.exchange(send_request(ALICE, BOB, b"the last one"))) == 27
            await peer.send(REQUEST[1_000_000:])
            assert await peer.receive_all() == REFUSAL
        assert served.leftovers() == []


async def test_what_was_only_announced_earns_no_time(tmp_path: Path) -> None:
    """70,000 bytes earn a second here; the 3 MB that the request speaks of would earn 43."""
    async with serving(tmp_path, ListenLimits(request_deadline=0.2, min_rate=70_000)) as served:
        begin = asyncio.get_running_loop().time()
        async with await begun(served, 70_000) as peer:
            assert await peer.receive_all() == REFUSAL
        assert asyncio.get_running_loop().time() - begin < 30


async def test_uploads_under_way_leave_the_reserve_of_the_disk_alone(tmp_path: Path) -> None:
    """Each fits on its own; together they would not."""
    size = 900 * 2**20
    prefix = SendPrefix(BOB, MessageType.FILE, size).encode()
    beginning = request(ALICE, Request.SEND_MESSAGE, len(prefix) + size) + prefix + bytes(70_000)
    disk = os.statvfs(tmp_path)
    reserve = disk.f_bavail * disk.f_frsize - size * 3 // 2
    async with serving(tmp_path, store_limits=StoreLimits(min_free_bytes=reserve)) as served:
        async with await served.connect() as first:
            await first.send(beginning)
            await until(lambda: len(served.leftovers()) == 1)
            assert await served.exchange(beginning) == REFUSAL
        await until(lambda: not served.leftovers())
