"""`hush classic ...`: the classic client for people (menu, test) and for scripts (everything else)."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from hushpost.classic.client.link import Address
from hushpost.cli.options import command_with
from hushpost.cli.session import Session
from hushpost.errors import ExitCode, UsageError
from hushpost.untrusted import printable

if TYPE_CHECKING:
    from hushpost.classic.client.account import Account
    from hushpost.classic.payloads import ClientId

app = typer.Typer(help="The classic protocol: its server, and its client.", no_args_is_help=True)
command = partial(command_with, app, Session)

Recipient = Annotated[str, typer.Argument(metavar="RECIPIENT", help="A name, or an id of 32 digits.")]
AutoKey = Annotated[bool, typer.Option("--no-auto-key", help="Fail where no key is agreed yet.")]


@command("register")
def register(
    session: Session, name: Annotated[str, typer.Argument(help="2 characters to 254 bytes.")]
) -> None:
    """Take a name on the server, for ever, and write me.info."""
    from hushpost.classic.client.registration import register

    identity = register(session.profile, session.client, name)
    session.say(
        f"registered {printable(name)} as {identity.client_id}", name=name, id=identity.client_id.hex()
    )


@command("whoami")
def whoami(session: Session) -> None:
    """Show the name and the id in me.info, without asking the server."""
    identity = session.profile.identity()
    name, client_id = identity.name, identity.client_id.hex()
    session.say(f"{client_id}  {printable(name)}", name=name, id=client_id)


@command("list")
def list_clients(session: Session) -> None:
    """List everybody else, in order of registration."""
    clients = session.account().clients()
    if not session.as_json:
        for client in clients:
            typer.echo(f"{client.client_id}  {printable(client.name)}")
        return
    before = start = '{"clients": ['
    for client in clients:
        typer.echo(before + json.dumps({"id": client.client_id.hex(), "name": client.name}), nl=False)
        before = ", "
    typer.echo((start if before == start else "") + "]}")


@command("key")
def key(session: Session, recipient: Recipient) -> None:
    """Show the public key that a client registered, in hexadecimal."""
    account = session.account()
    peer = account.find(recipient)
    public_key = account.public_key(peer).hex()
    session.say(public_key, id=peer.hex(), public_key=public_key)


@command("request-key")
def request_key(session: Session, recipient: Recipient) -> None:
    """Ask a client for a key."""
    account = session.account()
    _sent(session, peer := account.find(recipient), account.request_key(peer))


@command("send-key")
def send_key(session: Session, recipient: Recipient) -> None:
    """Send a client the key of the pair: the one in use, or a fresh one."""
    account = session.account()
    _sent(session, peer := account.find(recipient), account.send_key(peer))


@command("send")
def send(
    session: Session,
    recipient: Recipient,
    text: Annotated[str | None, typer.Argument(help="Without it, the text is read from stdin.")] = None,
    no_auto_key: AutoKey = False,
) -> None:
    """Send a text."""
    if text is None:
        text = _text_of_stdin()
    account = session.account()
    peer = account.find(recipient)
    key_sent = _ensure_key(session, account, peer, no_auto_key)
    _sent(session, peer, account.send_text(peer, text), key_sent=key_sent)


@command("send-file")
def send_file(
    session: Session,
    recipient: Recipient,
    path: Annotated[str, typer.Argument(help="The file, or - for stdin.")],
    no_auto_key: AutoKey = False,
) -> None:
    """Send a file of up to 1 GiB. The protocol does not carry its name."""
    from hushpost.classic.client.sources import source

    with source(path) as (file, size):
        account = session.account()
        peer = account.find(recipient)
        key_sent = _ensure_key(session, account, peer, no_auto_key)
        _sent(session, peer, account.send_file(peer, file, size), key_sent=key_sent)


@command("fetch")
def fetch(session: Session) -> None:
    """Show the waiting messages, and save the files among them under received/.

    Exit code 10: some could not be opened; all the others were shown. Exit code 1: some have no room on
    the disk, and wait.
    """
    from hushpost.classic.client.inbox import Received
    from hushpost.classic.client.show import describe

    def show(received: Received) -> None:
        typer.echo(json.dumps(msgspec.to_builtins(received)) if session.as_json else describe(received))

    summary = session.account().fetch(show)
    if summary.repeats:
        session.notice(f"{summary.repeats} messages came again and are not shown twice")
    if not (summary.received or summary.put_off or session.as_json):
        session.notice("no messages")
    if summary.put_off:
        session.notice(
            f"{summary.put_off} messages wait in me.spool-*, perhaps their only copies: there is no room for "
            "their files; make room and fetch again"
        )
    if summary.not_opened:
        session.notice(f"{summary.not_opened} of {summary.received} messages could not be opened")
    if summary.put_off or summary.not_opened:
        raise typer.Exit(ExitCode.FAILED if summary.put_off else ExitCode.UNDECRYPTABLE)


@command("open")
def open_kept(
    session: Session,
    recipient: Annotated[str, typer.Argument(metavar="SENDER", help="A name, or an id of 32 digits.")],
    path: Annotated[Path, typer.Argument(help="A .sealed file that fetch has kept.")],
) -> None:
    """Open a content that could not be opened when it came, now that its sender has sent a key."""
    account = session.account()
    opened = account.open_kept(account.find(recipient), path)
    session.say(f"opened as {printable(str(opened))}", path=str(opened), size=opened.stat().st_size)


@command("menu")
def menu(session: Session) -> None:
    """The interactive menu, with the original's numbers.

    Exit code 1: something that was chosen failed.
    """
    from hushpost.classic.client.menu import Menu
    from hushpost.classic.client.sources import need_stdin

    if session.as_json:
        raise UsageError("the menu is for people and has no JSON form", hint="use the other subcommands")
    need_stdin()
    if not Menu(session.profile, session.client).run():
        raise typer.Exit(ExitCode.FAILED)


@command("test")
def self_test(
    session: Session,
    address: Annotated[str, typer.Argument(metavar="[HOST:PORT]", help="Instead of server.info.")] = "",
) -> None:
    """Try every action against a server, with clients of random names."""
    from hushpost.classic.client.requests import ClassicClient
    from hushpost.classic.client.selftest import SelfTest

    where = Address.parse(address) if address else session.address
    test = SelfTest(ClassicClient(where, timeout=session.timeout))
    failed = 0
    for result in test.run():
        failed += bool(result.failure)
        session.say(str(result), step=result.step, passed=not result.failure, failure=result.failure)
    if failed:
        session.notice(f"{failed} of {len(test.steps)} steps failed")
        raise typer.Exit(ExitCode.FAILED)
    session.notice(f"all {len(test.steps)} steps passed")


def _sent(session: Session, peer: ClientId, message_id: int, **fields: object) -> None:
    session.say(f"sent as message {message_id}", id=peer.hex(), message_id=message_id, **fields)


def _ensure_key(session: Session, account: Account, peer: ClientId, no_auto_key: bool) -> bool:
    """The original has its users negotiate keys by hand; a script is spared that."""
    if no_auto_key or not account.ensure_key(peer):
        return False
    session.notice("no key was agreed with this client yet: a fresh one was sent first")
    return True


def _text_of_stdin() -> str:
    from hushpost.classic.client.inbox import MAX_TEXT
    from hushpost.classic.client.sources import need_stdin

    need_stdin()
    raw = sys.stdin.buffer.read(MAX_TEXT)
    if len(raw) == MAX_TEXT:
        raise UsageError("a text has less than 1 MiB", hint="send it with `hush classic send-file`")
    try:
        return raw.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise UsageError("this text is not UTF-8", hint="send it with `hush classic send-file`") from None
