"""Parts of a file sealed and opened in memory, beside the bare cipher, hash and copy of the same bytes."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.report import Row, show
from benchmarks.scale import scale
from hushpost.crypto.filekeys import FileKey
from hushpost.crypto.filelayout import CHUNK, PART, SEALED_CHUNK, SEALED_PART, Part
from hushpost.crypto.filestream import PartOpener, PartSealer
from hushpost.ids import BlobId

PARTS = scale(65, 2)
"""256 MiB and a little."""

ROUNDS = scale(5, 1)
NONCE = bytes(12)


class Bench:
    """The same 4 MB again and again: where they come from and go to is not measured here."""

    def __init__(self) -> None:
        self.key, self.blob = FileKey.random(), BlobId.random()
        self.source = os.urandom(PART)
        self.part = bytearray(SEALED_PART)
        self.chunk, self.plain = bytearray(SEALED_CHUNK), bytearray(CHUNK)
        self.cipher = AESGCM(os.urandom(32))
        self.cipher.encrypt_into(NONCE, self.source[:CHUNK], None, self.chunk)

    def seal(self, number: int) -> None:
        self._seal(number, self.part)

    def _seal(self, number: int, into: bytearray) -> None:
        PartSealer(self.key, self.blob).seal(Part.inner(number), [self.source], into)

    def seal_apart(self, number: int) -> None:
        """For a thread of its own."""
        self._seal(number, bytearray(SEALED_PART))

    def open(self, number: int) -> None:
        """What `seal` left, of the first part."""
        opener, opened = PartOpener(self.key, self.blob, Part.inner(number)), 0
        for chunk in opener.feed(self.part):
            opened += len(chunk)
        opener.finish()
        if opened != PART:
            raise RuntimeError("the part did not open whole")

    def chunks(self) -> list[memoryview]:
        view = memoryview(self.source)
        return [view[at : at + CHUNK] for at in range(0, PART, CHUNK)]

    def encrypt(self, _: int) -> None:
        for chunk in self.chunks():
            self.cipher.encrypt_into(NONCE, chunk, None, self.chunk)

    def decrypt(self, _: int) -> None:
        for _chunk in self.chunks():
            self.cipher.decrypt_into(NONCE, self.chunk, None, self.plain)

    def hash(self, _: int) -> None:
        state = blake3()
        for chunk in self.chunks():
            state.update(chunk)

    def copy(self, _: int) -> None:
        for chunk in self.chunks():
            self.plain[:] = chunk


def rate(work: Callable[[int], None], *, same: bool = False) -> float:
    """MB/s over all parts; `same`: the first part each time."""
    begun = time.perf_counter()
    for number in range(PARTS):
        work(0 if same else number)
    return PARTS * PART / 1e6 / (time.perf_counter() - begun)


def threaded_rate(work: Callable[[int], None]) -> float:
    begun = time.perf_counter()
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, range(PARTS)))
    return PARTS * PART / 1e6 / (time.perf_counter() - begun)


def peak(bench: Bench) -> float:
    """MB that sealing and opening everything takes at most, beside the buffer of a sealed part."""
    tracemalloc.start()
    rate(bench.seal)
    bench.seal(0)
    rate(bench.open, same=True)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 1e6


def measure(bench: Bench) -> dict[str, float]:
    rates = {name: rate(getattr(bench, name)) for name in ("seal", "encrypt", "decrypt", "hash", "copy")}
    bench.seal(0)
    rates["open"] = rate(bench.open, same=True)
    rates["threads"] = threaded_rate(bench.seal_apart)
    return rates


def main(_folder: Path) -> None:
    bench = Bench()
    rounds = [measure(bench) for _ in range(ROUNDS)]
    rates = {name: median(each[name] for each in rounds) for name in rounds[0]}
    sealing = 1 / (1 / rates["encrypt"] + 1 / rates["hash"])
    opening = 1 / (1 / rates["decrypt"] + 1 / rates["hash"])
    show(
        "Files: 256 MiB in parts, in memory, one thread, cryptography alone",
        [
            Row("seal", rates["seal"], "MB/s"),
            Row("open, every check", rates["open"], "MB/s"),
            Row("bare AES-256-GCM: encrypt chunks of 64 KiB", rates["encrypt"], "MB/s"),
            Row("bare AES-256-GCM: decrypt", rates["decrypt"], "MB/s"),
            Row("bare BLAKE3", rates["hash"], "MB/s"),
            Row("bare copy", rates["copy"], "MB/s"),
            Row("seal, share of bare cipher and hash", rates["seal"] / sealing * 100, "%"),
            Row("open, share of bare cipher and hash", rates["open"] / opening * 100, "%"),
            Row("seal, share of the bare cipher", rates["seal"] / rates["encrypt"] * 100, "%"),
            Row("seal, two parts at once in two threads", rates["threads"], "MB/s"),
            Row("memory, peak beside the part's buffer", peak(bench), "MB"),
        ],
        {"rounds": str(ROUNDS), "bytes": f"{PARTS * PART:,}"},
    )
