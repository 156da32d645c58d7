"""`hush send`: a text or files on their way, and how far they have come."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hushpost.cli import words
from hushpost.cli.completion import Who
from hushpost.cli.desk import Desk, stdin_text, terminated_as_interrupted
from hushpost.cli.options import all_given, command_with
from hushpost.cli.progress import always, shown
from hushpost.client.transfers.sources import kind_of
from hushpost.client.values import Contact, Delivery, Message, Trust
from hushpost.errors import Blocked, ExitCode, HushpostError, Unreachable, UsageError
from hushpost.untrusted import printable

if TYPE_CHECKING:
    from hushpost.client.api import Client

PATIENCE = 20.0
"""Seconds: longer than it takes to find out that a server is not there."""

STDIN = "-"

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
    file: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="Send this file or folder, with the text; - is stdin. Repeatable.",
            callback=all_given,
        ),
    ] = None,
    as_: Annotated[str, typer.Option("--as", metavar="NAME", help="What the file is called there.")] = "",
    wait: Annotated[Wait, typer.Option(help="How far it has to come.")] = Wait.ACCEPTED,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for that.")] = PATIENCE,
) -> None:
    """Send a text, or files.

    A text is safe on this machine at once; what is printed is how far it came. A file is sent first, and
    offered when the server has all of it, however long that takes; interrupted, it goes on with `hush files
    resume`. What is waited for, and for how long, is what becomes of the offer.

    Exit code 14: not as far as was waited for; it goes on with the next command that reaches the server.
    Other codes: it is queued, and something has to be put right first.
    """
    if file:
        _send_files(desk, who, Parcel(tuple(file), as_, text or ""), wait, timeout)
    if as_:
        raise UsageError("--as names a file, and there is none", hint="say which with --file")
    content = stdin_text() if text is None else text
    sent = desk.run(lambda client: _send(desk, client, who, content, wait, timeout), "sending")
    if code := _tell(desk, sent, wait):
        raise typer.Exit(code)


@dataclass(frozen=True, slots=True)
class Sent:
    """A message, as it stands at last.

    Attributes:
        problem: why it did not come further, if that is known.
    """

    contact: Contact
    message: Message
    problem: HushpostError | None


@dataclass(frozen=True, slots=True)
class Parcel:
    """Files that are sent at once, and what is said with the first of them."""

    paths: tuple[str, ...]
    name: str
    caption: str

    def check(self) -> None:
        """Raises UsageError: it makes no sense, or one of them cannot be sent: then none is."""
        if self.name and len(self.paths) > 1:
            raise UsageError("--as names one file, and there are several")
        if STDIN in self.paths:
            if self.paths.count(STDIN) > 1:
                raise UsageError("standard input can be sent once only")
            if not self.name:
                raise UsageError("what is piped in has no name", hint="give it one with --as NAME")
            if sys.stdin is None:
                raise UsageError("standard input is closed", hint="give it something to read, such as < FILE")
        for path in self.paths:
            if path != STDIN:
                kind_of(Path(path))


def _send_files(desk: Desk, who: str, parcel: Parcel, wait: Wait, seconds: float) -> None:
    """One after the other; each is told when it is through."""
    parcel.check()

    async def interruptibly(client: Client) -> list[Sent]:
        with terminated_as_interrupted():
            return await send_all(client)

    async def send_all(client: Client) -> list[Sent]:
        contact, caption, done = await client.contact(who), parcel.caption, list[Sent]()
        for path in parcel.paths:
            source = sys.stdin.buffer if path == STDIN else Path(path)
            with shown(desk, always(parcel.name or path)) as report:
                sent = await client.send_file(
                    contact.account, source, name=parcel.name, caption=caption, progress=report
                )
            if sent.why:
                desk.notice(f"note: {printable(sent.why)}")
            done.append(await _followed(client, contact, await client.message(sent.id), wait, seconds))
            caption = ""
        return done

    if STDIN in parcel.paths:
        desk.notice("note: until standard input has ended, this cannot be resumed")
    try:
        with desk.resumable(kept=STDIN not in parcel.paths):
            done = desk.run(interruptibly)
    except Unreachable as error:
        desk.notice(f"note: {printable(str(error))}; what was begun goes on with hush files resume")
        raise typer.Exit(ExitCode.PENDING) from None
    codes = [_tell(desk, sent, wait) for sent in done]
    raise typer.Exit(max(codes))


def _tell(desk: Desk, sent: Sent, wait: Wait) -> ExitCode:
    """How far it has come, and what that is for the shell.

    Raises:
        HushpostError: something has to be put right first.
    """
    contact, message, problem = sent.contact, sent.message, sent.problem
    _say(desk, contact, message)
    if contact.trust is not Trust.VERIFIED:
        desk.notice(
            f"note: {words.who(contact)}: nobody has checked that this key is theirs: see hush verify"
        )
    if message.remark:
        desk.notice(f"note: {printable(message.remark)}")
    if message.delivery is Delivery.FAILED and contact.trust is Trust.CHANGED:
        desk.notice(
            "  hint: compare with hush verify, or go on with hush contacts accept; then send it again"
        )
        return Blocked.exit_code
    if message.delivery is Delivery.FAILED:
        return ExitCode.FAILED
    if _is_enough(message.delivery, wait):
        return ExitCode.OK
    if problem is not None and not isinstance(problem, Unreachable):
        raise problem  # time alone does not mend this one
    if problem is not None:
        desk.notice(f"note: {printable(str(problem))}")
    return ExitCode.PENDING


def _say(desk: Desk, contact: Contact, message: Message, *, interrupted: bool = False) -> None:
    file = f", {words.attachment(message.file)}" if message.file else ""
    sentence = f"{words.sent(message.delivery)} ({message.id}{file})"
    if interrupted:
        desk.notice(f"interrupted: {sentence}; it goes on with the next command that reaches the server")
    if desk.as_json or not interrupted:
        desk.say(
            sentence,
            id=str(message.id),
            to=contact.shown,
            account=str(contact.account),
            trust=contact.trust,
            delivery=message.delivery,
            remark=message.remark,
            **({"event": "sent", "file": words.offered(message.file)} if message.file else {}),
        )


async def _send(desk: Desk, client: Client, who: str, text: str, wait: Wait, seconds: float) -> Sent:
    """Whoever interrupts it is told what becomes of the text: it may be on its way already."""
    contact = await client.contact(who)
    with terminated_as_interrupted():
        queued = asyncio.ensure_future(client.send(contact.account, text))
        try:
            return await _followed(client, contact, await asyncio.shield(queued), wait, seconds)
        except asyncio.CancelledError:
            message = await client.message((await queued).id)
            _say(desk, contact, message, interrupted=True)
            raise


async def _followed(client: Client, contact: Contact, message: Message, wait: Wait, seconds: float) -> Sent:
    """Wait until it is as far as it should be, or nothing moves."""
    problem: HushpostError | None = None
    if wait is not Wait.NONE:
        try:
            async with asyncio.timeout(seconds):
                await client.settled()
                if not _is_enough((await client.message(message.id)).delivery, wait):
                    await client.reached(message.id, Delivery(wait))
        except TimeoutError:
            why = await client.held_up(contact.account)
            problem = Unreachable(f"this took longer than {seconds:g} seconds{': ' if why else ''}{why}")
        except HushpostError as error:
            problem = error
    contact = await client.contact(str(contact.account))  # sending may have found another key
    return Sent(contact, await client.message(message.id), problem)


def _is_enough(delivery: Delivery, wait: Wait) -> bool:
    if wait is Wait.NONE:
        return True
    return delivery in {Delivery.DELIVERED, Delivery(wait)}
