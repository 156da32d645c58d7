"""`hush get` and `hush files`: what others offer and what was sent, begun, gone on with, cancelled."""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hushpost.cli import words
from hushpost.cli.desk import Desk, terminated_as_interrupted
from hushpost.cli.options import command_with, given
from hushpost.cli.progress import names_of, shown
from hushpost.cli.reading import caught_up, message_id
from hushpost.client.values import Contact, Direction, Transfer, TransferState
from hushpost.errors import ExitCode, HushpostError, Unreachable, UsageError
from hushpost.untrusted import printable

if TYPE_CHECKING:
    from hushpost.client.api import Client
    from hushpost.ids import MessageId

STDOUT = "-"

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

app = typer.Typer()
files = typer.Typer(help="Files that were sent or offered.", invoke_without_command=True)
app.add_typer(files, name="files")
command = partial(command_with, app, Desk)
file_command = partial(command_with, files, Desk)

Id = Annotated[str, typer.Argument(metavar="ID", help="Of the message that offers it, 32 digits.")]


@files.callback()
def _files(context: typer.Context) -> None:
    """Files that were sent or offered; without a command, the list of them."""
    if context.invoked_subcommand is None:
        _list(Desk(context))


@command("get")
def get(
    desk: Desk,
    file: Id,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="PATH", help="A folder, a new name, or -.", callback=given),
    ] = ".",
) -> None:
    """Fetch a file that somebody offers.

    It has its name when it is whole, verified and on the disk; until then that begins with .hush-. Nothing is
    ever overwritten.

    Exit codes: 4 the server cannot be reached, 5 it does not have the file any more, 10 it is not the file
    that was offered.
    """
    name = message_id(file)
    if output == STDOUT and desk.as_json:
        raise UsageError("standard output cannot hold both the file and JSON")
    if output.endswith(os.sep) and not Path(output).is_dir():  # a path forgets that slash
        raise UsageError("there is no such folder to put the file into", hint="make it, or choose another")

    async def fetch(client: Client) -> tuple[Transfer, Contact]:
        await _arrived(client, name)
        with shown(desk, await names_of(client)) as report, terminated_as_interrupted():
            if output == STDOUT:
                sys.stdout.flush()
                got = await client.stream_file(name, sys.stdout.fileno(), progress=report)
            else:
                got = await client.receive_file(name, Path(output), progress=report)
        return got, await client.contact(str(got.contact))

    try:
        with desk.resumable(kept=output != STDOUT):
            got, contact = desk.run(fetch)
    except Unreachable:
        if output != STDOUT:
            desk.notice("note: what has come is kept: hush files resume")
        raise
    if output != STDOUT:
        desk.say(f"{printable(got.path)}: {words.size(got.size or 0)}", **_fields(got, contact))


@file_command("list")
def list_files(desk: Desk) -> None:
    """Show every file that was sent or offered, and how far it is."""
    _list(desk)


@file_command("resume")
def resume(desk: Desk) -> None:
    """Go on with everything that waits or has failed.

    Exit codes: 4 the server cannot be reached, 14 something waits or has failed still.
    """

    async def go_on(client: Client) -> tuple[HushpostError | None, list[tuple[Transfer, Contact]]]:
        with shown(desk, await names_of(client)) as report, terminated_as_interrupted():
            done = await client.resume(progress=report)
        problem = await caught_up(client)  # what is through is offered, which is a message like any other
        return problem, await _with_contacts(client, done)

    with desk.resumable():
        problem, done = desk.run(go_on)
    for transfer, contact in done:
        desk.say(_line(transfer, contact), **_fields(transfer, contact))
    if not done and not desk.as_json:
        desk.notice("nothing waits")
    if problem is not None:
        raise problem
    if any(transfer.state is not TransferState.DONE for transfer, _ in done):
        raise typer.Exit(ExitCode.PENDING)


@file_command("cancel")
def cancel(desk: Desk, file: Id) -> None:
    """Stop with a file for good: what is here of it goes, and the server need not keep it."""
    name = message_id(file)

    async def stop(client: Client) -> tuple[Transfer, Contact]:
        stopped = await client.cancel(name)
        return stopped, await client.contact(str(stopped.contact))

    stopped, contact = desk.run(stop)
    desk.say(_line(stopped, contact), **_fields(stopped, contact))


@file_command("auto")
def auto(
    desk: Desk,
    below: Annotated[str, typer.Option(metavar="SIZE", help="Files up to this size, such as 20M; 0: none.")],
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where to put them.")] = Path(),
) -> None:
    """Fetch small files of contacts without being asked, whenever `hush read` or `inbox` runs.

    What strangers offer is never fetched unasked.
    """
    most, place = _size(below), folder.resolve()
    if most and not place.is_dir():
        raise UsageError("there is no such folder to put files into", hint="make it, or choose another")
    desk.run(lambda client: client.fetch_unasked(below=most, folder=place))
    sentence = (
        f"files up to {words.size(most)} go to {printable(str(place))}" if most else "nothing is fetched"
    )
    desk.say(sentence, below=most, folder=str(place))


def _list(desk: Desk) -> None:
    async def look(client: Client) -> list[tuple[Transfer, Contact]]:
        return await _with_contacts(client, await client.transfers())

    found = desk.run(look)
    for transfer, contact in found:
        desk.say(_line(transfer, contact), **_fields(transfer, contact))
    if not found and not desk.as_json:
        desk.notice("no files")


async def _with_contacts(client: Client, found: list[Transfer]) -> list[tuple[Transfer, Contact]]:
    return [(each, await client.contact(str(each.contact))) for each in found]


async def _arrived(client: Client, name: MessageId) -> None:
    """If the message is not here yet, wait until everything is that the server has for us."""
    if all(each.id != name for each in await client.transfers()):
        problem: HushpostError | None = await caught_up(client)
        if problem is not None:
            raise problem


def _line(transfer: Transfer, contact: Contact) -> str:
    """One file for people."""
    where = "to" if transfer.direction is Direction.SENT else "from"
    size = words.size(transfer.carried if transfer.size is None else transfer.size)
    far = f" {_percent(transfer)}" if transfer.state in {TransferState.WAITING, TransferState.RUNNING} else ""
    is_here = transfer.direction is Direction.RECEIVED and transfer.state is TransferState.DONE
    known = transfer.why or (transfer.path if is_here else "")
    note = f": {printable(known)}" if known else ""
    name = printable(transfer.name) + ("/" if transfer.is_folder else "")
    return f"{transfer.id}  {transfer.state}{far}  {where} {words.who(contact)}  {size}  {name}{note}"


def _percent(transfer: Transfer) -> str:
    if not transfer.size:
        return ""
    return f"{transfer.carried * 100 // transfer.size} %"


def _fields(transfer: Transfer, contact: Contact) -> dict[str, Any]:
    """One file in JSON. Names are as they came."""
    return {
        "event": "file",
        "id": str(transfer.id),
        "direction": transfer.direction,
        "contact": contact.shown,
        "account": str(contact.account),
        "trust": contact.trust,
        "standing": contact.standing,
        "name": transfer.name,
        "size": transfer.size,
        "folder": transfer.is_folder,
        "state": transfer.state,
        "carried": transfer.carried,
        "path": transfer.path,
        "why": transfer.why,
        "since": transfer.since,
    }


def _size(text: str) -> int:
    """Raises UsageError: no size."""
    found = re.fullmatch(r"(\d{1,12})([KMGT]?)(i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise UsageError("this is no size", hint="write it like 500K, 20M or 1G")
    return int(found[1]) * UNITS[found[2].upper()]
