"""A server and two people on one disk, whose files are measured."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from demo.secure import Person
from harness.process import HUSH, ServerProcess, post_server

MIB = 1 << 20


@dataclass
class Office:
    """A server and two people who know each other; each of their commands is a process."""

    folder: Path
    fetched: Path
    server: ServerProcess
    alice: Person
    bob: Person

    @classmethod
    def open(cls, folder: Path, fetched: Path) -> Office:
        server = ServerProcess(post_server(folder / "server"))
        invitation = server.next_line().rpartition(" ")[2]
        alice, bob = Person(folder, "alice"), Person(folder, "bob")
        alice.join(invitation)
        (link,) = alice.run("invite", invitation)
        bob.join(link["link"])
        alice.run("contacts", "add", bob.link)
        return cls(folder, fetched, server, alice, bob)

    def close(self) -> None:
        self.server.stop()

    def revive(self) -> None:
        """Kill the server, and start it again at the same address."""
        self.server.kill()
        self.server = ServerProcess(post_server(self.folder / "server", port=self.server.address[1]))

    def passed(self, command: str) -> int:
        """Bytes that the server has got for sending, or given for getting, so far; and its database's."""
        read, written = Path(f"/proc/{self.server.pid}/io").read_text().split()[1:4:2]
        return int(read if command == "send" else written)

    def inbox(self) -> Path:
        """A new and empty one."""
        folder = self.fetched / "inbox"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def offer(self) -> str:
        """The id of the newest file that Bob can fetch."""
        self.bob.run("read")
        return str([each for each in self.bob.run("files", "list") if each["state"] == "offered"][-1]["id"])


def start(person: Person, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **person.environment}
    return subprocess.Popen([HUSH, *arguments, "--json"], stdout=subprocess.PIPE, text=True, env=environment)


def make(path: Path, size: int) -> None:
    piece = os.urandom(16 * MIB)
    with path.open("wb") as file:
        for number in range(-(-size // len(piece))):
            file.write(number.to_bytes(8, "big") + piece[8 : size - number * len(piece)])


def digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
