"""Benchmarks: none is forgotten, a smoke run says what it is, and what breaks is not waited for."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import benchmarks
from benchmarks.__main__ import Benchmark
from harness.device import LoadDevice
from harness.lines import Line, Template, tls
from harness.process import ServerProcess, post_server

BENCHMARKS = [sys.executable, "-m", "benchmarks", "--smoke"]


def measures(module: str) -> bool:
    """Whether it has a main that is given a folder: no baseline server, no helper."""
    main = getattr(import_module(f"benchmarks.{module}"), "main", None)
    parameters = inspect.signature(main).parameters.values() if main else []
    return [each.annotation for each in parameters] == ["Path"]


def test_every_benchmark_is_run() -> None:
    modules = {path.stem for path in Path(benchmarks.__path__[0]).glob("*.py")} - {"__init__", "__main__"}
    assert {each.replace("-", "_") for each in Benchmark} == {each for each in modules if measures(each)}


def test_a_smoke_run_says_that_its_figures_mean_nothing() -> None:
    done = subprocess.run([*BENCHMARKS, "filestream"], capture_output=True, text=True, check=True)
    assert "mean nothing" in json.loads(done.stdout.splitlines()[-1])["title"]


def test_what_breaks_is_not_taken_for_a_missed_target(tmp_path: Path) -> None:
    command = [*BENCHMARKS, "--folder", str(tmp_path / "nowhere"), "filestream"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


async def entered(server: ServerProcess, device: LoadDevice) -> Line:
    line = await Line.connect(server.address, tls())
    await line.enter(device, register=True)
    return line


async def test_a_refused_send_ends_the_load(tmp_path: Path) -> None:
    alice = LoadDevice("alice")
    command = post_server(tmp_path, "--open", "--rate", "sends=3/1000")
    with await asyncio.to_thread(ServerProcess, command) as server:
        line = await entered(server, alice)
        with pytest.raises(RuntimeError, match="a send was answered with"):
            await line.load(Template(alice.letter(b"to myself"), alice.device.id), 50, 4)
        with pytest.raises(EOFError):
            await line.load(Template(alice.letter(b"once more"), alice.device.id), 1, 1)
        await asyncio.to_thread(server.stop)


async def test_a_server_that_dies_ends_the_load(tmp_path: Path) -> None:
    alice = LoadDevice("alice")
    with await asyncio.to_thread(ServerProcess, post_server(tmp_path, "--open")) as server:
        line = await entered(server, alice)
        loading = asyncio.create_task(
            line.load(Template(alice.letter(b"again"), alice.device.id), 1_000_000, 4)
        )
        while not line.latencies:
            await asyncio.sleep(0)
        await asyncio.to_thread(server.kill)
        with pytest.raises((EOFError, OSError)):
            await loading
