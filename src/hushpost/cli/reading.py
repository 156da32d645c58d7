"""`hush inbox`, `read`, `history` and `explain`: what has come, and what became of it."""

from __future__ import annotations

import sys
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from hushpost.cli import words
from hushpost.cli.completion import Who
from hushpost.cli.desk import Desk
from hushpost.cli.options import command_with
from hushpost.cli.progress import collect
from hushpost.client.values import (
    Alarm,
    Alarmed,
    Contact,
    Delivery,
    DeliveryChanged,
    Event,
    Message,
    Received,
    Requested,
    Standing,
    TransferEnded,
    TransferState,
)
from hushpost.errors import ExitCode, HushpostError, UsageError
from hushpost.ids import MessageId
from hushpost.untrusted import printable

if TYPE_CHECKING:
    from hushpost.client.api import Client
    from hushpost.ids import AccountId

CURSOR = "hush"
"""Whose place in the events `read` moves: what it has shown is not unread any more."""

MANY = 10_000
"""Events that `inbox` looks at, and says so where there are more."""

app = typer.Typer()
command = partial(command_with, app, Desk)

MOST = 1_000_000
"""Messages of one answer: far more is a mistake, and more than SQLite can count."""

Limit = Annotated[int, typer.Option(min=1, max=MOST, help="At most so many messages: the newest.")]


@command("inbox")
def inbox(desk: Desk) -> None:
    """Show what waits: unread messages by person, and strangers who have written."""

    async def look(client: Client) -> tuple[HushpostError | None, list[Event], list[Contact]]:
        problem = await caught_up(client)
        if problem is None:
            await collect(desk, client)
        return problem, await client.pending(CURSOR, limit=MANY), await client.contacts()

    problem, events, people = desk.run(look, "fetching")
    known = {each.account: each for each in people}
    unread = Counter(each.message.contact for each in events if isinstance(each, Received))
    alarms = [each for each in events if isinstance(each, Alarmed)]
    strangers = [each for each in people if each.standing is Standing.REQUEST]
    if desk.as_json:
        desk.say(
            "",
            unread=[{**words.person(known[each]), "count": count} for each, count in unread.items()],
            requests=[words.person(each) for each in strangers],
            alarms=len(alarms),
        )
    else:
        for account, count in unread.items():
            typer.echo(f"{count} unread: {words.who(known[account])}")
        for each in strangers:
            typer.echo(f"a request: {words.who(each)}: hush contacts accept or block {each.account}")
        if not unread and not strangers:
            desk.notice("nothing waits")
    if len(events) == MANY:
        desk.notice(f"note: that is what the oldest {MANY:,} events came to; there are more")
    for line in words.waiting([each.alarm for each in alarms]):
        desk.notice(line)
    _leave(desk, problem, [])


@command("read")
def read(
    desk: Desk,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with whatever comes, until Ctrl-C.")
    ] = False,
) -> None:
    """Show what is unread, oldest first.

    Exit codes, when all was shown: 4 offline, 10 a message did not open, 11 an alarm about keys.
    """

    async def show(client: Client) -> tuple[HushpostError | None, Reader]:
        with desk.busy("fetching"):
            problem = await caught_up(client)
        if problem is None:
            await collect(desk, client)
        reader = Reader(desk, client)
        if follow:
            if problem is not None:
                desk.notice(f"note: {printable(str(problem))}; whatever comes is shown later")
            async for event in client.events(CURSOR):
                await reader.show(event)
                if isinstance(event, Received) and event.message.file:
                    await collect(desk, client)
        while events := await client.pending(CURSOR):
            for event in events:
                await reader.show(event)
                await client.handled(CURSOR, event.number)
        return problem, reader

    problem, reader = desk.run(show)
    if not reader.shown and not desk.as_json:
        desk.notice("no messages")
    _leave(desk, problem, reader.alarms)


@command("history")
def history(
    desk: Desk,
    who: Who,
    search: Annotated[str, typer.Option(metavar="WORDS", help="Only messages with all of these.")] = "",
    before: Annotated[str, typer.Option(metavar="ID", help="Only messages before this one.")] = "",
    limit: Limit = 100,
) -> None:
    """Show the messages with somebody, both ways, oldest first."""
    if search and before:
        raise UsageError("--search and --before do not go together")

    async def find(client: Client) -> tuple[str, Contact, list[Message]]:
        contact = await client.contact(who)
        name = (await client.whoami()).name
        if search:
            found = await client.search(search, contact=contact.account, limit=limit)
            return name, contact, found[::-1]
        until = message_id(before) if before else None
        return name, contact, await client.history(contact.account, before=until, limit=limit)

    name, contact, messages = desk.run(find)
    for each in messages:
        desk.say(
            words.describe(each, contact),
            **words.fields(each, contact) | ({"from": name} if each.ours else {}),
            ours=each.ours,
            delivery=each.delivery,
        )
    if not messages and not desk.as_json:
        desk.notice("no messages")


@command("explain")
def explain(
    desk: Desk, message: Annotated[str, typer.Argument(metavar="ID", help="Of a message, 32 digits.")]
) -> None:
    """Tell the story of a message: what became of it, and when."""
    story = desk.run(lambda client: client.explain(message_id(message)))
    if desk.as_json:
        desk.say("", id=str(story.message), steps=[{"at": at, "what": what} for at, what in story.steps])
        return
    for at, what in story.steps:
        typer.echo(f"{words.moment(at)}  {printable(what)}")


class Reader:
    """Shows events, and remembers what decides the exit code."""

    def __init__(self, desk: Desk, client: Client) -> None:
        self._desk = desk
        self._client = client
        self.shown = 0
        self.alarms: list[Alarm] = []

    async def show(self, event: Event) -> None:
        """On stdout what was written, on stderr everything else; out of our hands when it returns."""
        match event:
            case Received(message=message):
                contact = await self._contact(message.contact)
                self._desk.say(words.describe(message, contact), **words.fields(message, contact))
                self.shown += 1
            case Requested(contact=contact) if contact.standing is Standing.REQUEST:
                choice = f"hush contacts accept {contact.account}, or block"
                self._desk.notice(f"note: {words.who(contact)} has written: {choice}")
            case DeliveryChanged(delivery=Delivery.FAILED, contact=to, message=message_id, why=why):
                contact = await self._contact(to)
                name = printable(contact.shown)
                self._desk.notice(f"NOT DELIVERED: {message_id} to {name}: {printable(why)}")
            case TransferEnded(state=TransferState.FAILED, message=file, why=why) if await self._failed(file):
                self._desk.notice(f"note: file {file}: {printable(why)}: hush files resume")
            case Alarmed(alarm=alarm):
                name = await self._name(event.contact) if event.contact else ""
                self._desk.notice(words.alarm(event, name))
                self.alarms.append(alarm)
        sys.stdout.flush()

    async def _failed(self, name: MessageId) -> bool:
        """Still: since then it may have been done, or cancelled."""
        found = await self._client.transfers()
        return any(each.id == name and each.state is TransferState.FAILED for each in found)

    async def _name(self, account: AccountId) -> str:
        """Of whoever an alarm is about: it may be nobody that we know."""
        try:
            return (await self._contact(account)).shown
        except UsageError:
            return str(account)

    async def _contact(self, account: AccountId) -> Contact:
        return await self._client.contact(str(account))


async def caught_up(client: Client) -> HushpostError | None:
    """Wait until what was at the server is here; or why it is not."""
    try:
        await client.caught_up()
    except HushpostError as error:
        return error
    return None


def message_id(text: str) -> MessageId:
    """What a person copied.

    Raises:
        UsageError: not the id of a message.
    """
    try:
        return MessageId.parse(text)
    except ValueError:
        raise UsageError("this is not the id of a message", hint="it has 32 hexadecimal digits") from None


def _leave(desk: Desk, problem: HushpostError | None, alarms: list[Alarm]) -> None:
    """With the exit code of what was wrong, after everything was shown."""
    if code := words.alarm_code(alarms):
        raise typer.Exit(code)
    if problem is not None:
        desk.notice("note: what is shown had come before")
        raise problem
    raise typer.Exit(ExitCode.OK)
