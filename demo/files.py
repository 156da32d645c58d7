"""A large file, from one person to the other: uploader, server and downloader are killed on the way."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

from demo.secure import Person, Server
from demo.story import NotTrue, Step, chapter, check
from harness.process import HUSH
from hushpost.crypto.filelayout import PART

FILE_MB = 300


def tell(folder: Path) -> None:
    """Raises:
    NotTrue: anything was not as it should be.
    """
    chapter(f"A file of {FILE_MB} MB, with everything killed on the way")
    with Step("start a server; alice joins, and bob by her link"):
        server = Server(folder / "server")
        alice, bob = Person(folder, "alice"), Person(folder, "bob")
        alice.join(server.invitation)
        (invitation,) = alice.run("invite", server.invitation)
        bob.join(invitation["link"])
        alice.run("contacts", "add", bob.link)
    try:
        _tell(folder, server, alice, bob)
    finally:
        server.cut_power()


def _tell(folder: Path, server: Server, alice: Person, bob: Person) -> None:
    original, inbox = folder / "disk.img", folder / "inbox"
    inbox.mkdir()
    with Step(f"make a file of {FILE_MB} MB of random bytes"):
        digest = _make_file(original)
    with Step("alice sends it; kill -9 for her hush when a quarter is through"):
        _killed(alice, 0.25, "send", "bob", "--file", str(original))
    (begun,) = alice.run("files", "list")
    check(f"her machine knows: {begun['state']}", begun["state"] == "waiting")
    with Step("she goes on; kill -9 for the server when two thirds are through, and a new start"):
        uploader = _start(alice, "files", "resume")
        first = _until(uploader, 0.66)
        server.cut_power()
        server.start()
        (sent,) = _last(uploader)
    check("it went on where it was, but for two parts at most", first >= begun["carried"] - 2 * PART)
    check("the server has all of it", sent["state"] == "done")
    check("and the offer, too", uploader.returncode == 0)
    with Step("read every byte that the server has written"):
        blobs = b"".join(path.read_bytes()[:4096] for path in _files(server.data / "files"))
    check("no name of the file, and none of its first bytes, is there", _is_sealed(blobs, original))

    with Step("bob reads; the file is offered"):
        offers = [each for each in bob.run("read") if each["file"]]
    check("by its name", [each["file"]["name"] for each in offers] == [original.name])
    message = offers[0]
    with Step("he fetches it; kill -9 for his hush when a half is through"):
        _killed(bob, 0.5, "get", message["id"], "-o", str(inbox))
    check("nothing is called so yet", not (inbox / original.name).exists())
    with Step("he goes on"):
        (got,) = [each for each in bob.run("files", "resume") if each["event"] == "file"]
    check("it is whole", got["state"] == "done")
    with Step("compare"):
        same = _digest(inbox / original.name) == digest
    check("every byte is right", same)
    check("nothing else is in the folder", [each.name for each in inbox.iterdir()] == [original.name])
    check("the server keeps nothing of it any more", not _files(server.data / "files"))


def _start(person: Person, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **person.environment}
    command = [HUSH, *arguments, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def _until(process: subprocess.Popen[str], share: float) -> int:
    """Come back when so much is through; how much it was when it began."""
    first = -1
    assert process.stdout is not None
    for line in process.stdout:
        told = json.loads(line)
        if told["event"] != "progress":
            break
        first = told["carried"] if first < 0 else first
        if told["carried"] >= share * told["size"]:
            return first
    raise NotTrue("it was through before anybody could interrupt it")


def _killed(person: Person, share: float, *arguments: str) -> None:
    process = _start(person, *arguments)
    _until(process, share)
    process.kill()
    process.communicate()


def _last(process: subprocess.Popen[str]) -> list[dict[str, str]]:
    """What it says of files in the end."""
    lines = process.communicate(timeout=120)[0].splitlines()
    return [told for told in map(json.loads, lines) if told["event"] == "file"]


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _is_sealed(stored: bytes, original: Path) -> bool:
    with original.open("rb") as file:
        first = file.read(64)
    return original.name.encode() not in stored and first not in stored


def _make_file(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(FILE_MB):
            piece = os.urandom(1_000_000)
            digest.update(piece)
            file.write(piece)
    return digest.digest()


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
