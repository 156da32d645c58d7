"""Files from client to client through the server: rates beside a bare TLS copy, memory, and many kills.

    python -m benchmarks.files [--folder DIR] [--gib N] [--sparse-gib N] [--kills N]

The server keeps what it is sent: a sparse file of 40 GiB takes 41 GiB of its disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.report import Row, at_least, at_most, show
from demo.secure import Person
from harness.process import HUSH, ServerProcess, post_server
from hushpost.crypto.filelayout import PART, FileLayout

GIB = 1 << 30
MIB = 1 << 20
KILL_FILE = 256 * MIB
AGAIN = 2
"""Parts that may be sent once more for each kill."""

COPY = """
import socket, ssl, sys
from benchmarks.tls_echo import context
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
tls = context().wrap_socket(listener.accept()[0], server_side=True)
buffer, count = bytearray(1 << 18), 0
while size := tls.recv_into(buffer):
    count += size
print(count, flush=True)
"""


@dataclass
class Office:
    """A server and two people who know each other; each of their commands is a process."""

    folder: Path
    server: ServerProcess
    alice: Person
    bob: Person

    @classmethod
    def open(cls, folder: Path) -> Office:
        server = ServerProcess(post_server(folder / "server"))
        invitation = server.next_line().rpartition(" ")[2]
        alice, bob = Person(folder, "alice"), Person(folder, "bob")
        alice.join(invitation)
        (link,) = alice.run("invite", invitation)
        bob.join(link["link"])
        alice.run("contacts", "add", bob.link)
        return cls(folder, server, alice, bob)

    def close(self) -> None:
        self.server.stop()

    def offer(self) -> str:
        """The id of the newest file that Bob can fetch."""
        self.bob.run("read")
        return str([each for each in self.bob.run("files", "list") if each["state"] == "offered"][-1]["id"])


@dataclass(frozen=True)
class Run:
    """One command: how long the file took, and its memory at most."""

    seconds: float
    peak_mb: float


def run(person: Person, *arguments: str) -> Run:
    """From the first report of progress on, where that came at the beginning; else all of it."""
    process = start(person, *arguments)
    assert process.stdout is not None
    begun, peak = time.perf_counter(), 0.0
    for line in process.stdout:
        told = json.loads(line)
        peak = max(peak, peak_mb(process.pid))
        if told["event"] == "progress" and told["carried"] == 0:
            begun = time.perf_counter()
    if process.wait():
        raise RuntimeError(f"{arguments[0]} ended with {process.returncode}")
    return Run(time.perf_counter() - begun, peak)


def peak_mb(pid: int) -> float:
    """Of a process, so far; what the system tells of a child when it has ended counts its parent, too."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1000
    return 0.0


def start(person: Person, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **person.environment}
    return subprocess.Popen([HUSH, *arguments, "--json"], stdout=subprocess.PIPE, text=True, env=environment)


def bare_copy(size: int) -> float:
    """MB/s of TLS 1.3 between two Python processes, over loopback, from memory to nowhere."""
    receiver = subprocess.Popen([sys.executable, "-c", COPY], stdout=subprocess.PIPE, text=True)
    assert receiver.stdout is not None
    port = int(receiver.stdout.readline())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    piece = os.urandom(MIB)
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port))) as tls:
        begun = time.perf_counter()
        for _ in range(size // MIB):
            tls.sendall(piece)
    receiver.wait()
    seconds = time.perf_counter() - begun
    receiver.stdout.close()
    return size / 1e6 / seconds


def make(path: Path, size: int) -> None:
    piece = os.urandom(16 * MIB)
    with path.open("wb") as file:
        for number in range(-(-size // len(piece))):
            file.write(number.to_bytes(8, "big") + piece[8 : size - number * len(piece)])


def digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def through(office: Office, source: Path) -> tuple[Run, Run]:
    """Up, down, compared, and deleted."""
    inbox = office.folder / "inbox"
    inbox.mkdir(exist_ok=True)
    up = run(office.alice, "send", "bob", "--file", str(source))
    down = run(office.bob, "get", office.offer(), "-o", str(inbox))
    if digest(inbox / source.name) != digest(source):
        raise RuntimeError("another file came out")
    (inbox / source.name).unlink()
    return up, down


def rates(folder: Path, size: int) -> list[Row]:
    office, source = Office.open(folder), folder / "large.bin"
    make(source, size)
    copy = bare_copy(size)
    up, down = through(office, source)
    copy = (copy + bare_copy(size)) / 2
    rows = _memory(f"{size / GIB:g} GiB", office, up, down)
    office.close()
    megabytes = size / 1e6
    both = megabytes / (up.seconds + down.seconds)
    return [
        Row("bare TLS 1.3 copy, before and after", copy, "MB/s"),
        Row("upload", megabytes / up.seconds, "MB/s"),
        Row("download", megabytes / down.seconds, "MB/s"),
        at_least("upload, share of the bare copy", megabytes / up.seconds / copy * 100, 45, "%"),
        at_least("download, share of the bare copy", megabytes / down.seconds / copy * 100, 45, "%"),
        at_least("end to end, one after the other", both, 220, "MB/s"),
        *rows,
    ]


def sparse(folder: Path, size: int) -> list[Row]:
    """A file that is nearly a hole: what it takes is time, and room at the server."""
    office, source = Office.open(folder), folder / "sparse.bin"
    with source.open("wb") as file:
        file.write(os.urandom(MIB))
        file.truncate(size)
    up, down = through(office, source)
    rows = _memory(f"{size / GIB:g} GiB sparse", office, up, down)
    office.close()
    return rows


def _memory(what: str, office: Office, up: Run, down: Run) -> list[Row]:
    return [
        at_most(f"memory at {what}: uploader", up.peak_mb, 120, "MB"),
        at_most(f"memory at {what}: downloader", down.peak_mb, 120, "MB"),
        at_most(f"memory at {what}: server", office.server.peak_mb(), 120, "MB"),
    ]


@dataclass
class Kills:
    """What so many of them came to."""

    wrong: int = 0
    most_again: int = 0
    count: int = 0


def kills(folder: Path, count: int) -> Kills:
    """Half of them while it is sent, half while it is fetched, each at a random moment of its life."""
    office, source, found = Office.open(folder), folder / "killed.bin", Kills()
    make(source, KILL_FILE)
    expected, inbox = digest(source), folder / "inbox"
    inbox.mkdir()
    dice, took = random.Random(), 1.0
    while found.count < count:
        begun = time.perf_counter()
        _carried(office.alice, found, took * dice.random(), "send", "bob", "--file", str(source))
        name = office.offer()  # of several, where the kill came when all was done
        _carried(office.bob, found, took * dice.random(), "get", name, "-o", str(inbox))
        took = min(time.perf_counter() - begun, 2.0)
        (got,) = list(inbox.iterdir())
        found.wrong += digest(got) != expected
        got.unlink()
    office.close()
    return found


def _carried(person: Person, found: Kills, after: float, *arguments: str) -> None:
    """Begun, killed, gone on with; how many parts had been begun that had to be carried again."""
    process = start(person, *arguments)
    timer = threading.Timer(after, process.kill)
    timer.start()
    told = _progress(process)
    timer.cancel()
    found.count += 1
    if process.returncode == 0:
        return
    waiting = [each for each in person.run("files", "list") if each["state"] in {"waiting", "failed"}]
    if not waiting:  # killed before anything was noted, or after everything was
        person.attempt(*arguments)
        return
    begun = max([waiting[0]["carried"], *told])
    kept = _progress(start(person, "files", "resume"))
    found.most_again = max(found.most_again, -(-(begun - min(kept, default=begun)) // PART))


def _progress(process: subprocess.Popen[str]) -> list[int]:
    """What it says to have carried, until it ends."""
    lines = process.communicate()[0].splitlines()
    told = [json.loads(line) for line in lines if line.endswith("}")]
    return [each["carried"] for each in told if each["event"] == "progress" and each["carried"]]


def measure(folder: Path, size: int, sparse_size: int, count: int) -> None:
    rows: list[Row] = []
    for number, part in enumerate((rates, sparse)):
        room = folder / str(number)
        room.mkdir()
        each = size if part is rates else sparse_size
        rows += part(room, each) if each else []
        shutil.rmtree(room)
    if count:
        found = kills(folder, count)
        rows += [
            at_most(f"wrong files after {found.count} kills, {KILL_FILE // MIB} MiB", found.wrong, 0, ""),
            at_most("parts sent again, at most", found.most_again, AGAIN, ""),
        ]
    settings = {"bytes": f"{size:,}", "parts": str(FileLayout(size).count), "kills": str(count)}
    settings["children"] = f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime:.0f} s"
    show("Files through the server, client to client, TLS", rows, settings)


def main(folder: Path) -> None:
    measure(folder, 4 * GIB, 4 * GIB, 20)


def alone(
    folder: Annotated[Path | None, typer.Option(help="The disk to measure.")] = None,
    gib: Annotated[float, typer.Option(help="Size of the file of random bytes.")] = 4,
    sparse_gib: Annotated[float, typer.Option(help="Size of the sparse file.")] = 4,
    kills: Annotated[int, typer.Option(help="How often to kill.")] = 20,
) -> None:
    """Measure files alone, as large and as often as wanted."""
    with tempfile.TemporaryDirectory(dir=folder) as data:
        measure(Path(data), int(gib * GIB), int(sparse_gib * GIB), kills)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(alone)
    app()
