"""Mutating the corpus, running a target on the result, and keeping what broke it."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tests.fuzz.targets import Target

CORPUS = Path(__file__).parent / "corpus"
CRASHES = Path(__file__).parent / "crashes"

MAX_INPUT = 2_048
"""Bytes. Every limit of the variants is passed by less, and single bytes of more would be slow."""

SIZE_FIELDS = (4, 19, 18, 17)
"""Where sizes stand behind the variant byte: in a response, a request, a 103 payload and a 1004 entry."""

SIZES = (0, 1, 20, 21, 22, 40, 41, 64, 65, 200, 201, 65_557, 65_558, 2**30, 2**30 + 1, 2**31, 2**32 - 1)


class Crash(msgspec.Struct, frozen=True):
    """An input that broke a promise, and how to see it again."""

    target: str
    seed: int
    data: bytes
    error: Exception

    def save(self, folder: Path = CRASHES) -> str:
        """Keep the input in a file; the sentence that tells how to repeat it."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.target}-{hashlib.sha256(self.data).hexdigest()[:12]}"
        path.write_bytes(self.data)
        return (
            f"{self.target} (seed {self.seed}): {type(self.error).__name__}: {self.error}\n"
            f"  python -m tests.fuzz {self.target} --replay {path}"
        )


def corpus(name: str) -> list[bytes]:
    """The seeds of a target, in a fixed order."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def attack(name: str, target: Target, *, seed: int, count: int) -> Crash | None:
    """Run the seeds themselves, then `count` mutations of them. The same seed gives the same inputs."""
    seeds = corpus(name)
    for data in (*seeds, *mutations(seeds, random.Random(seed), count)):
        try:
            target(data)
        except Exception as error:
            return Crash(name, seed, data, error)
    return None


def mutations(seeds: Sequence[bytes], rng: random.Random, count: int) -> Iterator[bytes]:
    changes = (flip, truncate, splice, insert, repeat, resize)
    for _ in range(count):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 4)):
            change = rng.choice(changes)
            change(data, rng, seeds)
        yield bytes(data[:MAX_INPUT])


def flip(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    for _once in range(rng.randint(1, 4) if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def truncate(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    del data[rng.randint(0, len(data)) :]


def splice(data: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
    other = rng.choice(seeds)[1:]
    data[rng.randint(0, len(data)) :] = other[rng.randint(0, len(other)) :] if rng.random() < 0.5 else other


def insert(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    place = rng.randint(0, len(data))
    data[place:place] = rng.randbytes(rng.randint(1, 32))


def repeat(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    """The frame again behind itself: several in one stream."""
    data += data[1:]


def resize(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    """Write a size that means something over a place where a size stands, or anywhere."""
    if len(data) > 4:
        place = rng.choice((*SIZE_FIELDS, rng.randint(0, len(data) - 4)))
        struct.pack_into(
            "<I", data, min(place, len(data) - 4), rng.choice((*SIZES, len(data) - 23)) & 0xFFFFFFFF
        )
