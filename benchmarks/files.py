"""Files from client to client through the server: rates beside a bare TLS copy of them, memory, many kills.

    python -m benchmarks.files [--folder DIR] [--inbox DIR] [--gib N] [--sparse-gib N] [--kills N]

What was promised is 40 GiB beside 4, and 200 kills: `python -m benchmarks.files --sparse-gib 40 --kills 200`.
That takes half an hour, and twice 40 GiB of disk: the server keeps what it is sent, and the receiver has it
once more, perhaps elsewhere. Without options, and among the other benchmarks, both are less.
"""

from __future__ import annotations

import json
import os
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
from benchmarks.correspondents import MIB, Office, digest, make, start
from benchmarks.kills import killed_on_the_way
from benchmarks.report import Row, at_least, at_most, show
from benchmarks.scale import scale
from demo.secure import Person
from hushpost.crypto.filelayout import FileLayout

GIB = 1 << 30
SIZE = scale(4 * GIB, 8 * MIB)
SPARSE = 2 * SIZE
KILLS = scale(20, 2)
ROUNDS = scale(3, 1)
"""Of the rates, with a bare copy before and after each: no machine is the same from minute to minute."""

PIECE = 256 * 1024
"""Bytes that the bare copy reads and sends at once."""

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
            killed = killed_on_the_way(office, count)
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
