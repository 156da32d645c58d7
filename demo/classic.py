"""The classic system, whole: two clients, a server that is killed on the way, and every byte checked."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from demo.story import NotTrue, Step, chapter, check, hush
from harness.process import HUSH, ServerProcess, classic_server

FILE_MB = 200
MIB = 1 << 20


class Server:
    """The demo's server: the same folder and port whenever it starts again."""

    def __init__(self, data: Path) -> None:
        data.mkdir()
        self.data = data
        self._process = ServerProcess(classic_server(data))

    @property
    def address(self) -> str:
        return self._process.host_port

    def cut_power(self) -> None:
        """End it with -9, and start it again."""
        self._process.kill()
        self._process = ServerProcess(classic_server(self.data, port=self._process.address[1]))

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> int:
        return self._process.stop()


class Client:
    """One person's working directory, and the commands that he types in it."""

    def __init__(self, folder: Path, server: Server, name: str) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        (self.folder / "server.info").write_text(server.address + "\n")

    def run(self, *arguments: str | Path) -> list[dict[str, Any]]:
        return hush("classic", *arguments, "--dir", self.folder)

    def start_sending(self, recipient: str, path: Path) -> subprocess.Popen[bytes]:
        command = [HUSH, "classic", "send-file", recipient, str(path), "--dir", str(self.folder)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def fetch(self, kind: str) -> list[dict[str, Any]]:
        """What waits, of one kind."""
        return [message for message in self.run("fetch") if message["kind"] == kind]

    def received_file(self, message: dict[str, Any]) -> Path:
        path = Path(message["path"])
        return path if path.is_absolute() else self.folder / path


def tell(folder: Path) -> None:
    """Raises:
    NotTrue: anything was not as it should be.
    """
    chapter("The classic system, for clients of the old one")
    with Step("start a server on a new folder"):
        server = Server(folder / "server")
    try:
        _tell(folder, server)
        with Step("the server stops when asked"):
            code = server.stop()
        check("its exit code is 0", code == 0)
    finally:
        server.kill()


def _tell(folder: Path, server: Server) -> None:
    alice, bob = (Client(folder, server, name) for name in ("alice", "bob"))
    with Step("alice and bob register"):
        for client in (alice, bob):
            client.run("register", client.name)
    with Step("bob asks alice for a key; she sends one; he takes it"):
        bob.run("request-key", "alice")
        asked = alice.run("fetch")
        alice.run("send-key", "bob")
        got = bob.run("fetch")
    check("each saw what the other did", _kinds(asked, got) == ["key-request", "key"])
    with Step("alice writes two texts; the server answers that they are stored"):
        texts = ["good morning", "שלום, héllo, 你好"]
        for text in texts:
            alice.run("send", "bob", text)
    with Step("kill -9 for the server, and a new start on the same folder"):
        server.cut_power()
    with Step("bob fetches"):
        received = [message["text"] for message in bob.fetch("text")]
    check("both texts, in order", received == texts)

    original = folder / "original"
    with Step(f"make a file of {FILE_MB} MB of random bytes"):
        digest = _make_file(original)
    _cut_an_upload(alice, server, original)
    with Step("alice sends it again, whole; kill -9 again when it is accepted"):
        alice.run("send-file", "bob", original)
        server.cut_power()
    with Step("bob fetches it and decrypts"):
        (message,) = bob.fetch("file")
    check("every byte is right", _digest(bob.received_file(message)) == digest)
    with Step("he sends it back, and alice fetches"):
        bob.run("send-file", "alice", bob.received_file(message))
        (back,) = alice.fetch("file")
    check("every byte is right again", _digest(alice.received_file(back)) == digest)
    check(
        "nothing waits, and the server keeps no content any more",
        not alice.run("fetch") and not bob.run("fetch") and not _contents(server),
    )


def _kinds(*fetched: list[dict[str, Any]]) -> list[str]:
    return [message["kind"] for messages in fetched for message in messages]


def _cut_an_upload(sender: Client, server: Server, path: Path) -> None:
    with Step("alice begins to send it; kill -9 when a part has arrived, and a new start"):
        upload = sender.start_sending("bob", path)
        while not any(part.stat().st_size > 20 * MIB for part in _contents(server)):
            if upload.poll() is not None:
                raise NotTrue("the upload ended before it could be cut")
            time.sleep(0.001)
        server.cut_power()
        complaint = upload.communicate(timeout=60)[1].decode().strip().splitlines()
    check(f"alice is told: {complaint[0] if complaint else 'nothing'}", upload.returncode == 4)
    check("of the half file nothing is left", not _contents(server))


def _contents(server: Server) -> list[Path]:
    return [path for path in (server.data / "blobs").rglob("*") if path.is_file()]


def _make_file(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(FILE_MB * 1_000_000 // 100_000):
            piece = os.urandom(100_000)
            digest.update(piece)
            file.write(piece)
    return digest.digest()


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
