"""`hush contacts` and `hush verify`: who is who, who may write, and how sure that is."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from hushpost.cli import words
from hushpost.cli.completion import Who
from hushpost.cli.desk import Desk, is_terminal, qr_code
from hushpost.cli.options import command_with
from hushpost.client.values import Contact, Trust
from hushpost.errors import Untrusted
from hushpost.untrusted import printable

if TYPE_CHECKING:
    from hushpost.client.api import Client
    from hushpost.client.directory import Listed
    from hushpost.ids import AccountId

app = typer.Typer()
contacts = typer.Typer(help="The people you know, and those who would like to.", no_args_is_help=True)
app.add_typer(contacts, name="contacts")
command = partial(command_with, contacts, Desk)


@command("list")
def list_contacts(desk: Desk) -> None:
    """List contacts, strangers who have written, and whom you blocked."""
    people = desk.run(lambda client: client.contacts())
    for each in people:
        own = f", who calls themselves {printable(each.name)}" if each.alias else ""
        desk.say(f"{each.account}  {words.who(each)}{own}", **words.person(each))
    if not people and not desk.as_json:
        desk.notice("nobody yet: hush contacts add LINK")


@command("add")
def add(
    desk: Desk,
    link_or_name: Annotated[
        str,
        typer.Argument(
            metavar="LINK|NAME", help="A person's hush:// link (verified), or exact name on the server."
        ),
    ],
) -> None:
    """Add somebody, by link (then they are verified) or by name."""
    try:
        contact = desk.run(lambda client: client.add(link_or_name), "asking the server")
    except Untrusted as error:
        error.hint = error.hint or "ALARM: the server gave out keys that are not theirs: nobody was added"
        raise
    _tell(desk, "added", contact)
    if contact.trust is Trust.UNVERIFIED:
        desk.notice(f"note: only the server says that this key is theirs: hush verify {contact.account}")


@command("directory")
def directory(
    desk: Desk,
    prefix: Annotated[str, typer.Argument(help="What their names begin with; without it, all.")] = "",
    after: Annotated[str, typer.Option(metavar="NAME", help="Go on behind this name.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many.")] = 1_000,
) -> None:
    """List who is on the server, if it is open for that."""

    async def look(client: Client) -> tuple[list[Listed], bool, set[AccountId]]:
        known = {each.account for each in await client.contacts()}
        found: list[Listed] = []
        async with contextlib.aclosing(client.directory(prefix, after)) as pages:
            async for page in pages:
                found += page
                if len(found) > limit:
                    break
        return found[:limit], len(found) > limit, known

    found, more, known = desk.run(look, "asking the server")
    for each in found:
        is_known = each.account in known
        mark = "known" if is_known else "unknown"
        desk.say(
            f"{each.account}  [{mark}] {printable(each.name)}",
            account=str(each.account),
            name=each.name,
            known=is_known,
        )
    if more:
        desk.notice(f"there are more: --after {shlex.quote(printable(found[-1].name))}")
    elif not found:
        desk.notice("nobody is called so")


@command("accept")
def accept(desk: Desk, who: Who) -> None:
    """Let a stranger be a contact; or go on with a replaced key, unverified."""
    _tell(desk, "accepted", _change(desk, who, lambda client, account: client.accept(account)))


@command("block")
def block(desk: Desk, who: Who) -> None:
    """Drop whatever somebody sends from now on. They are not told."""
    _tell(desk, "blocked", _change(desk, who, lambda client, account: client.block(account)))


@command("rename")
def rename(
    desk: Desk,
    who: Who,
    alias: Annotated[str, typer.Argument(help="Your name for them; empty: their own.")],
) -> None:
    """Call somebody what you like, on this machine."""
    _tell(desk, "renamed", _change(desk, who, lambda client, account: client.rename(account, alias)))


@partial(command_with, app, Desk)("verify")
def verify(
    desk: Desk,
    who: Who,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="You have compared the number: mark them verified.")
    ] = False,
) -> None:
    """Show the safety number that you and somebody share.

    Compare it by voice or side by side. If both of you see the same sixty digits, nobody stands between
    you. On a terminal it asks.
    """

    async def look(client: Client) -> tuple[Contact, str]:
        contact = await client.contact(who)
        return contact, await client.safety_number(contact.account)

    contact, number = desk.run(look)
    if not desk.as_json:
        typer.echo(f"{words.who(contact)}: the safety number that both of you should see:\n")
        typer.echo(words.groups(number) + "\n")
        if is_terminal(sys.stdout):
            typer.echo(qr_code(number) + "\n")
        if not confirm and contact.trust is not Trust.VERIFIED and is_terminal(sys.stdin, sys.stdout):
            confirm = typer.confirm("Do they see the same number, told by themselves and not by a message?")
    if confirm:
        contact = desk.run(lambda client: client.verify(contact.account, number))
    if desk.as_json:
        desk.say("", safety_number=number, **words.person(contact))
    elif confirm:
        _tell(desk, "verified", contact)
    elif contact.trust is not Trust.VERIFIED:
        desk.notice("not verified: repeat this with --confirm when you have compared the numbers")


def _change(desk: Desk, who: str, change: Callable[[Client, AccountId], Awaitable[Contact]]) -> Contact:
    async def changed(client: Client) -> Contact:
        contact = await client.contact(who, among_all=True)
        return await change(client, contact.account)

    return desk.run(changed)


def _tell(desk: Desk, done: str, contact: Contact) -> None:
    desk.say(f"{done}: {words.who(contact)}", **words.person(contact))
