"""What every benchmark prints: a table for people, then one line of JSON for programs."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich.console import Console
from rich.table import Table

from benchmarks.scale import is_smoke


class Row(msgspec.Struct):
    """One figure.

    Attributes:
        target: the bound as written in the plan, or empty for figures without one.
        met: whether it is kept; None without a target.
    """

    what: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None


def at_least(what: str, value: float, bound: float, unit: str) -> Row:
    return Row(what, value, unit, f">= {bound:g}", value >= bound)


def at_most(what: str, value: float, bound: float, unit: str) -> Row:
    return Row(what, value, unit, f"<= {bound:g}", value <= bound)


def machine() -> dict[str, str]:
    """Where and of what this was measured."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "commit": commit or "unknown",
        "cpu": f"{os.cpu_count()} x {models[0] if models else platform.machine()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "uvloop": version("uvloop"),
        "load": f"{os.getloadavg()[0]:.2f}",
        "a million additions in Python": f"{_additions() * 1e3:.0f} ms",
        "AES-256-GCM": f"{_encryption() / 1e6:,.0f} MB/s",
    }


def _additions() -> float:
    """How long the interpreter takes for a million of them (seconds, the best of three)."""

    def once() -> float:
        begun, at = time.perf_counter(), 0
        while at < 1_000_000:
            at += 1
        return time.perf_counter() - begun

    return min(once() for _ in range(3))


def _encryption() -> float:
    """Bytes a second that one core encrypts, the best of some."""
    aead, data = AESGCM(bytes(32)), bytes(1 << 20)

    def once() -> float:
        begun = time.perf_counter()
        aead.encrypt(bytes(12), data, None)
        return time.perf_counter() - begun

    return len(data) / min(once() for _ in range(10))


def show(title: str, rows: list[Row], settings: dict[str, str]) -> None:
    """Print table and JSON to stdout."""
    if is_smoke():
        title += " (smoke run: sizes and figures mean nothing)"
    about = {**machine(), **settings}
    table = Table(title=title, caption=", ".join(f"{key}: {value}" for key, value in about.items()))
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_column("must reach", justify="right")
    table.add_column("")
    for row in rows:
        mark = "" if row.met is None else "yes" if row.met else "[bold]NO[/]"
        table.add_row(row.what, f"{row.value:,.4g} {row.unit}", row.target, mark)
    Console(width=120).print(table)
    print(msgspec.json.encode({"title": title, "about": about, "rows": rows}).decode(), flush=True)
