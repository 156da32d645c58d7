"""What is installed from what is shipped: pinned, by hash, and nothing besides."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def pins(name: str) -> dict[str, set[str]]:
    """Each package with its version, and the hashes that are good for it."""
    blocks = re.split(r"\n(?=\w)", (ROOT / "requirements" / name).read_text())
    return {block.split()[0]: set(re.findall(r"--hash=(\S+)", block)) for block in blocks}


def test_what_runs_is_a_part_of_what_was_tested() -> None:
    run, dev = pins("run.txt"), pins("dev.txt")
    assert len(run) > 10
    assert {name: dev.get(name) for name in run} == run
    assert all(run.values())


@pytest.mark.parametrize("path", ["deploy/Dockerfile", "docs/howto/run-a-server.md", "Makefile"])
def test_nothing_is_installed_without_hashes(path: str) -> None:
    lines = (ROOT / path).read_text().replace("\\\n", " ").splitlines()
    installs = [line for line in lines if "pip install" in line or "pip wheel" in line]
    assert installs
    assert [line for line in installs if not re.search(r"--require-hashes|--no-deps", line)] == []


def test_an_image_gets_what_it_copies_and_nothing_else() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(
        r"^COPY (?!--from)(.*) \S+$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE
    )
    assert {word for line in copied for word in line.split()} == kept
    assert all((ROOT / name).exists() for name in kept)
