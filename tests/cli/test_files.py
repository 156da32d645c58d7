"""`hush send --file`, `get` and `files`: what they say is what is so."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from harness.process import HUSH, ServerProcess, post_server
from hushpost.cli.words import size
from hushpost.crypto.filelayout import PART
from tests.cli.members import Member, Place, acquainted, invitation
from tests.cli.shells import Shell

Friends = tuple[Member, Member]


def send(friends: Friends, *paths: Path, text: str = "") -> list[str]:
    """The ids under which Bob has them."""
    alice, bob = friends
    options = [option for path in paths for option in ("--file", str(path))]
    sent = alice("send", bob.name, *filter(None, [text]), *options)
    assert sent.code == 0, sent.err
    return [each["id"] for each in bob("read", "--json").lines if each["file"]]


def made(folder: Path, count: int = 1_000, name: str = "notes.txt") -> Path:
    path = folder / name
    path.write_bytes(os.urandom(count))
    return path


def test_files_come_as_messages_and_are_fetched(friends: Friends, tmp_path: Path) -> None:
    _, bob = friends
    one, two = made(tmp_path), made(tmp_path, PART + 1, "two.bin")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    names = send(friends, one, two, text="both of them")
    assert len(names) == 2
    shown = bob("history", friends[0].name).out
    assert "file of 1 kB, notes.txt" in shown
    assert f"hush get {names[0]}" in shown
    assert shown.count("both of them") == 1
    for name, path in zip(names, (one, two), strict=True):
        [*progress, got] = bob("get", name, "-o", str(inbox), "--json").lines
        assert all(each["event"] == "progress" for each in progress)
        assert (got["event"], got["state"], got["path"]) == ("file", "done", str(inbox / path.name))
        assert (inbox / path.name).read_bytes() == path.read_bytes()
    assert all(f"{path.name}: {inbox / path.name}\n" in bob("files").out for path in (one, two))
    again = bob("get", names[0], "-o", str(inbox))
    assert (again.code, again.out) == (2, "")
    assert "before" in again.err


def test_the_list_says_how_far_each_is(friends: Friends, tmp_path: Path) -> None:
    alice, bob = friends
    assert alice("files").err == "no files\n"
    [name] = send(friends, made(tmp_path))
    [ours] = alice("files", "list", "--json").lines
    assert (ours["id"], ours["direction"], ours["state"], ours["size"]) == (name, "sent", "done", 1_000)
    [theirs] = bob("files", "list", "--json").lines
    assert (theirs["direction"], theirs["state"], theirs["account"]) == ("received", "offered", alice.account)
    assert bob("files").out == f"{name}  offered  from [verified] {alice.name}  1 kB  notes.txt\n"
    assert bob("files", "cancel", name).out.startswith(f"{name}  cancelled")
    assert bob("get", name).code == 2
    assert bob("files", "resume").err == "nothing waits\n"


def test_a_hostile_name_is_escaped_and_made_safe(friends: Friends, tmp_path: Path) -> None:
    alice, bob = friends
    sent = alice("send", bob.name, "--file", str(made(tmp_path)), "--as", "../\x1b[2Jevil\n")
    assert sent.code == 0
    shown = bob("read")
    assert all(each.isprintable() or each == "\n" for each in shown.out + shown.err)
    [offered] = bob("files", "list", "--json").lines
    assert offered["name"] == "../\x1b[2Jevil\n"
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    assert bob("get", offered["id"], "-o", str(inbox)).code == 0
    assert [each.name for each in inbox.iterdir()] == ["_[2Jevil_"]


def test_pipes_in_and_out(friends: Friends, tmp_path: Path) -> None:
    alice, bob = friends
    content = os.urandom(PART + 100)
    sent = alice.apart("send", bob.name, "--file", "-", "--as", "backup.tar", stdin=content)
    assert sent.code == 0, sent.err
    assert "cannot be resumed" in sent.err
    [message] = bob("read", "--json").lines
    assert message["file"]["name"] == "backup.tar"
    out = tmp_path / "out"
    with out.open("wb") as file:
        subprocess.run(
            [HUSH, "get", message["id"], "-o", "-"],
            stdout=file,
            check=True,
            timeout=60,
            env={**os.environ, **bob.environment},
        )
    assert out.read_bytes() == content
    assert bob("get", message["id"], "-o", "-", "--json").code == 2


def test_a_folder(friends: Friends, tmp_path: Path) -> None:
    _, bob = friends
    folder = tmp_path / "things"
    folder.mkdir()
    made(folder)
    (folder / "link").symlink_to("notes.txt")
    alice = friends[0]
    sent = alice("send", bob.name, "--file", str(folder))
    assert "left out" in sent.err
    [message] = bob("read", "--json").lines
    assert message["file"]["folder"]
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    assert bob("get", message["id"], "-o", str(inbox)).code == 0
    assert [each.name for each in (inbox / "things").iterdir()] == ["notes.txt"]
    assert not list(inbox.glob(".hush-*"))


def test_small_files_are_fetched_while_reading(friends: Friends, tmp_path: Path) -> None:
    alice, bob = friends
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    assert bob("files", "auto", "--below", "2K", "--folder", str(inbox)).code == 0
    for count in (1_000, 3_000):
        path = made(tmp_path, count, f"{count}.bin")
        assert alice("send", bob.name, "--file", str(path)).code == 0
    assert "fetched: " in bob("read").err
    assert [each.name for each in inbox.iterdir()] == ["1000.bin"]
    assert bob("files", "auto", "--below", "0").out == "nothing is fetched\n"


def test_the_story_of_a_file(friends: Friends, tmp_path: Path) -> None:
    alice, bob = friends
    [name] = send(friends, made(tmp_path))
    missing = bob("get", "00" * 16)
    assert (missing.code, missing.out) == (2, "")
    [story] = alice("explain", name, "--json").lines
    assert any(step["what"] == "the file is through" for step in story["steps"])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("send", "WHO", "--file", "no-such-file"), "No such file"),
        (("send", "WHO", "--file", "/dev/null"), "neither a file nor a folder"),
        (("send", "WHO", "--file", "-"), "--as"),
        (("send", "WHO", "--file", "a", "--file", "b", "--as", "c"), "several"),
        (("send", "WHO", "text", "--as", "c"), "--file"),
        (("send", "WHO", "--file", "/etc/hostname", "--as", "x" * 256), "255"),
        (("get", "nonsense"), "32 hexadecimal digits"),
        (("files", "cancel", "00" * 16), "no"),
        (("files", "auto", "--below", "much"), "size"),
        (("files", "auto", "--below", "1M", "--folder", "/no/such/folder"), "folder"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_sentence(
    friends: Friends, arguments: tuple[str, ...], word: str
) -> None:
    alice, bob = friends
    failed = alice(*(bob.name if each == "WHO" else each for each in arguments))
    assert (failed.code, failed.out) == (2, "")
    assert word in failed.err
    assert "Traceback" not in failed.err
    assert alice("files", "list", "--json").out == ""


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1_000, "1 kB"), (4_128_768, "4.13 MB"), (10**14, "100 TB")],
)
def test_sizes_for_people(count: int, text: str) -> None:
    assert size(count) == text


def test_json_of_a_sent_file(friends: Friends, tmp_path: Path) -> None:
    alice, bob = friends
    sent = alice("send", bob.name, "--file", str(made(tmp_path)), "--json")
    told = [json.loads(line) for line in sent.out.splitlines()]
    assert (told[-1]["event"], told[-1]["delivery"]) == ("sent", "accepted")
    assert told[-1]["file"] == {
        "name": "notes.txt",
        "size": 1_000,
        "media_type": "text/plain",
        "folder": False,
    }


def test_of_several_files_all_are_sent_or_none(friends: Friends, tmp_path: Path) -> None:
    alice, bob = friends
    good, missing = made(tmp_path), tmp_path / "missing.txt"
    refused = alice("send", bob.name, "--file", str(good), "--file", str(missing))
    assert (refused.code, refused.out) == (2, "")
    assert f"{missing} cannot be sent: No such file" in refused.err
    unset = alice("send", bob.name, "--file", str(good), "--file", "")
    assert (unset.code, unset.out) == (2, "")
    assert alice("files").err == "no files\n"


def interrupted(who: Member, *command: str, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
    """A command that is ended while it carries a file: its exit code, and what it said."""
    begun = who.begin(*command, stderr=subprocess.PIPE)
    while not any(each["state"] == "running" for each in who("files", "list", "--json").lines):
        assert begun.poll() is None
    begun.send_signal(number)
    _, err = begun.communicate(timeout=30)
    return begun.returncode, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_interrupts_it_is_told_how_to_go_on(shell: Shell, tmp_path: Path, number: signal.Signals) -> None:
    data = tmp_path / "post-office"
    with ServerProcess(post_server(data)) as server:
        place = Place(server, data, invitation(data))
        alice, bob = place.member(shell, tmp_path / "alice"), place.member(shell, tmp_path / "bob")
        acquainted(alice, bob)
        [name] = send((alice, bob), made(tmp_path))
    with socket.create_server(server.address):  # it lets everybody in, and never says a word
        for who, command in (
            (alice, ("send", bob.name, "--file", str(made(tmp_path, name="more")))),
            (alice, ("files", "resume")),
            (bob, ("get", name, "-o", str(tmp_path / "got"))),
        ):
            code, err = interrupted(who, *command, number=number)
            assert code == 130
            assert err.startswith("interrupted: ")
            assert err.endswith(" is kept: hush files resume\n")


def test_who_waits_for_a_server_is_told_so(shell: Shell, tmp_path: Path) -> None:
    data = tmp_path / "post-office"
    with ServerProcess(post_server(data)) as server:
        place = Place(server, data, invitation(data))
        alice, bob = place.member(shell, tmp_path / "alice"), place.member(shell, tmp_path / "bob")
        acquainted(alice, bob)
    source = str(made(tmp_path, name="x"))
    sending = alice.begin("send", bob.name, "--file", source, stderr=subprocess.PIPE)
    assert sending.stderr is not None
    said = sending.stderr.readline()
    assert "x (no connection to the server for files: trying again): 0 bytes" in said
    with ServerProcess(post_server(data, port=server.address[1])):
        assert sending.wait(60) == 0
    assert "trying again" not in sending.stderr.read()
    sending.stderr.close()


def test_a_reader_that_leaves_makes_no_file_fail(friends: Friends, tmp_path: Path) -> None:
    alice, bob = friends
    source = tmp_path / "large"
    with source.open("wb") as file:
        file.truncate(1 << 28)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    begun = alice.begin("send", bob.name, "--file", str(source), "--json", **streams)
    assert begun.stdout is not None
    begun.stdout.close()
    assert begun.wait(60) == 1
    [ours] = alice("files", "list", "--json").lines
    assert (ours["state"], ours["why"]) == ("waiting", "")
    assert alice("files", "resume").code == 0
    assert alice("files", "list", "--json").lines[0]["state"] == "done"


def test_a_failure_that_is_no_more_is_not_told(shell: Shell, tmp_path: Path) -> None:
    data = tmp_path / "post-office"
    with ServerProcess(post_server(data)) as server:
        place = Place(server, data, invitation(data))
        alice, bob = place.member(shell, tmp_path / "alice"), place.member(shell, tmp_path / "bob")
        acquainted(alice, bob)
        for told in (True, False):
            [name] = send((alice, bob), made(tmp_path))
            for content in data.glob("files/*/*"):
                content.write_bytes(bytes(content.stat().st_size))
            assert bob("get", name, "-o", str(tmp_path / "got")).code == 10
            if not told:
                assert bob("files", "cancel", name).code == 0
            assert (f"note: file {name}" in bob("read").err) == told
