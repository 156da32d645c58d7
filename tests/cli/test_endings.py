"""Where a command is called and how it ends: no terminal, a terminal, closed pipes, wrong keys, no server."""

from __future__ import annotations

import os
import pty
import secrets
import select
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pytest

from harness.process import HUSH
from tests.cli.members import Member, Place
from tests.cli.shells import Shell, apart

NO_KEYRING = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}


PATIENCE = 30.0
"""Seconds for a command at a terminal to do what is waited for."""

WITH_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes its input the terminal of the session, so that Ctrl-C and hidden prompts work as for a person."""


class Terminal:
    """A command at a terminal, and somebody who waits for questions and types. It ends with the block."""

    def __init__(self, *arguments: str, environment: Mapping[str, str]) -> None:
        self._end, there = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", WITH_A_TERMINAL, HUSH, *arguments],
            stdin=there,
            stdout=there,
            stderr=there,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120", **environment},
        )
        os.close(there)
        self.seen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)
        os.close(self._end)

    def until(self, words: str) -> None:
        """Read until these words are there."""
        while words not in self.seen:
            assert self._read(), self.seen

    def type(self, text: str) -> None:
        os.write(self._end, text.encode() + b"\n")

    def type_hidden(self, text: str) -> None:
        """As a person does: when the prompt has switched the echo off, which drops what came earlier."""
        deadline = time.monotonic() + PATIENCE
        while termios.tcgetattr(self._end)[3] & termios.ECHO:
            assert time.monotonic() < deadline, self.seen
        self.type(text)

    def leave(self) -> int:
        """Read the rest; the exit code."""
        while self._read():
            pass
        return self._process.wait(PATIENCE)

    def _read(self) -> bool:
        """Something more; False: the command has ended, or nothing came."""
        if not select.select([self._end], [], [], PATIENCE)[0]:
            return False
        try:
            self.seen += os.read(self._end, 4096).decode(errors="replace")
        except OSError:  # nobody has the other end any more
            return False
        return True


@pytest.fixture
def name() -> str:
    return f"terminal-{secrets.token_hex(4)}"


def test_on_a_terminal_a_passphrase_is_asked_twice(place: Place, tmp_path: Path, name: str) -> None:
    environment = {"HUSH_HOME": str(tmp_path), **NO_KEYRING}
    with Terminal("join", place.invitation, "--name", name, environment=environment) as joining:
        joining.until("A passphrase")
        joining.type_hidden("correct horse")
        joining.until("Repeat")
        joining.type_hidden("correct horse")
        assert joining.leave() == 0, joining.seen
        assert joining.seen.count("passphrase") == 1
        assert "correct horse" not in joining.seen

    with Terminal("whoami", environment=environment) as asked:
        asked.until("Passphrase")
        asked.type_hidden("correct horse")
        assert asked.leave() == 0, asked.seen
        assert name in asked.seen
        assert "█" in asked.seen

    with Terminal("whoami", environment=environment) as wrong:
        wrong.until("Passphrase")
        wrong.type_hidden("wrong horse")
        assert wrong.leave() == 12
        assert "Traceback" not in wrong.seen

    without = apart("whoami", environment=environment)
    assert (without.code, without.out) == (12, "")
    assert "HUSH_KEY" in without.err
    by_environment = apart("whoami", environment={**environment, "HUSH_KEY": "pass:correct horse"})
    assert by_environment.code == 0, by_environment.err


def test_a_passphrase_that_is_too_short_is_not_asked_for_twice(
    place: Place, tmp_path: Path, name: str
) -> None:
    environment = {"HUSH_HOME": str(tmp_path), **NO_KEYRING}
    with Terminal("join", place.invitation, "--name", name, environment=environment) as joining:
        joining.until("8 characters or more")
        joining.type_hidden("short")
        assert joining.leave() == 2
        assert "at least 8 characters" in joining.seen
        assert "Repeat" not in joining.seen


@pytest.mark.parametrize("command", ["join", "recover"])
def test_a_link_is_looked_at_before_anything_is_asked(
    place: Place, tmp_path: Path, name: str, command: str
) -> None:
    words = (command, place.invitation[:-1], *(("--name", name) if command == "join" else ()))
    with Terminal(*words, environment={"HUSH_HOME": str(tmp_path), **NO_KEYRING}) as refused:
        assert refused.leave() == 2, refused.seen
        assert "assphrase" not in refused.seen
        assert "hrase:" not in refused.seen
        assert "not a whole hush:// link" in refused.seen


@pytest.mark.parametrize("command", ["join", "whoami"])
def test_ctrl_c_at_the_question(place: Place, tmp_path: Path, name: str, command: str) -> None:
    environment = {"HUSH_HOME": str(tmp_path), **NO_KEYRING}
    joining = ("join", place.invitation, "--name", name)
    if command == "whoami":
        joined = apart(*joining, environment={**environment, "HUSH_KEY": "pass:correct horse"})
        assert joined.code == 0, joined.err
    words = joining if command == "join" else ("whoami",)
    with Terminal(*words, environment=environment) as asked:
        asked.until("assphrase")
        asked.type_hidden("\x03")
        assert asked.leave() == 130, asked.seen
        assert "Traceback" not in asked.seen


def test_without_a_terminal_the_way_is_named_in_a_sentence(place: Place, tmp_path: Path, name: str) -> None:
    refused = apart(
        "join", place.invitation, "--name", name, environment={"HUSH_HOME": str(tmp_path), **NO_KEYRING}
    )
    assert (refused.code, refused.out) == (12, "")
    assert "HUSH_KEY=file" in refused.err
    assert len(refused.err.splitlines()) == 2
    assert "Traceback" not in refused.err


@pytest.mark.parametrize("key", ["nonsense", "pass:", "fd:x", "fd:99", "pass:short"])
def test_what_hush_key_cannot_be(place: Place, tmp_path: Path, name: str, key: str) -> None:
    environment = {"HUSH_HOME": str(tmp_path), "HUSH_KEY": key, **NO_KEYRING}
    refused = apart("join", place.invitation, "--name", name, environment=environment)
    assert (refused.code, refused.out) == (2, "")
    assert "short" not in refused.err.replace("too short", "")


def test_a_passphrase_from_a_file_descriptor(place: Place, tmp_path: Path, name: str) -> None:
    (tmp_path / "passphrase").write_text("correct horse\n")
    script = f'"$0" join "$1" --name {name} 3< passphrase && "$0" whoami 3< passphrase'
    done = subprocess.run(
        ["sh", "-c", script, HUSH, place.invitation],
        cwd=tmp_path,
        env={**os.environ, "HUSH_HOME": str(tmp_path / "home"), "HUSH_KEY": "fd:3", **NO_KEYRING},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(name) >= 2


def test_leaving_asks_for_the_name_on_a_terminal(alice: Member) -> None:
    with Terminal("leave", environment=alice.environment) as hesitating:
        hesitating.until("Type your name")
        hesitating.type("somebody")
        assert hesitating.leave() == 2
    assert alice("whoami").code == 0
    with Terminal("leave", environment=alice.environment) as sure:
        sure.until("Type your name")
        sure.type(alice.name)
        assert sure.leave() == 0, sure.seen
        assert "has left" in sure.seen


def test_verifying_asks_on_a_terminal(alice: Member, bob: Member) -> None:
    assert alice("contacts", "add", bob.name).code == 0
    for answer, trust in (("n", "unverified"), ("y", "verified")):
        with Terminal("verify", bob.name, environment=alice.environment) as comparing:
            comparing.until("[y/N]")
            comparing.type(answer)
            assert comparing.leave() == 0, comparing.seen
        assert alice("contacts", "list", "--json").lines[0]["trust"] == trust


@pytest.mark.parametrize(
    "command", [("contacts", "list"), ("whoami",), ("read",), ("history", "WHO"), ("doctor",), ("inbox",)]
)
def test_a_reader_that_leaves_is_no_error(friends: tuple[Member, Member], command: tuple[str, ...]) -> None:
    alice, bob = friends
    assert bob("send", alice.name, "x" * 1000).code == 0
    words = [bob.name if word == "WHO" else word for word in command]
    with subprocess.Popen(
        [HUSH, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **alice.environment},
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("words", "code"), [("read", 0), ("whoami", 0), ("send NAME hello", 0), ("send NAME", 2), ("leave", 2)]
)
def test_without_a_standard_input(friends: tuple[Member, Member], words: str, code: int) -> None:
    alice, bob = friends
    closed = subprocess.run(
        ["sh", "-c", f'"$0" {words.replace("NAME", bob.name)} <&-', HUSH],
        env={**os.environ, **alice.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert closed.returncode == code, closed.stderr
    assert "Traceback" not in closed.stderr


def test_what_was_not_written_stays_unread(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    assert bob("send", alice.name, "important").code == 0
    full = subprocess.run(
        ["sh", "-c", '"$0" read > /dev/full', HUSH],
        env={**os.environ, **alice.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    assert [each["text"] for each in alice("read", "--json").lines] == ["important"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("whoami",), 3),
        (("read",), 3),
        (("send", "bob", "hello"), 3),
        (("contacts", "list"), 3),
        (("doctor",), 3),
        (("leave", "--yes"), 3),
        (("--profile", "../evil", "whoami"), 2),
        (("--profile", "a\x1b[2J", "whoami"), 2),
    ],
)
def test_without_a_profile_the_way_is_named(
    shell: Shell, tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    refused = Shell(shell.monkeypatch, shell.capsys, {"HUSH_HOME": str(tmp_path / "none")})(*arguments)
    assert (refused.code, refused.out) == (code, "")
    assert "hint: " in refused.err or "control characters" in refused.err
    assert "\x1b" not in refused.err
    assert "Traceback" not in refused.err
    assert not (tmp_path / "none").exists()


def test_a_server_that_is_not_there(tmp_path: Path, place: Place, name: str) -> None:
    nowhere = place.invitation.replace(place.process.host_port, "127.0.0.1:1")
    environment = {"HUSH_HOME": str(tmp_path), "HUSH_KEY": "file"}
    refused = apart("join", nowhere, "--name", name, environment=environment)
    assert (refused.code, refused.out) == (4, "")
    assert "Traceback" not in refused.err
    assert "outbox" not in refused.err
    assert apart("join", place.invitation, "--name", name, environment=environment).code == 0


def test_a_database_that_somebody_else_wrote(alice: Member) -> None:
    (database,) = alice.home.rglob("profile.db")
    database.write_bytes(b"SQLite format 3\0" + bytes(8000))
    broken = alice("whoami")
    assert broken.code in {3, 7}
    assert broken.out == ""
    assert "Traceback" not in broken.err


def test_a_database_that_is_lost(alice: Member) -> None:
    """Joining anew would lose the name for ever."""
    (database,) = alice.home.rglob("profile.db")
    for each in database.parent.glob("profile.db*"):
        each.unlink()
    lost = alice("whoami")
    assert (lost.code, lost.out) == (3, "")
    assert "hush recover" in lost.err
