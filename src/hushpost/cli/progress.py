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
    """Passes on one report in so many seconds, beginning with the first after that time."""

    def __init__(self, seconds: float, show: Report) -> None:
        self._seconds = seconds
        self._show = show
        self._next = time.monotonic() + seconds

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next or progress.restarted:
            self._next = now + self._seconds
            self._show(progress)


def _json_line(progress: Progress) -> None:
    fields = {
        "event": "progress",
        "id": str(progress.id),
        "carried": progress.carried,
        "size": progress.size,
        "restarted": progress.restarted,
    }
    typer.echo(json.dumps(fields))


def _line(progress: Progress, names: Names) -> None:
    of = "" if progress.size is None else f" of {words.size(progress.size)}"
    name = printable(names(progress.id)) or str(progress.id)
    again = ", from the start: it has changed" if progress.restarted else ""
    typer.echo(f"{name}: {words.size(progress.carried)}{of}{again}", err=True)


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
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def report(progress: Progress) -> None:
            name = printable(names(progress.id)) or str(progress.id)
            if progress.id not in tasks:
                tasks[progress.id] = bars.add_task(name, total=progress.size)
                bars.reset(tasks[progress.id], completed=progress.carried)
            elif progress.restarted:
                bars.reset(tasks[progress.id], description=f"{name} (again: it has changed)")
            bars.update(tasks[progress.id], completed=progress.carried, total=progress.size)

        yield report
