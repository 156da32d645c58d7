"""`hush classic import` as a command: what it says, what it leaves, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from harness.load import exchange, fetch_request
from harness.process import HUSH, DidNotStart, ServerProcess, classic_server
from hushpost.errors import ExitCode
from tests.classic.server import oldworld
from tests.classic.server.serving import parse_messages


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return oldworld.build(tmp_path / "old")


def import_(source: Path, data: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [HUSH, "classic", "import", str(source), "--data", str(data), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_clients_find_their_messages_on_the_new_server(old: Path, tmp_path: Path) -> None:
    before = oldworld.picture(old)
    done = import_(old, tmp_path / "new", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["clients"] == len(oldworld.CLIENTS)
    assert report["messages"] == len(oldworld.ARRIVED)
    assert report["missing"] == [11]
    assert oldworld.picture(old) == before
    with ServerProcess(classic_server(tmp_path / "new")) as server:
        waiting = parse_messages(exchange(server.address, fetch_request(oldworld.BOB)))
    assert len(waiting) == sum(bytes(box) == bytes(oldworld.BOB) for _, box, *_ in oldworld.EXPECTED)


def test_a_second_run_says_that_nothing_was_left_to_do(old: Path, tmp_path: Path) -> None:
    import_(old, tmp_path / "new")
    again = import_(old, tmp_path / "new")
    assert again.returncode == 0
    assert again.stdout.startswith(f"took over {len(oldworld.CLIENTS)} clients and 0 messages, going on")


def test_a_wrong_folder_is_refused_and_leaves_no_traces(tmp_path: Path) -> None:
    refused = import_(tmp_path / "nowhere", tmp_path / "new")
    assert refused.returncode == ExitCode.STORE_UNUSABLE
    assert "Traceback" not in refused.stderr
    assert refused.stderr.startswith("hush: there is no ")
    assert not (tmp_path / "new").exists()


def test_the_old_folder_itself_is_no_new_one(old: Path) -> None:
    before = oldworld.picture(old)
    refused = import_(old, old)
    assert refused.returncode == ExitCode.STORE_UNUSABLE
    assert "--data" in refused.stderr
    assert oldworld.picture(old) == before


def test_a_server_on_the_old_folder_is_refused_with_the_way_out(old: Path, tmp_path: Path) -> None:
    before = oldworld.picture(old)
    with pytest.raises(DidNotStart) as refused:
        ServerProcess(classic_server(old), tmp_path, log=tmp_path / "complaint")
    assert refused.value.code == ExitCode.STORE_UNUSABLE
    assert "hush classic import" in refused.value.complaint
    assert oldworld.picture(old) == before
