"""How a demo is told: steps with their time, checks that end it, commands as a user would type them."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from harness.process import HUSH

console = Console(highlight=False, width=100)


class NotTrue(Exception):
    """A check of the story failed."""


def chapter(title: str) -> None:
    console.print(f"\n[bold]{escape(title)}[/]")


class Step:
    """Prints what is done, and how long it took: `with Step("..."):`."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._begun = time.perf_counter()

    def __enter__(self) -> Step:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        mark = "[green]✓[/]" if error is None else "[red]✗[/]"
        seconds = time.perf_counter() - self._begun
        console.print(f"  {mark} {escape(self._what):<72} [dim]{seconds * 1e3:8,.0f} ms[/]")


def check(what: str, truth: bool) -> None:
    """One claim of the story.

    Raises:
        NotTrue: it does not hold.
    """
    console.print(f"  {'[green]✓[/]' if truth else '[red]✗[/]'} {escape(what)}")
    if not truth:
        raise NotTrue(what)


def hush(*arguments: str | Path) -> list[dict[str, Any]]:
    """Run a command with `--json`; its answers.

    Raises:
        NotTrue: it failed.
    """
    command = [HUSH, *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise NotTrue(f"{' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]
