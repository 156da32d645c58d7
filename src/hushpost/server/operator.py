"""What an operator may ask of a server, running or not, and the socket on which a running one is asked.

The socket lies in the data folder and is its owner's alone (mode 0600). One request and one answer a
connection, each a line of JSON. Who may open it may read the folder anyway: no other proof is asked for.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import msgspec
import structlog

from hushpost.crypto.identity import InviteToken, JoinLink, ServerFingerprint, Uninvited
from hushpost.errors import ExitCode, HushpostError, StoreUnusable, UnknownAccount
from hushpost.ids import TokenHash
from hushpost.stores.base import Backups, Invitation, PostOffice, Stats

SOCKET_FILE = "operator.sock"

MAX_LINE = 64 * 1024
"""Bytes of a request."""

PATIENCE = 10.0
"""Seconds for a request to arrive: it is a program of ours that sends it."""

ACCOUNTS_PAGE = 1_000

log = structlog.get_logger()


class Command(msgspec.Struct, frozen=True, tag_field="command"):
    """Something to be done."""


class Invite(Command, frozen=True, tag="invite"):
    """A new invitation. `lifetime`: seconds."""

    uses: int
    lifetime: int


class Revoke(Command, frozen=True, tag="revoke"):
    """An invitation shall be good no more."""

    token_hash: str


class ListInvitations(Command, frozen=True, tag="invitations"):
    """Those that are good."""


class ListAccounts(Command, frozen=True, tag="accounts"):
    """A page of the accounts, by name."""

    after: str = ""


class GetStats(Command, frozen=True, tag="stats"):
    """The numbers of the store."""


class Backup(Command, frozen=True, tag="backup"):
    """Copy the store, while it runs, into a new file."""

    path: str


AnyCommand = Invite | Revoke | ListInvitations | ListAccounts | GetStats | Backup


class Invited(msgspec.Struct, frozen=True):
    """A new invitation. The link is told once; only a hash of what is in it is kept."""

    link: str
    invitation: str
    uses: int
    expires: int


class KnownInvitation(msgspec.Struct, frozen=True):
    """An invitation that is good."""

    invitation: str
    uses: int
    expires: int


class KnownAccount(msgspec.Struct, frozen=True):
    """An account; its name is text from outside."""

    account: str
    name: str


class Done(msgspec.Struct, frozen=True):
    """It was done."""


class Failure(msgspec.Struct, frozen=True):
    """Why it was not."""

    error: str
    hint: str
    exit_code: int


Answer = Invited | Done | Stats | list[KnownInvitation] | list[KnownAccount]


class Desk:
    """Carries commands out on a store. `address` is what links carry."""

    def __init__(
        self,
        store: PostOffice,
        backups: Backups,
        server: ServerFingerprint,
        address: tuple[str, int],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._backups = backups
        self._server = server
        self._address = address
        self._clock = clock

    async def carry_out(self, command: AnyCommand) -> Answer:
        """Do it.

        Raises:
            HushpostError: it could not be done.
        """
        if isinstance(command, Invite):
            return await self.invite(command.uses, command.lifetime)
        if isinstance(command, Revoke):
            return await self._revoke(TokenHash.parse(command.token_hash))
        if isinstance(command, ListInvitations):
            known = await self._store.invitations()
            return [KnownInvitation(each.token_hash.hex(), each.uses, each.expires) for each in known]
        if isinstance(command, ListAccounts):
            page = await self._store.accounts_by_name("", command.after, ACCOUNTS_PAGE)
            return [KnownAccount(each.id.hex(), each.name) for each in page]
        if isinstance(command, Backup):
            await self._backups.backup(Path(command.path), _ignore)
            return Done()
        return await self._store.stats()

    async def invite(self, uses: int, lifetime: int) -> Invited:
        """A new invitation, durably."""
        token = InviteToken.random()
        token_hash = TokenHash(sha256(token).digest())
        expires = int(self._clock()) + lifetime
        await self._store.invite(Invitation(token_hash, uses, expires))
        return Invited(str(JoinLink(*self._address, self._server, token)), token_hash.hex(), uses, expires)

    def open_link(self) -> str:
        """The link to a server that lets everybody in: it holds nothing secret, and never ends."""
        return str(JoinLink(*self._address, self._server, Uninvited.OPEN))

    async def _revoke(self, token_hash: TokenHash) -> Done:
        if not await self._store.revoke(token_hash):
            raise UnknownAccount("there is no such invitation", hint="see hush server invitations")
        return Done()


def _ignore(_done: int, _total: int) -> None:
    """Nobody watches."""


def bind_socket(folder: Path) -> socket.socket:
    """The socket in the data folder; one that a killed server left there is replaced.

    Raises:
        StoreUnusable: it cannot be made.
    """
    path = folder / SOCKET_FILE
    listener = socket.socket(socket.AF_UNIX)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
    except OSError as error:
        listener.close()
        raise StoreUnusable(
            f"{path} cannot be made: {error}",
            hint="choose a data folder with a shorter path, or another disk",
        ) from None
    listener.setblocking(False)
    return listener


async def attend(desk: Desk, listener: socket.socket) -> asyncio.Server:
    """Carry out what is asked on the socket, until the server is closed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            try:
                line = await asyncio.wait_for(reader.readline(), PATIENCE)
                writer.write(await _answer(desk, line) + b"\n")
                await writer.drain()
            except (OSError, ValueError):  # gone, too slow, or too long a line
                return

    return await asyncio.start_unix_server(serve, sock=listener, limit=MAX_LINE)


async def _answer(desk: Desk, line: bytes) -> bytes:
    try:
        command: AnyCommand = msgspec.json.decode(line, type=AnyCommand)
        return msgspec.json.encode(await desk.carry_out(command))
    except HushpostError as error:
        return msgspec.json.encode(Failure(str(error), error.hint, error.exit_code))
    except (msgspec.DecodeError, ValueError) as error:
        return msgspec.json.encode(Failure(str(error), "", ExitCode.USAGE))
    except Exception:
        log.exception("internal error")
        return msgspec.json.encode(Failure("internal error", "see the server's log", ExitCode.FAILED))
