"""The command `hush`: one Typer application, and what becomes of errors.

Every error that can be expected is one sentence on stderr, with a hint where there is a way out, and an
exit code of docs/reference/exit-codes.md. Nobody is shown a traceback for a full disk or a dead server.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from hushpost import __version__
from hushpost.cli import (
    account,
    checkup,
    classic,
    classic_server,
    files,
    people,
    reading,
    sending,
    serve,
    server,
)
from hushpost.cli.options import folder
from hushpost.client.profiles import DEFAULT_PROFILE
from hushpost.errors import ExitCode, HushpostError, UsageError
from hushpost.untrusted import printable

app = typer.Typer(
    name="hush",
    help="A self-hosted post office for end-to-end encrypted messages and files.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (account, sending, reading, files, people, checkup):
    app.add_typer(room.app)
app.command()(serve.serve)
app.add_typer(server.app, name="server")
classic.app.command()(classic_server.serve)
classic.app.command("import")(classic_server.import_)
app.add_typer(classic.app, name="classic")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hush {__version__}")
        raise typer.Exit


@app.callback()
def hush(
    home: Annotated[
        Path | None,
        typer.Option(parser=folder, envvar="HUSH_HOME", metavar="DIR", help="Folder of all profiles."),
    ] = None,
    profile: Annotated[
        str, typer.Option(metavar="NAME", help="Which profile: an account and its database.")
    ] = DEFAULT_PROFILE,
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and leave."
    ),
) -> None:
    """A self-hosted post office for end-to-end encrypted messages and files."""


def main() -> NoReturn:
    """Run the command line and leave with its exit code. Typer itself handles a closed pipe."""
    _prepare_streams()
    try:
        _refuse_empty_variables(os.environ)
        code = app(prog_name="hush", standalone_mode=False)
    except HushpostError as error:
        _leave(error.exit_code, str(error), error.hint)
    except TyperException as error:
        _leave(error.exit_code, *_usage(error))
    except typer.Abort:  # Ctrl-C, or the end of input, where something was asked
        sys.exit(ExitCode.INTERRUPTED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        hint = "make room and repeat the command" if error.errno == errno.ENOSPC else ""
        _leave(ExitCode.FAILED, f"{where}{error.strerror or error}", hint)
    sys.exit(code if isinstance(code, int) else ExitCode.OK)


def _prepare_streams() -> None:
    """Refuse to show things to nobody; and let no file or connection get the number of a closed stream."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)
    os.close(handle)
    if sys.stdout is None:
        hint = "where nobody wants to see it, use >/dev/null"
        _leave(ExitCode.USAGE, "standard output is closed: what is shown would be lost", hint)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a letter that the terminal lacks must not be an error
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, TextIOWrapper):  # nor a byte that is none: whoever asked for the line refuses it
        sys.stdin.reconfigure(errors="surrogateescape")


def _refuse_empty_variables(environ: Mapping[str, str]) -> None:
    """Empty is what a script has that forgot to set it: it must not mean another place than was meant."""
    for name, value in environ.items():
        if name.startswith("HUSH_") and not value:
            raise UsageError(f"the variable {name} is set and empty", hint=f"unset {name}, or say what it is")


_PLAIN = (
    ("Value error, ", ""),
    (r"Input should be a valid (integer|number).*", r"this is no \1"),
    (r"Input should be greater than or equal to ", "the least is "),
    (r"Input should be less than or equal to ", "the most is "),
)
"""Patterns of what the libraries below say, and what we say."""


def _usage(error: TyperException) -> tuple[str, str]:
    """What is wrong with the command line, and where to read on; nothing where the help was shown already."""
    sentence = error.format_message().removesuffix(".")
    for pattern, ours in _PLAIN:
        sentence = re.sub(pattern, ours, sentence)
    context = getattr(error, "ctx", None)
    hint = f"`{context.command_path} -h` shows what it takes" if sentence and context else ""
    if hint and hasattr(error, "option_name"):
        hint += "; put -- in front of a text or name that begins with a dash"
    return sentence[:1].lower() + sentence[1:], hint


def _leave(code: int, sentence: str, hint: str) -> NoReturn:
    """Escaped, since a sentence may quote what a stranger or a file name brought."""
    for prefix, text in (("hush: ", sentence), ("  hint: ", hint)):
        if text:
            typer.echo(prefix + printable(text), err=True)
    sys.exit(code)
