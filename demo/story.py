"""How a demo is told: steps with their time, checks that end it, commands as a user would type them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    code: int
    out: str
    complaint: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def attempt(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> Outcome:
    """Run a command with `--json`, however it ends."""
    done = subprocess.run(
        [HUSH, *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **(environment or {})},
    )
    return Outcome(done.returncode, done.stdout, done.stderr.strip())


def hush(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Run a command with `--json`; its answers.

    Raises:
        NotTrue: it failed.
    """
    outcome = attempt(*arguments, environment=environment)
    if outcome.code:
        raise NotTrue(f"{' '.join(map(str, arguments))}: {outcome.complaint}")
    return outcome.lines


def show(*lines: str) -> None:
    """What the reader should see with their own eyes."""
    for line in lines:
        console.print(f"      [dim]{escape(line)}[/]", soft_wrap=True)
