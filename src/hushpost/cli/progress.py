"""How far files are, while they are carried: a bar for a person, lines for a program, little for a log."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from hushpost.cli import words
from hushpost.cli.desk import Desk, is_terminal
from hushpost.client.values import Progress, TransferState
from hushpost.untrusted import printable

if TYPE_CHECKING:
    from hushpost.client.api import Client
    from hushpost.ids import MessageId

Report = Callable[[Progress], None]
Names = Callable[["MessageId"], str]
"""What to call a file by its id; empty: nothing is known of it."""

QUIET_SECONDS = 10.0
"""Between two lines where nobody is at a terminal."""

JSON_SECONDS = 0.1
"""Between two objects for a program."""


def always(name: str) -> Names:
    """There is one file, and it is called so."""
    return lambda _: name


async def names_of(client: Client) -> Names:
    """What to call files, as far as they are known at this moment."""
    known = {each.id: each.name for each in await client.transfers()}
    return lambda name: known.get(name, "")


async def collect(desk: Desk, client: Client) -> None:
    """Fetch what is to be fetched unasked, where a command has time for it."""
    with shown(desk, await names_of(client)) as report:
        for transfer in await client.collect(progress=report):
            if transfer.state is TransferState.DONE:
                desk.notice(f"fetched: {printable(transfer.path)}")


@contextmanager
def shown(desk: Desk, names: Names) -> Iterator[Report]:
    """Show progress as long as the block lasts."""
    if desk.as_json:
        yield _NowAndThen(JSON_SECONDS, _json_line)
    elif is_terminal(sys.stderr):
        with _bars(names) as report:
            yield report
    else:
        yield _NowAndThen(QUIET_SECONDS, lambda progress: _line(progress, names))


class _NowAndThen:
    """Passes on one report in so many seconds, beginning with the first after that time.

    That it stands still, or begins again, is passed on at once, and once until it moves.
    """

    def __init__(self, seconds: float, show: Report) -> None:
        self._seconds = seconds
        self._show = show
        self._next = time.monotonic() + seconds
        self._carried = 0
        self._restarted = False
        self._held_up = ""

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if self._is_news(progress) or now >= self._next:
            self._next = now + self._seconds
            self._show(progress)

    def _is_news(self, progress: Progress) -> bool:
        if progress.carried > self._carried:
            self._held_up = ""
        restarts = progress.restarted and not self._restarted
        stops = progress.held_up not in ("", self._held_up)
        self._carried, self._restarted = progress.carried, progress.restarted
        self._held_up = progress.held_up or self._held_up
        return restarts or stops


def _json_line(progress: Progress) -> None:
    fields = {
        "event": "progress",
        "id": str(progress.id),
        "carried": progress.carried,
        "size": progress.size,
        "restarted": progress.restarted,
        "held_up": progress.held_up,
    }
    typer.echo(json.dumps(fields))


def _line(progress: Progress, names: Names) -> None:
    of = "" if progress.size is None else f" of {words.size(progress.size)}"
    typer.echo(f"{_described(progress, names)}: {words.size(progress.carried)}{of}", err=True)


def _described(progress: Progress, names: Names) -> str:
    """What it is called, and what there is to know."""
    name = printable(names(progress.id)) or str(progress.id)
    if progress.held_up:
        return f"{name} ({printable(progress.held_up)}: trying again)"
    return f"{name} (again: it has changed)" if progress.restarted else name


@contextmanager
def _bars(names: Names) -> Iterator[Report]:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(),
        rich.DownloadColumn(),
        rich.TransferSpeedColumn(),
        rich.TimeRemainingColumn(),
    )
    tasks: dict[MessageId, rich.TaskID] = {}
    again: set[MessageId] = set()
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def report(progress: Progress) -> None:
            described = _described(progress, names)
            if progress.id not in tasks:
                tasks[progress.id] = bars.add_task(described, total=progress.size)
                bars.reset(tasks[progress.id], completed=progress.carried)
            elif progress.restarted and progress.id not in again:
                again.add(progress.id)
                bars.reset(tasks[progress.id])
            bars.update(
                tasks[progress.id], completed=progress.carried, total=progress.size, description=described
            )

        yield report
