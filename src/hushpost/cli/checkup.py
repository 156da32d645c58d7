"""`hush receipts`, `usage` and `doctor`: what others learn about you, and whether all is well here."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from hushpost.cli.desk import Desk
from hushpost.cli.options import command_with
from hushpost.errors import HushpostError
from hushpost.untrusted import printable

if TYPE_CHECKING:
    from hushpost.client.api import Client

app = typer.Typer()
command = partial(command_with, app, Desk)


class Switch(StrEnum):
    """What can be on or off."""

    ON = "on"
    OFF = "off"


@command("receipts")
def receipts(
    desk: Desk,
    switch: Annotated[Switch | None, typer.Argument(help="Without it, show which.")] = None,
) -> None:
    """Tell contacts when their messages have come, or not. It shows them when you are online."""

    async def work(client: Client) -> bool:
        if switch is not None:
            await client.send_receipts(wanted=switch is Switch.ON)
        return await client.sends_receipts()

    on = desk.run(work)
    what = "contacts see when their messages have come" if on else "nobody sees whether messages have come"
    desk.say(f"{Switch.ON if on else Switch.OFF}: {what}", receipts=on)


@command("usage")
def usage(desk: Desk) -> None:
    """Show exactly what the server stores about you, in its own words."""
    _table(desk, desk.run(lambda client: client.usage(), "asking the server"))


@command("doctor")
def doctor(desk: Desk) -> None:
    """Show whether all is well: the database's key, the connection, the outbox."""

    async def examine(client: Client) -> dict[str, str]:
        with contextlib.suppress(HushpostError):  # it is among the facts
            await client.settled()
        return await client.doctor()

    _table(desk, desk.run(examine, "looking"))


def _table(desk: Desk, facts: dict[str, str]) -> None:
    width = max(map(len, facts), default=0)
    lines = [f"{printable(key):<{width}}  {printable(value)}" for key, value in facts.items()]
    desk.say("\n".join(lines), **facts)
