"""The receiver lease: one holder, and none after its death."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hushpost.client.lease import Lease
from hushpost.errors import ProfileError

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
