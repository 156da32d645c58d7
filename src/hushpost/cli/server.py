"""`hush server ...`: what its operator asks of a server, running or not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer

from hushpost.cli.options import folder
from hushpost.cli.serve import DEFAULT_DATA
from hushpost.crypto.identity import JoinLink, Uninvited, parse_link
from hushpost.errors import UsageError
from hushpost.untrusted import printable

app = typer.Typer(no_args_is_help=True, help="Invite people to a server of your own, and look after it.")

Data = Annotated[
    Path,
    typer.Option(parser=folder, metavar="DIR", envvar="HUSH_SERVER_DATA", help="The server's data folder."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]

LONGEST = 3_650 * 86_400
"""Seconds that an invitation may be good for: a date has four digits for its year."""

_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}


@app.command()
def invite(
    uses: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many may register with it.")] = 1,
    expires: Annotated[str, typer.Option(metavar="TIME", help="For how long: 30m, 12h, 7d, 2w.")] = "7d",
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Make an invitation and print its link. It is told now or never: the server keeps a hash of it."""
    from hushpost.app.operate import Invite, operate

    answer = operate(data, Invite(uses, _seconds(expires)))
    typer.echo(json.dumps(answer) if as_json else answer["link"])


@app.command()
def revoke(
    invitation: Annotated[str, typer.Argument(metavar="LINK|HASH", help="Which; see 'invitations'.")],
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Let an invitation be good no more. Whoever has registered with it stays."""
    from hushpost.app.operate import Revoke, operate

    answer = operate(data, Revoke(_hash_of(invitation)))
    typer.echo(json.dumps(answer) if as_json else "revoked")


@app.command()
def invitations(data: Data = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """The invitations that are good."""
    from hushpost.app.operate import ListInvitations, operate

    answer = operate(data, ListInvitations())
    if as_json:
        typer.echo(json.dumps(answer))
        return
    rows = [(each["invitation"], str(each["uses"]), _moment(each["expires"])) for each in answer]
    _table(("invitation", "uses left", "until"), rows)


@app.command()
def accounts(data: Data = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Everybody who has an account, by name."""
    from hushpost.app.operate import ListAccounts, operate

    found: list[dict[str, Any]] = []
    while page := operate(data, ListAccounts(found[-1]["name"] if found else "")):
        found += page
    if as_json:
        typer.echo(json.dumps(found))
        return
    _table(("account", "name"), [(each["account"], printable(each["name"])) for each in found])


@app.command()
def stats(data: Data = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """How much the server holds."""
    from hushpost.app.operate import GetStats, operate

    answer: dict[str, int] = operate(data, GetStats())
    if as_json:
        typer.echo(json.dumps(answer))
        return
    _table(("what", "how much"), [(name.replace("_", " "), f"{number:,}") for name, number in answer.items()])


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="A file that does not exist yet.")],
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Copy the database into a new file, while the server runs. The server's key is not in it: keep both."""
    from hushpost.app.operate import Backup, operate

    answer = operate(data, Backup(str(file.absolute())))
    kept = f"saved; the server's key is in {data / 'identity.key'}: keep a copy of that, too"
    typer.echo(json.dumps(answer) if as_json else kept)


def _seconds(text: str) -> int:
    shape = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text)
    if shape is None:
        raise UsageError(f"{text!r} is not a time", hint="write a number and m, h, d or w, such as 7d")
    seconds = int(shape[1]) * _UNITS[shape[2]]
    if seconds > LONGEST:
        raise UsageError("an invitation is good for ten years at most", hint="make another one then")
    return seconds


def _hash_of(text: str) -> str:
    """Of a link, or as `invitations` prints it."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return text.lower()
    link = parse_link(text)
    if not isinstance(link, JoinLink):
        raise UsageError("this link is no invitation", hint="see hush server invitations")
    if isinstance(link.token, Uninvited):
        raise UsageError("an open link cannot be revoked", hint="start the server without --open")
    return sha256(link.token).hexdigest()


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns that a program can cut at two spaces, too."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        typer.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
