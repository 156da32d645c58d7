"""The command `hush`: one Typer application, and what becomes of errors.

Every error that can be expected is one sentence on stderr, with a hint where there is a way out, and an
exit code of docs/reference/exit-codes.md. Nobody is shown a traceback for a full disk or a dead server.
"""

from __future__ import annotations

import errno
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from hushpost import __version__
from hushpost.cli import account, checkup, classic, classic_server, people, reading, sending, serve, server
from hushpost.client.profiles import DEFAULT_PROFILE
from hushpost.errors import ExitCode, HushpostError
from hushpost.untrusted import printable

app = typer.Typer(
    name="hush",
    help="A self-hosted post office for end-to-end encrypted messages and files.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (account, sending, reading, people, checkup):
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
        Path | None, typer.Option(envvar="HUSH_HOME", metavar="DIR", help="Folder of all profiles.")
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
    """Run the command line and leave with its exit code. Typer itself handles Ctrl-C and a closed pipe."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a letter that the terminal lacks must not be an error
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="hush")
    except HushpostError as error:
        _say(str(error), error.hint)
        sys.exit(error.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        hint = "make room and repeat the command" if error.errno == errno.ENOSPC else ""
        _say(f"{where}{error.strerror or error}", hint)
        sys.exit(ExitCode.FAILED)
    sys.exit(ExitCode.OK)


def _say(sentence: str, hint: str) -> None:
    """Escaped, since a sentence may quote what a stranger or a file name brought."""
    for prefix, text in (("hush: ", sentence), ("  hint: ", hint)):
        if text:
            typer.echo(prefix + printable(text), err=True)
