"""`hush send`: a text on its way, and how far it has come."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from hushpost.cli import words
from hushpost.cli.completion import Who
from hushpost.cli.desk import Desk, stdin_text
from hushpost.cli.options import command_with
from hushpost.client.values import Contact, Delivery, Message, Trust
from hushpost.errors import ExitCode, HushpostError, Unreachable
from hushpost.untrusted import printable

if TYPE_CHECKING:
    from hushpost.client.api import Client

PATIENCE = 20.0
"""Seconds: longer than it takes to find out that a server is not there."""

app = typer.Typer()
command = partial(command_with, app, Desk)


class Wait(StrEnum):
    """How far a message has to come before `send` leaves. The names are those of `Delivery`."""

    NONE = "none"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"


@command("send")
def send(
    desk: Desk,
    who: Who,
    text: Annotated[str | None, typer.Argument(help="Without it, the text is read from stdin.")] = None,
    wait: Annotated[Wait, typer.Option(help="How far it has to come.")] = Wait.ACCEPTED,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for that.")] = PATIENCE,
) -> None:
    """Send a text.

    It is safe on this machine at once; what is printed is how far it came.

    Exit code 14: not as far as was waited for; it goes on with the next command that reaches the server.
    Other codes: it is queued, and something has to be put right first.
    """
    content = stdin_text() if text is None else text
    contact, message, problem = desk.run(lambda client: _send(client, who, content, wait, timeout), "sending")
    desk.say(
        f"{words.sent(message.delivery)} ({message.id})",
        id=str(message.id),
        to=contact.shown,
        account=str(contact.account),
        trust=contact.trust,
        delivery=message.delivery,
        remark=message.remark,
    )
    if contact.trust is not Trust.VERIFIED:
        desk.notice(
            f"note: {words.who(contact)}: nobody has checked that this key is theirs: see hush verify"
        )
    if message.remark:
        desk.notice(f"note: {printable(message.remark)}")
    if message.delivery is Delivery.FAILED:
        raise typer.Exit(ExitCode.FAILED)
    if _is_enough(message.delivery, wait):
        return
    if problem is not None and not isinstance(problem, Unreachable):
        raise problem  # time alone does not mend this one
    if problem is not None:
        desk.notice(f"note: {printable(str(problem))}")
    raise typer.Exit(ExitCode.PENDING)


async def _send(
    client: Client, who: str, text: str, wait: Wait, seconds: float
) -> tuple[Contact, Message, HushpostError | None]:
    """The contact, the message as it stands at last, and why it did not come further, if that is known."""
    contact = await client.contact(who)
    message = await client.send(contact.account, text)
    problem: HushpostError | None = None
    if wait is not Wait.NONE:
        try:
            async with asyncio.timeout(seconds):
                await client.settled()
                if not _is_enough((await client.message(message.id)).delivery, wait):
                    await client.reached(message.id, Delivery(wait))
        except TimeoutError:
            problem = Unreachable(f"this took longer than {seconds:g} seconds")
        except HushpostError as error:
            problem = error
    return contact, await client.message(message.id), problem


def _is_enough(delivery: Delivery, wait: Wait) -> bool:
    if wait is Wait.NONE:
        return True
    return delivery in {Delivery.DELIVERED, Delivery(wait)}
