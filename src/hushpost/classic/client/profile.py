"""The working directory of a classic client, and the files in it.

server.info   the original's: `host:port`, or a port alone
me.info       the original's: name, id, private key; either client can take over from the other
me.keys       ours: the keys of every pair, names, and what the last fetch showed (JSON)
me.spool      ours: messages that were fetched and not yet dealt with
me.lock       ours: held by the one process that may change the others
received/     files that came, and contents that did not open
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hushpost.classic.client.files import PRIVATE, write_private
from hushpost.classic.client.identity import Identity
from hushpost.classic.client.keyring import PairKeys
from hushpost.classic.client.link import DEFAULT_TIMEOUT, Address
from hushpost.classic.client.spool import Spool
from hushpost.classic.payloads import ClientId
from hushpost.errors import ProfileError, UsageError

MAX_INFO_SIZE = 64 * 1024
"""A true me.info has less than 2 KiB; whatever else lies there is not read into memory."""

STATE_VERSION = 1


class State(msgspec.Struct):
    """What me.keys holds.

    Attributes:
        owner: the id in hexadecimal whose keys these are.
        names: of other clients by id; a name never changes in this protocol.
        pairs: the keys shared with each peer, by its id.
        seen: digests of the messages of the last fetch: only those can come a second time.
    """

    owner: str
    version: int = STATE_VERSION
    names: dict[str, str] = {}
    pairs: dict[str, PairKeys] = {}
    seen: list[bytes] = []

    def pair(self, peer: ClientId) -> PairKeys:
        """The keys shared with a peer, to look at or to change."""
        return self.pairs.setdefault(peer.hex(), PairKeys())


class Profile:
    """Reads and writes those files. Whatever is malformed raises `ProfileError`, with a way out."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.received = directory / "received"
        self.spool = Spool(directory / "me.spool")
        self._server = directory / "server.info"
        self._identity = directory / "me.info"
        self._state = directory / "me.keys"
        self._lock = directory / "me.lock"

    def server(self) -> Address:
        """What server.info says: only its first line counts."""
        raw = _read(self._server, "write HOST:PORT of the server into it, or use --server HOST:PORT")
        try:
            return Address.parse(raw.decode().split("\n", 1)[0])
        except (UnicodeDecodeError, UsageError):
            raise ProfileError(
                f"{self._server} does not begin with an address",
                hint="its first line is HOST:PORT, or a port alone for a server on this machine",
            ) from None

    def registered(self) -> bool:
        """There is a me.info, good or bad."""
        return self._identity.exists()

    def identity(self) -> Identity:
        """Who we are."""
        raw = _read(self._identity, "register first: `hush classic register NAME`, or 1 in the menu")
        try:
            return Identity.decode(raw)
        except ValueError as error:
            raise ProfileError(
                f"{self._identity} cannot be used: {error}",
                hint="restore it from a copy, or move it away and register under another name",
            ) from None

    def save_identity(self, identity: Identity) -> None:
        """Write me.info. Only for a fresh registration."""
        write_private(self._identity, identity.encode())

    def state(self, owner: ClientId) -> State:
        """Our keys, or an empty state on the first use."""
        try:
            state = msgspec.json.decode(self._state.read_bytes(), type=State)
        except FileNotFoundError:
            return State(owner.hex())
        except OSError as error:
            raise ProfileError(f"{self._state} cannot be read: {error.strerror}") from None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise ProfileError(
                f"{self._state} is damaged", hint="restore it from a copy, or move it away and send new keys"
            ) from None
        if state.version != STATE_VERSION:
            raise ProfileError(f"{self._state} was written by a newer Hushpost", hint="update this one")
        if state.owner != owner.hex():
            raise ProfileError(
                f"{self._state} belongs to another client than me.info",
                hint="put the me.info that it belongs to back, or move me.keys away",
            )
        return state

    def save_state(self, state: State) -> None:
        """Write me.keys, durably, or leave it as it was."""
        write_private(self._state, msgspec.json.encode(state))

    @contextlib.contextmanager
    def locked(self, patience: float = DEFAULT_TIMEOUT) -> Iterator[None]:
        """Hold the directory against other processes of ours, waiting up to `patience` seconds."""
        deadline = time.monotonic() + patience
        try:
            handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        except OSError as error:
            raise ProfileError(
                f"{self.directory} cannot be written: {error.strerror}",
                hint="choose another working directory with --dir",
            ) from None
        try:
            while not _try_lock(handle):
                if time.monotonic() >= deadline:
                    raise ProfileError(
                        f"another process is working in {self.directory}",
                        hint="wait until it has finished, or give each its own directory with --dir",
                    )
                time.sleep(0.02)
            yield
        finally:
            os.close(handle)


def _read(path: Path, hint: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_INFO_SIZE)
    except FileNotFoundError:
        raise ProfileError(f"there is no {path}", hint=hint) from None
    except OSError as error:
        raise ProfileError(f"{path} cannot be read: {error.strerror}", hint=hint) from None


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
