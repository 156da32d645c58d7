"""Files from client to client through the server: rates beside a bare TLS copy of them, memory, many kills.

    python -m benchmarks.files [--folder DIR] [--inbox DIR] [--gib N] [--sparse-gib N] [--kills N]

What was promised is 40 GiB beside 4, and 200 kills: `python -m benchmarks.files --sparse-gib 40 --kills 200`.
That takes half an hour, and twice 40 GiB of disk: the server keeps what it is sent, and the receiver has it
once more, perhaps elsewhere. Without options, and among the other benchmarks, both are less.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from statistics import fmean, median
from typing import Annotated

import typer

from benchmarks import disk
from benchmarks.report import Row, at_least, at_most, show
from benchmarks.scale import scale
from demo.secure import Person
from harness.process import HUSH, ServerProcess, post_server
from hushpost.crypto.filelayout import PART, SEALED_PART, FileLayout

GIB = 1 << 30
MIB = 1 << 20
SIZE = scale(4 * GIB, 8 * MIB)
SPARSE = 2 * SIZE
KILLS = scale(20, 2)
ROUNDS = scale(3, 1)
"""Of the rates, with a bare copy before and after each: no machine is the same from minute to minute."""

PIECE = 256 * 1024
"""Bytes that the bare copy reads and sends at once."""

KILL_FILE = scale(256 * MIB, 16 * MIB)
AGAIN = 2
"""Parts that may be sent once more for each kill."""

SAME = 1.2
"""How much more memory the larger file may take: more than chance, much less than twice the parts."""

COPY = """
import socket, ssl, sys
from benchmarks.tls_echo import context
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
tls = context().wrap_socket(listener.accept()[0], server_side=True)
buffer, count = bytearray(256 * 1024), 0
while size := tls.recv_into(buffer):
    count += size
print(count, flush=True)
"""


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


@dataclass(frozen=True)
class Run:
    """One command: how long a file of this size takes it, without its start; and its memory at most."""

    seconds: float
    peak_mb: float


def run(person: Person, *arguments: str) -> Run:
    """What follows the first report of progress is timed, as a share of the file."""
    process = start(person, *arguments)
    assert process.stdout is not None
    begun, peak, share = time.perf_counter(), 0.0, 0.0
    for line in process.stdout:
        told = json.loads(line)
        peak = max(peak, peak_mb(process.pid))
        if told["event"] == "progress" and not share:
            begun, share = time.perf_counter(), 1 - told["carried"] / max(told["size"], 1)
    if process.wait():
        raise RuntimeError(f"{arguments[0]} ended with {process.returncode}")
    return Run((time.perf_counter() - begun) / (share or 1), peak)


def peak_mb(pid: int) -> float:
    """Of a process, so far; what the system tells of a child when it has ended counts its parent, too."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1000
    return 0.0


def start(person: Person, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **person.environment}
    return subprocess.Popen([HUSH, *arguments, "--json"], stdout=subprocess.PIPE, text=True, env=environment)


def read(source: Path) -> Iterator[memoryview]:
    """All of it, in pieces."""
    buffer = memoryview(bytearray(PIECE))
    with source.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            yield buffer[:count]


def bare_copy(pieces: Iterable[memoryview]) -> float:
    """MB/s of TLS 1.3 between two Python processes, over loopback, to nowhere."""
    receiver = subprocess.Popen([sys.executable, "-c", COPY], stdout=subprocess.PIPE, text=True)
    assert receiver.stdout is not None
    port = int(receiver.stdout.readline())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port))) as tls:
        begun = time.perf_counter()
        for piece in pieces:
            tls.sendall(piece)
    with receiver:
        size = int(receiver.stdout.readline())
        seconds = time.perf_counter() - begun
    return size / 1e6 / seconds


def make(path: Path, size: int) -> None:
    piece = os.urandom(16 * MIB)
    with path.open("wb") as file:
        for number in range(-(-size // len(piece))):
            file.write(number.to_bytes(8, "big") + piece[8 : size - number * len(piece)])


def digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def upload(office: Office, source: Path) -> Run:
    return run(office.alice, "send", "bob", "--file", str(source))


def download(office: Office, source: Path) -> Run:
    """It is compared and deleted afterwards."""
    inbox = office.inbox()
    found = run(office.bob, "get", office.offer(), "-o", str(inbox))
    if digest(inbox / source.name) != digest(source):
        raise RuntimeError("another file came out")
    shutil.rmtree(inbox)
    return found


@dataclass(frozen=True)
class Peaks:
    """Memory at most, for a file of some size: MB."""

    what: str
    uploader: float
    downloader: float
    server: float

    @classmethod
    def of(cls, what: str, office: Office, ups: list[Run], downs: list[Run]) -> Peaks:
        uploader, downloader = (max(each.peak_mb for each in runs) for runs in (ups, downs))
        return cls(what, uploader, downloader, office.server.peak_mb())

    def rows(self) -> list[Row]:
        return [
            at_most(f"memory at {self.what}: uploader", self.uploader, 120, "MB"),
            at_most(f"memory at {self.what}: downloader", self.downloader, 120, "MB"),
            at_most(f"memory at {self.what}: server", self.server, 120, "MB"),
        ]

    def beside(self, smaller: Peaks) -> list[Row]:
        """It is the same for both sizes."""
        times = f"{self.what} / {smaller.what}"
        return [
            at_most(f"memory at {times}: uploader", self.uploader / smaller.uploader, SAME, "x"),
            at_most(f"memory at {times}: downloader", self.downloader / smaller.downloader, SAME, "x"),
            at_most(f"memory at {times}: server", self.server / smaller.server, SAME, "x"),
        ]


@dataclass
class Beside:
    """Runs in one direction, each with the bare copies just before and just after it."""

    runs: list[Run]
    copies: list[float]

    def rows(self, what: str, megabytes: float) -> list[Row]:
        rates = [megabytes / each.seconds for each in self.runs]
        shares = [rate / copy * 100 for rate, copy in zip(rates, self.copies, strict=True)]
        return [
            Row(what, median(rates), "MB/s"),
            Row(f"{what}, share of the bare copy: least", min(shares), "%"),
            Row(f"{what}, share of the bare copy: most", max(shares), "%"),
            at_least(f"{what}, share of the bare copy", median(shares), 45, "%"),
        ]


def rates(office: Office, size: int) -> tuple[list[Row], Peaks]:
    """Medians of some rounds."""
    source = office.folder / "large.bin"
    make(source, size)
    digest(source)  # from now on the system has it in memory
    copies = [bare_copy(read(source))]
    ups, downs = Beside([], []), Beside([], [])
    for _ in range(ROUNDS):
        for beside, carry in ((ups, upload), (downs, download)):
            beside.runs.append(carry(office, source))
            copies.append(bare_copy(read(source)))
            beside.copies.append(fmean(copies[-2:]))
    unread = bare_copy(repeat(memoryview(os.urandom(PIECE)), size // PIECE))
    source.unlink()
    writes, at_once = disk.written(office.folder, size), disk.copied(office.folder, office.fetched, size)
    peaks = Peaks.of(f"{size / GIB:g} GiB", office, ups.runs, downs.runs)
    megabytes = size / 1e6
    both = [megabytes / (up.seconds + down.seconds) for up, down in zip(ups.runs, downs.runs, strict=True)]
    rows = [
        Row("bare TLS 1.3 copy of the same file", median(copies), "MB/s"),
        Row("the same of one piece, over and over, that nobody reads", unread, "MB/s"),
        Row("the server's disk alone: writes", writes, "MB/s"),
        Row("reads from it, and writes to the receiver's disk, at once: each", at_once, "MB/s"),
        *ups.rows("upload", megabytes),
        *downs.rows("download", megabytes),
        at_least("end to end, one after the other", median(both), 220, "MB/s"),
    ]
    return rows, peaks


def sparse(office: Office, size: int) -> Peaks:
    """A file that is nearly a hole: what it takes is time, and room at the server."""
    source = office.folder / "sparse.bin"
    with source.open("wb") as file:
        file.write(os.urandom(MIB))
        file.truncate(size)
    up, down = upload(office, source), download(office, source)
    source.unlink()
    return Peaks.of(f"{size / GIB:g} GiB sparse", office, [up], [down])


@dataclass
class Kills:
    """Kills at random moments, and what so many of them came to.

    Attributes:
        carried: bytes that pass through the server for a transfer that nobody kills, by command.
        wrong: files that came out with other bytes, or not at all.
        most_again: parts that one kill had carried again, at most, by the progress that was told.
        most_passed: the same by what passed through the server, where that was not killed itself.
        of_server: so many of the kills.
    """

    office: Office
    carried: dict[str, int]
    wrong: int = 0
    most_again: int = 0
    most_passed: float = 0
    count: int = 0
    of_server: int = 0

    def carry(self, person: Person, life: float, *arguments: str, server: bool) -> None:
        """Begin, kill, go on. The server is started again; who has lost their hush call another."""
        before = self.office.passed(arguments[0])
        process = start(person, *arguments)
        try:
            process.wait(life * random.random())
        except subprocess.TimeoutExpired:
            self.count += 1
            self.of_server += server
            (self.office.revive if server else process.kill)()
        told = _progress(process)
        waiting = [each for each in person.run("files", "list") if each["state"] in {"waiting", "failed"}]
        if waiting:
            told += [waiting[0]["carried"], *_progress(start(person, "files", "resume"))]
            if not server:
                more = self.office.passed(arguments[0]) - before - self.carried[arguments[0]]
                self.most_passed = max(self.most_passed, round(more / SEALED_PART, 1))
        elif process.returncode:  # before anything was noted, or after everything was
            person.attempt(*arguments)
        self.most_again = max(self.most_again, _again(told))

    def rows(self) -> list[Row]:
        what = f"{self.count} kills, {self.of_server} of them of the server, {KILL_FILE // MIB} MiB"
        return [
            at_most(f"wrong files after {what}", self.wrong, 0, ""),
            at_most("parts carried again, at most, by what was told", self.most_again, AGAIN, ""),
            at_most("the same, by what passed a server that lived on", self.most_passed, AGAIN, ""),
        ]


def kills(office: Office, count: int) -> Kills:
    """Half of them while a file is sent, half while it is fetched; in turn of the server and of a hush."""
    source, server = office.folder / "killed.bin", False
    make(source, KILL_FILE)
    expected = [digest(source)]
    send = "send", "bob", "--file", str(source)
    got, given = office.passed("send"), office.passed("get")
    sending = _life(office.alice, *send)
    got = office.passed("send") - got
    fetching = _life(office.bob, "get", office.offer(), "-o", str(office.inbox()))
    found = Kills(office, {"send": got, "get": office.passed("get") - given})
    while found.count < count:
        inbox = office.inbox()
        found.carry(office.alice, sending, *send, server=server)
        found.carry(office.bob, fetching, "get", office.offer(), "-o", str(inbox), server=not server)
        found.wrong += [digest(each) for each in inbox.iterdir()] != expected
        server = not server
    return found


def _life(person: Person, *arguments: str) -> float:
    """How long a command takes that nobody kills."""
    begun = time.perf_counter()
    person.run(*arguments)
    return time.perf_counter() - begun


def _again(told: list[int]) -> int:
    """How many parts had been begun that were begun once more: progress falls by them."""
    most = fell = 0
    for carried in told:
        most = max(most, carried)
        fell = max(fell, most - carried)
    return -(-fell // PART)


def _progress(process: subprocess.Popen[str]) -> list[int]:
    """What it says to have carried, until it ends."""
    lines = process.communicate()[0].splitlines()
    told = [json.loads(line) for line in lines if line.endswith("}")]
    return [each["carried"] for each in told if each["event"] == "progress"]


def measure(folder: Path, fetched: Path, size: int, sparse_size: int, count: int) -> None:
    """Each part is shown when it is through: what breaks later takes nothing of it away."""
    for place in (folder, fetched):
        if shutil.disk_usage(place).free < 2.2 * max(size, sparse_size):
            print(f"{place} may have too little room for this", file=sys.stderr)
    smaller: Peaks | None = None
    with closing(Office.open(folder, fetched)) as office:
        if size:
            rows, smaller = rates(office, size)
            parts = str(FileLayout(size).count)
            show(
                "Files, client to client, TLS", rows + smaller.rows(), {"bytes": f"{size:,}", "parts": parts}
            )
        if sparse_size:  # behind the smaller one, since what a server has had at most it does not forget
            larger = sparse(office, sparse_size)
            rows = larger.rows() + (larger.beside(smaller) if smaller else [])
            show("A sparse file", rows, {"bytes": f"{sparse_size:,}"})
        if count:
            killed = kills(office, count)
            show("Kills on the way", killed.rows(), {"kills": str(killed.count)})
            if killed.wrong:
                raise RuntimeError(f"{killed.wrong} files came out wrong")


def main(folder: Path) -> None:
    measure(folder, folder, SIZE, SPARSE, KILLS)


def alone(
    folder: Annotated[Path | None, typer.Option(help="The disk to measure.")] = None,
    inbox: Annotated[Path | None, typer.Option(help="Where to put what was fetched.")] = None,
    gib: Annotated[float, typer.Option(help="Size of the file of random bytes.")] = SIZE / GIB,
    sparse_gib: Annotated[float, typer.Option(help="Size of the sparse file.")] = SPARSE / GIB,
    kills: Annotated[int, typer.Option(help="How often to kill.")] = KILLS,
) -> None:
    """Measure files alone, as large and as often as wanted."""
    with tempfile.TemporaryDirectory(dir=folder) as data, tempfile.TemporaryDirectory(dir=inbox) as fetched:
        place = Path(fetched) if inbox else Path(data)
        measure(Path(data), place, int(gib * GIB), int(sparse_gib * GIB), kills)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(alone)
    app()
