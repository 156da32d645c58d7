"""Operator commands: asked of the running server, or carried out on its store where none runs."""

from __future__ import annotations

import os
import socket
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from hushpost.app.address import read_address
from hushpost.app.post import opened_post
from hushpost.app.running import only_server, runner
from hushpost.errors import ExitCode, HushpostError, ProfileError, Unreachable
from hushpost.server.identity import KEY_FILE, ServerIdentity, check_key_is_not_lost
from hushpost.server.operator import (
    SOCKET_FILE,
    AnyCommand,
    Backup,
    Desk,
    Failure,
    GetStats,
    Invite,
    ListAccounts,
    ListInvitations,
    Revoke,
)
from hushpost.stores.base import StoreLimits

__all__ = ["Backup", "GetStats", "Invite", "ListAccounts", "ListInvitations", "Revoke", "operate"]

PATIENCE = 600.0
"""Seconds for an answer: a backup of a large store takes some minutes."""


def operate(data: Path, command: AnyCommand) -> Any:
    """The answer, as plain lists and dictionaries: one of `server.operator.Answer`.

    Raises:
        ProfileError: this is not a server's data folder, or its key is gone, or it may not be read.
        HushpostError: the command was refused, with the exit code that the server gave.
    """
    try:
        known = (data / KEY_FILE).exists()
        if not known:
            check_key_is_not_lost(data)
    except OSError as error:
        raise ProfileError(f"{data} cannot be read: {error.strerror}", hint=_OWNER) from None
    if not known:
        raise ProfileError(
            f"{data} is not the data folder of a server",
            hint="name the folder with --data; the first 'hush serve' makes it",
        )
    answer = _ask(data / SOCKET_FILE, command)
    if answer is None:
        _check_owner(data)
        return _do(data, command)
    if isinstance(answer, dict) and "exit_code" in answer:
        failure = msgspec.convert(answer, Failure)
        refused = HushpostError(failure.error, hint=failure.hint)
        refused.exit_code = ExitCode(failure.exit_code)
        raise refused
    return answer


_OWNER = "run this as the user that the server runs as"


def _check_owner(data: Path) -> None:
    """Root may write into anybody's folder, and leave files there that the server cannot use.

    Raises:
        ProfileError: the folder is another user's.
    """
    if data.stat().st_uid != os.geteuid():
        raise ProfileError(
            f"{data} is another user's, and no server is running", hint=f"start the server, or {_OWNER}"
        )


def _ask(path: Path, command: AnyCommand) -> Any:
    """The running server's answer; None if none is running: its socket may have outlived it."""
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(PATIENCE)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise ProfileError(f"{path} cannot be used: {error.strerror or error}", hint=_OWNER) from None
        try:
            connection.sendall(msgspec.json.encode(command) + b"\n")
            with connection.makefile("rb") as answers:
                line = answers.readline()
            return msgspec.json.decode(line)
        except (OSError, msgspec.DecodeError):
            raise Unreachable("the server ended before it answered", hint="look into its log") from None


def _do(data: Path, command: AnyCommand) -> Any:
    with only_server(data), runner() as running:
        return running.run(_do_on_store(data, command))


async def _do_on_store(data: Path, command: AnyCommand) -> Any:
    identity = ServerIdentity.open(data, int(time.time()))
    async with opened_post(data, StoreLimits()) as store:
        desk = Desk(store, store, identity.shown.server, read_address(data), time.time)
        return msgspec.to_builtins(await desk.carry_out(command))
