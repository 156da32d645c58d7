"""People with accounts on a running server, each at a machine of their own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.process import HUSH, ServerProcess
from tests.cli.shells import Outcome, Shell, apart


@dataclass
class Member:
    """Somebody who has joined. Calling it types a command on their machine."""

    shell: Shell
    home: Path
    name: str
    link: str = ""
    phrase: str = ""
    account: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return {"HUSH_HOME": str(self.home), "HUSH_KEY": "file"}

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Outcome:
        shell = Shell(self.shell.monkeypatch, self.shell.capsys, self.environment)
        return shell(*arguments, stdin=stdin)

    def apart(self, *arguments: str, stdin: bytes = b"") -> Outcome:
        """The same in a process of its own."""
        return apart(*arguments, stdin=stdin, environment=self.environment)

    def begin(self, *arguments: str, **streams: Any) -> subprocess.Popen[str]:
        """The same, of which the test does not wait for the end. `streams`: those of `Popen`."""
        environment = {**os.environ, **self.environment}
        return subprocess.Popen([HUSH, *arguments], env=environment, text=True, **streams)

    def join(self, invitation: str) -> None:
        """Become a member."""
        [joined] = self("join", invitation, "--name", self.name, "--json").lines
        self.link, self.phrase, self.account = joined["link"], joined["recovery_phrase"], joined["account"]


def invitation(data: Path, uses: int = 1000) -> str:
    """A link to join the server on this folder."""
    command = [HUSH, "server", "invite", "--uses", str(uses), "--data", str(data), "--json"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    link: str = json.loads(done.stdout)["link"]
    return link


@dataclass
class Place:
    """A running server, its folder, and an invitation to it that is good for many."""

    process: ServerProcess
    data: Path
    invitation: str

    def member(self, shell: Shell, home: Path) -> Member:
        """Somebody new, named after the folder, and like nobody before."""
        someone = Member(shell, home, f"{home.name}-{secrets.token_hex(4)}")
        someone.join(self.invitation)
        return someone


def acquainted(one: Member, other: Member) -> None:
    """Each adds the other by link."""
    for member, link in ((one, other.link), (other, one.link)):
        added = member("contacts", "add", link)
        assert added.code == 0, added.err
