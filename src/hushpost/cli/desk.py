"""What every command of the client shares: which profile, how it is opened, and how outcomes are told."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO, TypeVar

import msgspec
import typer

from hushpost.client.profiles import DEFAULT_PROFILE, profile_folder
from hushpost.errors import StoreFull, UsageError

if TYPE_CHECKING:
    from hushpost.client.api import Client
    from hushpost.client.vault import Ask, Asking

T = TypeVar("T")

MAX_STDIN = 1 << 20
"""Bytes that are read from standard input: far more than the longest text."""


class Desk(msgspec.Struct, frozen=True):
    """Where a command is called, and how it answers. A profile is opened only when a command asks for it."""

    context: typer.Context
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False

    @property
    def folder(self) -> Path:
        """The profile's. From the options before the subcommand, which completion parses and never calls."""
        before = self.context.find_root().params
        home = before.get("home")
        profile = before.get("profile")
        return profile_folder(Path(home) if home else None, DEFAULT_PROFILE if profile is None else profile)

    def run(self, work: Callable[[Client], Awaitable[T]], doing: str = "", *, unattended: bool = False) -> T:
        """Open the profile, do the work, close it.

        Args:
            doing: shown meanwhile, on a terminal.
            unattended: rather fail than ask for a passphrase.
        """
        from hushpost.client.api import Client

        ask = None if unattended else asker(self.folder, may_be_new=False)

        async def opened() -> T:
            async with Client.open(self.folder, ask=ask) as client:
                with self.busy(doing):
                    return await work(client)

        return self.wait_for(opened)

    def wait_for(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run something that can wait, in an event loop of its own."""
        import asyncio

        return asyncio.run(work())

    @contextlib.contextmanager
    def busy(self, doing: str) -> Iterator[None]:
        """Show on stderr that something takes its time, if that is a terminal."""
        if not doing or not is_terminal(sys.stderr):
            yield
            return
        from rich.console import Console

        with Console(stderr=True).status(doing):
            yield

    @contextlib.contextmanager
    def resumable(self, *, kept: bool = True) -> Iterator[None]:
        """Where files are interrupted, or have no room, tell how to go on, if something is kept."""
        try:
            yield
        except KeyboardInterrupt:
            if kept:
                self.notice("interrupted: what was begun is kept: hush files resume")
            raise
        except StoreFull:
            if kept:
                self.notice("note: what was begun is kept: hush files resume")
            raise

    def say(self, sentence: str, **fields: object) -> None:
        """The outcome: a sentence for people, or the fields as one line of JSON."""
        typer.echo(json.dumps(fields) if self.as_json else sentence)

    def notice(self, sentence: str) -> None:
        """A remark, on stderr."""
        typer.echo(sentence, err=True)


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does: it cancels, and does not just kill. Within an event loop."""
    import asyncio

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def is_terminal(*streams: TextIO | None) -> bool:
    """Whether a person is at all of these. One that the caller has closed is None."""
    return all(stream is not None and stream.isatty() for stream in streams)


def asker(folder: Path, *, may_be_new: bool) -> Ask | None:
    """How to ask for the passphrase of a profile; None where no person is at a terminal.

    Where a passphrase will be needed, it is asked for now: Ctrl-C ends a prompt only while nothing else waits
    for the answer. It is asked once in a process: what a new one has locked, it opens.
    """
    if not is_terminal(sys.stdin, sys.stderr):
        return None
    from hushpost.client.profiles import ProfileFiles
    from hushpost.client.vault import Asking, Vault, key_source

    asking = Vault(ProfileFiles(folder), key_source()).asks()
    if asking is Asking.EXISTING or (asking is Asking.NEW and may_be_new):
        _ask_once(asking)
    return _ask_once


_told: list[str] = []
"""What was typed."""


def _ask_once(asking: Asking) -> str:
    from hushpost.client.vault import MIN_PASSPHRASE, Asking, check_passphrase

    if not _told:
        is_new = asking is Asking.NEW
        new = f"A passphrase for the messages on this machine, {MIN_PASSPHRASE} characters or more"
        typed = typer.prompt(
            new if is_new else "Passphrase",
            hide_input=True,
            confirmation_prompt=is_new,
            value_proc=check_passphrase if is_new else str,  # refused before it is typed twice
            err=True,
        )
        _told.append(typed)
    return _told[0]


def stdin_text() -> str:
    """What is piped in, less one newline at its end.

    Raises:
        UsageError: too long for any text, or not UTF-8, or closed.
    """
    if sys.stdin is None:
        raise UsageError("standard input is closed", hint="give the text as an argument, or pipe it in")
    raw = sys.stdin.buffer.read(MAX_STDIN)
    if len(raw) == MAX_STDIN:
        raise UsageError("a text has 1 byte to 128 KiB", hint="send what is longer with --file")
    try:
        return raw.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise UsageError("this text is not UTF-8") from None


def qr_code(text: str) -> str:
    """A QR code for a terminal, in half blocks and colours of its own: it is read on any background."""
    import io

    import segno

    drawn = io.StringIO()
    segno.make(text, micro=False).terminal(drawn, compact=True)
    lines = drawn.getvalue().splitlines()
    return "\n".join(typer.style(line, fg=typer.colors.BRIGHT_WHITE, bg=typer.colors.BLACK) for line in lines)
