"""Each target for two seconds or so, and the harness finds what is broken."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.harness import MAX_INPUT, attack, corpus, mutations
from tests.fuzz.targets import TARGETS

COUNTS = {
    "frames": 4_000,
    "messages": 15_000,
    "connection": 3_000,
    "envelopes": 15_000,
    "files": 5_000,
    "folders": 1_500,
}
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", [1, None], ids=["fixed seed", "random seed"])
@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds(name: str, seed: int | None) -> None:
    if seed is None:
        seed = random.SystemRandom().getrandbits(32)
    crash = attack(name, TARGETS[name], seed=seed, count=COUNTS[name] // 2)
    assert crash is None, crash.save()


def test_the_same_seed_gives_the_same_bounded_inputs() -> None:
    first, again, other = (list(mutations(corpus("frames"), random.Random(seed), 500)) for seed in (5, 5, 6))
    assert first == again != other
    assert max(map(len, first)) <= MAX_INPUT
    assert len(set(first)) > 400


def test_a_broken_promise_is_found_kept_and_repeated(tmp_path: Path) -> None:
    def brittle(data: bytes) -> None:
        if len(data) > 100 and data[19] & 0x80:
            raise RuntimeError("broken")

    crash = attack("frames", brittle, seed=1, count=20_000)
    assert crash is not None
    sentence = crash.save(tmp_path)
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == crash.data
    assert f"seed 1): RuntimeError: broken\n  python -m tests.fuzz frames --replay {kept}" in sentence


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_line(tmp_path: Path) -> None:
    done = fuzz("--count", "50", "--seed", "3")
    assert (done.returncode, done.stdout.count("held")) == (0, len(TARGETS)), done.stderr
    one = tmp_path / "one"
    one.write_bytes(corpus("frames")[0])
    assert fuzz("frames", "--replay", str(one)).returncode == 0
    assert fuzz("nonsense").returncode == 2
