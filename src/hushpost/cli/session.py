"""What every subcommand of the classic client shares: its options, and what they open."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from hushpost.classic.client.link import DEFAULT_TIMEOUT, Address
from hushpost.cli.options import folder

if TYPE_CHECKING:
    from hushpost.classic.client.account import Account
    from hushpost.classic.client.profile import Profile
    from hushpost.classic.client.requests import ClassicClient


MAX_TIMEOUT = 86_400.0
"""A day: far more is no waiting but a mistake, and more than the system can count."""


def _number(seconds: float) -> float:
    """Not-a-number is neither below nor above any bound."""
    if math.isnan(seconds):
        raise typer.BadParameter("nan is not a number of seconds")
    return seconds


class Session(msgspec.Struct, frozen=True):
    """What the common options say. Everything is opened only when a command asks for it."""

    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False
    directory: Annotated[
        Path,
        typer.Option(
            "--dir", parser=folder, metavar="DIR", help="Working directory, with me.info and server.info."
        ),
    ] = Path()
    server: Annotated[
        str | None, typer.Option("--server", metavar="HOST:PORT", help="Instead of what server.info says.")
    ] = None
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            min=0.1,
            max=MAX_TIMEOUT,
            callback=_number,
            help="Seconds to wait for the server: to connect, and for each 4 KiB that move.",
        ),
    ] = DEFAULT_TIMEOUT

    @property
    def profile(self) -> Profile:
        """The working directory."""
        from hushpost.classic.client.profile import Profile

        return Profile(self.directory)

    @property
    def address(self) -> Address:
        """Where the server is."""
        return self.profile.server() if self.server is None else Address.parse(self.server)

    @property
    def client(self) -> ClassicClient:
        """Speaks to that server."""
        from hushpost.classic.client.requests import ClassicClient

        return ClassicClient(self.address, timeout=self.timeout)

    def account(self) -> Account:
        """The registered client of the working directory."""
        from hushpost.classic.client.account import Account

        return Account(self.profile, self.client)

    def say(self, sentence: str, **fields: object) -> None:
        """The outcome: a sentence for people, or the fields as one line of JSON."""
        typer.echo(json.dumps(fields) if self.as_json else sentence)

    def notice(self, sentence: str) -> None:
        """A remark, on stderr."""
        typer.echo(sentence, err=True)
