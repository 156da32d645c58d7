"""`hush join`, `whoami`, `recover` and `leave`: one's own account, from its beginning to its end."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hushpost.cli import words
from hushpost.cli.desk import Desk, asker, is_terminal, qr_code, stdin_text
from hushpost.cli.options import command_with
from hushpost.errors import LinkError, ProfileError, Unreachable, UsageError
from hushpost.untrusted import printable

if TYPE_CHECKING:
    from hushpost.client.api import Client, Myself
    from hushpost.client.values import Contact

STDIN = Path("-")

MAX_PHRASE = 4_096
"""Bytes of a file that are looked at for a phrase."""

app = typer.Typer()
command = partial(command_with, app, Desk)


@command("join")
def join(
    desk: Desk,
    link: Annotated[str, typer.Argument(help="An invitation: hush://HOST:PORT/join#...")],
    name: Annotated[str, typer.Option(help="What you will be called on this server, for ever.")],
    recovery_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the recovery phrase there instead of showing it."),
    ] = None,
) -> None:
    """Make an account on a server, with an invitation.

    It shows the recovery phrase, once. If it is interrupted, repeat it before any other command: that would
    forget the phrase.
    """
    from hushpost.client.api import Client
    from hushpost.crypto.identity import parse_link

    parse_link(link)  # before anything is asked or made
    target = None if recovery_file is None else _PhraseFile(recovery_file)
    try:
        ask = asker(desk.folder, may_be_new=True)
        joined = desk.wait_for(lambda: Client.join(desk.folder, link, name, ask=ask))
    except BaseException:
        if target is not None:
            target.discard()
        raise
    if target is not None:
        target.write(joined.recovery_phrase)
    phrase = {"recovery_phrase": joined.recovery_phrase} if target is None else {}
    desk.say(
        f"joined {link_host(joined.link.host)}:{joined.link.port} as {printable(name)}\n"
        f"your link, for people who should know that it is you:\n    {joined.link}",
        name=name,
        account=str(joined.link.account.id),
        link=str(joined.link),
        **phrase,
    )
    if target is not None:
        desk.notice(f"the recovery phrase is in {printable(str(recovery_file))}: keep it elsewhere")
    elif not desk.as_json:
        typer.echo(f"your recovery phrase, shown only now:\n    {joined.recovery_phrase}")
        desk.notice("write it down: without it, whoever loses this machine loses the account")
    for each in _met(desk, link):
        desk.notice(f"already a contact, who invited you: {words.who(each)}")


@command("whoami")
def whoami(desk: Desk) -> None:
    """Show your name and your link, with a QR code on a terminal."""
    me = desk.run(lambda client: client.whoami())
    _introduce(desk, me)
    if is_terminal(sys.stdout) and not desk.as_json:
        typer.echo("\n" + qr_code(str(me.link)))


@command("invite")
def invite(
    desk: Desk,
    link: Annotated[str, typer.Argument(help="An invitation to your server: hush://HOST:PORT/join#...")],
) -> None:
    """Put your name to an invitation: whoever joins by it has you as a contact, verified."""
    from hushpost.crypto.identity import JoinLink, parse_link

    invitation, mine = parse_link(link), desk.run(lambda client: client.whoami()).link
    if not isinstance(invitation, JoinLink):
        raise LinkError("this link is no invitation", hint="it is a person's: hush contacts add LINK")
    if invitation.server != mine.server:
        raise LinkError("this is an invitation to another server than yours")
    signed = str(dataclasses.replace(invitation, inviter=mine.account))
    desk.say(signed, link=signed)


@command("recover")
def recover(
    desk: Desk,
    link: Annotated[str, typer.Argument(help="Your own link: hush://HOST:PORT/u/NAME#...")],
    phrase_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            allow_dash=True,
            help="Where the phrase is, or - for stdin. Without it, you are asked.",
        ),
    ] = None,
) -> None:
    """Get your account back on this machine, with the recovery phrase.

    Its other devices can send nothing any more, and get nothing new. Contacts are shown that your key was
    replaced; whoever had verified you is asked to compare again.
    """
    from hushpost.client.api import Client
    from hushpost.crypto.identity import parse_link

    parse_link(link)  # before anything is asked
    phrase = _read_phrase(phrase_file)
    ask = asker(desk.folder, may_be_new=True)
    me = desk.wait_for(lambda: Client.recover(desk.folder, link, phrase, ask=ask))
    _introduce(desk, me)
    desk.notice("your key was replaced: tell your contacts, and compare safety numbers anew")


@command("move")
def move(
    desk: Desk,
    link: Annotated[str, typer.Argument(help="Any link that names the server's new address.")],
) -> None:
    """Follow your server to another address. Only the very same server is accepted there."""
    _introduce(desk, desk.run(lambda client: client.move(link), "asking the server"))
    desk.notice("links that you gave away name the old address: give away this one from now on")


@command("leave")
def leave(
    desk: Desk,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete your account from the server, for ever.

    Its keys are deleted here, too; the history stays. Nobody can ever have the name again, nor can you.
    """
    name = desk.run(lambda client: client.whoami()).name
    if not yes:
        if not is_terminal(sys.stdin):
            raise UsageError("leaving is for ever and nobody is here to ask", hint="say so with --yes")
        typed = typer.prompt("Leaving is for ever. Type your name to go on", err=True)
        if typed != name:
            raise UsageError("that is not your name: nothing was done")
    desk.run(lambda client: client.leave(), "leaving")
    desk.say(f"{printable(name)} has left: the account and its keys are gone", name=name)


def _met(desk: Desk, link: str) -> list[Contact]:
    """Who is known from the start: an invitation may name somebody, and the first connection finds them."""
    from hushpost.crypto.identity import JoinLink, parse_link

    invitation = parse_link(link)
    if not isinstance(invitation, JoinLink) or invitation.inviter is None:
        return []

    async def look(client: Client) -> list[Contact]:
        with contextlib.suppress(Unreachable):
            await client.settled()
        return await client.contacts()

    return desk.run(look, "looking who invited you")


def link_host(host: str) -> str:
    """A host as it stands in front of a port."""
    return f"[{host}]" if ":" in host else host


def _introduce(desk: Desk, me: Myself) -> None:
    desk.say(
        f"{printable(me.name)}\n    {me.link}",
        name=me.name,
        account=str(me.account),
        device=str(me.device),
        link=str(me.link),
    )


class _PhraseFile:
    """Made before anything else happens: a phrase is given once, and there must be a place for it.

    Raises:
        ProfileError: there is something already, or it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ProfileError(
                f"the recovery phrase cannot be written there: {error.strerror}",
                hint="name a new file in a folder of yours",
            ) from None

    def write(self, phrase: str) -> None:
        """Durably, before anybody is told that it is there."""
        with os.fdopen(self._descriptor, "w") as file:
            file.write(phrase + "\n")
            file.flush()
            os.fsync(file.fileno())

    def discard(self) -> None:
        os.close(self._descriptor)
        self._path.unlink(missing_ok=True)


def _read_phrase(path: Path | None) -> str:
    """Never from the arguments, which every user of the machine can list."""
    if path is None and is_terminal(sys.stdin):
        return str(typer.prompt("Recovery phrase", hide_input=True, err=True))
    if path is None or path == STDIN:
        return stdin_text()
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_PHRASE)
    except OSError as error:
        raise ProfileError(
            f"the recovery phrase cannot be read there: {error.strerror}",
            hint="name the file, or - for stdin",
        ) from None
