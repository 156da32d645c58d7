"""Uploaders, downloaders and servers that are killed: no wrong byte, and two parts at most once more."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harness.process import ServerProcess, post_server
from hushpost.client.clock import SystemClock
from hushpost.client.values import Progress, TransferState
from hushpost.crypto.filelayout import PART, FileLayout
from tests.cli.members import invitation
from tests.client.people import Town, befriend, in_time
from tests.client.test_crash import Nursery
from tests.client.transfers.hall import Hall, RealOffice, left_over

SIZE = 2 * PART - 1
PARTS = FileLayout(SIZE).count
MOST_STEPS = 150
"""Far more than a client takes for such a file."""

AGAIN = 2
"""Parts that may be sent once more for each kill."""


@asynccontextmanager
async def nursery() -> AsyncIterator[Nursery]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.client.transfers.victim",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Nursery(process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


async def test_an_uploader_killed_at_every_step(hall: Hall) -> None:
    depot, profile = hall.town.server.depot, hall.town.profile("alice")
    async with nursery() as clients:
        for step in range(1, MOST_STEPS):
            source = hall.file(SIZE, f"{step}.bin")
            what = "send", str(hall.to_bob.account), str(source)
            depot.put.clear()
            code = await clients.raise_one(profile, step, *what)
            if code == 0:
                break
            assert code == -signal.SIGKILL
            assert await clients.raise_one(profile, 0, *what) == 0
            assert len(depot.put) <= PARTS + AGAIN
        assert 25 < step < MOST_STEPS - 1
    sent = await hall.alice.transfers()
    assert {each.state for each in sent} == {TransferState.DONE}
    assert sorted(each.name for each in sent) == sorted(f"{each}.bin" for each in range(1, step + 1))
    for each in sent:
        await hall.offered(each.id)
        await in_time(hall.bob.receive_file(each.id, hall.inbox()))
        assert (hall.inbox() / each.name).read_bytes() == (hall.folder / each.name).read_bytes()


async def test_a_downloader_killed_at_every_step(hall: Hall) -> None:
    depot, profile = hall.town.server.depot, hall.town.profile("bob")
    source = hall.file(SIZE)
    async with nursery() as clients:
        for step in range(1, MOST_STEPS):
            sent = await hall.send(source, name=f"{step}.bin")
            what = "get", str(sent.id), str(hall.inbox())
            depot.got.clear()
            code = await clients.raise_one(profile, step, *what)
            if code == 0:
                break
            assert code == -signal.SIGKILL
            found = list(hall.inbox().glob("*.bin"))
            assert all(each.read_bytes() == source.read_bytes() for each in found)
            assert await clients.raise_one(profile, 0, *what) == 0
            assert len(depot.got) <= PARTS + AGAIN
        assert 25 < step < MOST_STEPS - 1
    assert sorted(os.listdir(hall.inbox())) == sorted(f"{each}.bin" for each in range(1, step + 1))
    assert all(each.read_bytes() == source.read_bytes() for each in hall.inbox().iterdir())
    assert {each.state for each in await hall.bob.transfers()} == {TransferState.DONE}
    assert left_over(hall.inbox()) == []
    assert not depot.blobs


class Reviving:
    """A server that is killed when a transfer has come so far, and started again on the same folder.

    It serves before it says so, and a quick transfer may be as far as the next kill by then.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self.process = ServerProcess(post_server(data))
        self._starting = asyncio.Lock()
        self.kills = 0

    async def kill_and_start(self) -> None:
        async with self._starting:
            port = self.process.address[1]
            await asyncio.to_thread(self.process.kill)
            self.process = await asyncio.to_thread(lambda: ServerProcess(post_server(self._data, port=port)))
            self.kills += 1


async def test_a_server_killed_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides notice, and go on by themselves."""
    monkeypatch.setenv("HUSH_KEY", "file")
    data = tmp_path / "office"
    server = await asyncio.to_thread(Reviving, data)
    town = Town(tmp_path, RealOffice(await asyncio.to_thread(invitation, data)), SystemClock())
    source, inbox = tmp_path / "file.bin", tmp_path / "inbox"
    source.write_bytes(os.urandom(12 * PART))
    inbox.mkdir()
    tasks: list[asyncio.Task[None]] = []
    marks: list[int] = []

    def watch(progress: Progress) -> None:
        if marks and progress.carried > marks[0]:
            marks.pop(0)
            tasks.append(asyncio.ensure_future(server.kill_and_start()))

    try:
        await town.join("alice")
        await town.join("bob")
        async with town.open("alice", "bob") as (alice, bob):
            to_bob, _ = await befriend(town, alice, bob)
            marks += [2 * PART, 6 * PART]
            sent = await in_time(alice.send_file(to_bob.account, source, progress=watch))
            await asyncio.gather(*tasks)
            async with asyncio.timeout(30):
                while not await bob.transfers():
                    await asyncio.sleep(0.05)
            marks[:] = [2 * PART, 6 * PART]
            await in_time(bob.receive_file(sent.id, inbox, progress=watch))
            await asyncio.gather(*tasks)
        assert server.kills >= 2
        assert (inbox / "file.bin").read_bytes() == source.read_bytes()
    finally:
        await asyncio.to_thread(server.process.stop)
