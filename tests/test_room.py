"""An operator hears of a full server: at its start, and when somebody was refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from harness.process import ServerProcess, post_server
from hushpost.app.room import LOOK_SECONDS, REFUSED, SAY_SECONDS, Room
from hushpost.stores.base import StoreLimits
from hushpost.stores.memory import MemoryBlobs
from hushpost.stores.post.memory import MemoryPost

MUCH = 1 << 60
ROOMY = StoreLimits(min_free_bytes=0, blob_free_bytes=0)


def room(folder: Path, limits: StoreLimits, naps: Naps | None = None) -> Room:
    return Room(MemoryPost(MemoryBlobs(), limits), folder, limits, (naps or Naps()).sleep)


async def test_there_is_room(tmp_path: Path) -> None:
    assert await room(tmp_path, ROOMY).wants() == []


@pytest.mark.parametrize(
    ("limits", "option"),
    [
        (StoreLimits(min_free_bytes=MUCH, blob_free_bytes=0), "--min-free-bytes"),
        (StoreLimits(min_free_bytes=0, blob_free_bytes=MUCH), "--file-free-bytes"),
        (StoreLimits(total_bytes=1000, min_free_bytes=0, blob_free_bytes=0), "--total-bytes"),
        (StoreLimits(mailbox_bytes=1000, min_free_bytes=0, blob_free_bytes=0), "--mailbox-bytes"),
    ],
)
async def test_what_leaves_none_is_named(tmp_path: Path, limits: StoreLimits, option: str) -> None:
    [why] = await room(tmp_path, limits).wants()
    assert option in why


class Naps:
    """Everybody sleeps until the test wakes them."""

    def __init__(self) -> None:
        self._begun: asyncio.Queue[tuple[float, asyncio.Event]] = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        over = asyncio.Event()
        self._begun.put_nowait((seconds, over))
        await over.wait()

    async def end(self, seconds: float) -> None:
        """Wake whoever sleeps for so long, and wait until they sleep again."""
        length, over = await self._begun.get()
        assert length == seconds
        over.set()
        again = await self._begun.get()
        self._begun.put_nowait(again)


async def test_refusals_are_said_now_and_then_and_counted(tmp_path: Path) -> None:
    naps, counts = Naps(), Counter({REFUSED: 0})
    limits = StoreLimits(min_free_bytes=MUCH, blob_free_bytes=0)
    watching = asyncio.create_task(room(tmp_path, limits, naps).watch(counts))
    said = []
    with capture_logs() as lines:
        for refused, seconds in ((0, LOOK_SECONDS), (3, LOOK_SECONDS), (5, SAY_SECONDS), (0, LOOK_SECONDS)):
            counts[REFUSED] += refused
            await naps.end(seconds)
            said.append(len(lines))
    watching.cancel()
    assert said == [0, 1, 1, 2]
    assert [each["times"] for each in lines] == [3, 5]
    assert all("--min-free-bytes" in each["why"] for each in lines)


async def test_a_full_mailbox_is_no_fault_of_the_server(tmp_path: Path) -> None:
    naps, counts = Naps(), Counter({REFUSED: 1})
    watching = asyncio.create_task(room(tmp_path, ROOMY, naps).watch(counts))
    with capture_logs() as lines:
        await naps.end(LOOK_SECONDS)
    watching.cancel()
    assert ["mailbox" in each["why"] for each in lines] == [True]


def test_a_server_that_can_accept_nothing_says_so_at_its_start(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with ServerProcess(post_server(tmp_path / "data", f"--min-free-bytes={1 << 50}"), log=log):
        pass
    assert "--min-free-bytes" in log.read_text()
