"""The receiver lease: one holder, and none after its death."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hushpost.client.lease import Lease
from hushpost.client.profiles import ProfileFiles
from hushpost.client.values import Received
from hushpost.errors import ProfileError
from hushpost.wire.messages import Authenticate
from tests.client.people import SmallTown, befriend, in_time, until

HOLDER = """
import sys
from pathlib import Path
from hushpost.client.lease import Lease
lease = Lease(Path(sys.argv[1]))
print(lease.take(), flush=True)
sys.stdin.read()
"""


def test_one_of_two_has_it(tmp_path: Path) -> None:
    path = tmp_path / "receiver.lock"
    one, two = Lease(path), Lease(path)
    assert [one.take(), one.take(), two.take()] == [True, True, False]
    assert [one.held, two.held] == [True, False]
    one.release()
    one.release()
    assert two.take()
    assert not one.take()
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_ends_with_the_process_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "receiver.lock"
    lease = Lease(path)
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        assert not lease.take()
        holder.kill()
        holder.wait()
        assert lease.take()


def test_it_is_not_inherited(tmp_path: Path) -> None:
    """A program that we start must not hold it on when we are gone."""
    path = tmp_path / "receiver.lock"
    lease = Lease(path)
    assert lease.take()
    wait = [sys.executable, "-c", "print(flush=True); input()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(wait, stdin=pipe, stdout=pipe, close_fds=False) as child:
        assert child.stdout is not None
        child.stdout.readline()  # until then it may still be closing what it must not keep
        lease.release()
        assert Lease(path).take()
        child.communicate(b"\n")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot be opened"):
        Lease(tmp_path / "missing" / "receiver.lock").take()


async def test_whoever_ends_while_taking_it_does_not_keep_it(
    town: SmallTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking, may_take, take = threading.Event(), threading.Event(), Lease.take

    def slow(self: Lease) -> bool:
        taking.set()
        may_take.wait(10)
        return take(self)

    async def open_and_end() -> None:
        async with town.open("alice"):
            await asyncio.to_thread(taking.wait, 10)
            asyncio.get_running_loop().call_soon(may_take.set)

    await town.join("alice")
    with monkeypatch.context() as inside:
        inside.setattr(Lease, "take", slow)
        await in_time(open_and_end())
    assert await asyncio.to_thread(Lease(ProfileFiles(town.profile("alice")).lease).take)


async def test_whoever_does_not_receive_waits_for_whoever_does(town: SmallTown) -> None:
    """Else a command beside another one of the same profile says that there are no messages."""
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice") as (alice,):
        async with town.open("bob") as (bob,):
            to_bob, _ = await befriend(town, alice, bob)
        other = Lease(ProfileFiles(town.profile("bob")).lease)
        assert await asyncio.to_thread(other.take)
        await alice.send(to_bob.account, "are you there?")
        await in_time(alice.settled())
        async with town.open("bob") as (bob,):
            before = len(town.server.seen)
            waiting = asyncio.ensure_future(bob.caught_up())

            async def has_asked() -> bool:
                return any(isinstance(each, Authenticate) for each in town.server.seen[before:])

            await until(has_asked)
            assert not waiting.done()
            other.release()
            await in_time(waiting)
            found = [each for each in await bob.pending("test") if isinstance(each, Received)]
            assert found[-1].message.text == "are you there?"
