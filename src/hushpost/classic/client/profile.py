"""The working directory of a classic client, and the files in it.

server.info   the original's: `host:port`, or a port alone
me.info       the original's: name, id, private key; either client can take over from the other
me.new        ours: the same without an id, while a registration is under way
me.keys       ours: the keys of every pair, names, and what the last fetch showed (JSON)
me.spool      ours: messages that were fetched and not yet dealt with
me.spool-N    ours: messages for whose files there was no room
me.damaged-N  ours: what a server sent that could not be read to its end
me.lock       ours: held by the one process that may change the others
received/     files that came, and contents that did not open
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator, Mapping
from itertools import count, islice
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


MAX_PAIRS = 16_384
"""Peers whose keys are kept. Ids cost a stranger nothing, and each takes 250 bytes of me.keys for ever."""

MAX_NAMES = 4_096
"""Names of others that are kept to spare asking for the list; at most 6 MiB of me.keys, often 200 KiB."""

MAX_REMEMBERED = 65_536
"""Messages that are recognised when they come again; 3 MiB of me.keys at most."""


class State(msgspec.Struct):
    """What me.keys holds, within the limits above.

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

    def keys_of(self, peer: ClientId) -> PairKeys:
        """The keys shared with a peer, to look at."""
        return self.pairs.get(peer.hex()) or PairKeys()

    def pair(self, peer: ClientId) -> PairKeys:
        """The keys shared with a peer, to change."""
        return self.pairs.setdefault(peer.hex(), PairKeys())

    def has_room_for(self, peer: ClientId) -> bool:
        """Whether a key that this peer sends may be kept. What we ask for ourselves always may."""
        return peer.hex() in self.pairs or len(self.pairs) < MAX_PAIRS

    def remember_names(self, names: Mapping[ClientId, str]) -> None:
        """Keep these names; the oldest go where there are too many."""
        together = self.names | {client_id.hex(): name for client_id, name in names.items()}
        self.names = dict(islice(together.items(), max(len(together) - MAX_NAMES, 0), None))


class Profile:
    """Reads and writes those files. Whatever is malformed raises `ProfileError`, with a way out."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.received = directory / "received"
        self.spool = Spool(directory / "me.spool")
        self.pending = directory / "me.new"
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
        hint = "register first: `hush classic register NAME`, or 1 in the menu"
        if os.path.lexists(self.pending):
            hint = "a registration was begun: `hush classic register` with the name in me.new finishes it"
        raw = _read(self._identity, hint)
        try:
            return Identity.decode(raw)
        except ValueError as error:
            raise ProfileError(
                f"{self._identity} cannot be used: {error}",
                hint="restore it from a copy, or move it away and register under another name",
            ) from None

    def save_identity(self, identity: Identity) -> None:
        """Write me.info. Only for a fresh registration, which is complete then."""
        write_private(self._identity, identity.encode())
        self.forget_begun()

    def begun(self) -> Identity | None:
        """The registration that an earlier process has begun, if any: an identity without an id."""
        if not os.path.lexists(self.pending):
            return None
        try:
            return Identity.decode(_read(self.pending, ""))
        except ValueError as error:
            raise ProfileError(f"{self.pending} cannot be used: {error}", hint="move it away") from None

    def begin(self, identity: Identity) -> None:
        """Put name and key down, durably, before the server is asked."""
        write_private(self.pending, identity.encode())

    def forget_begun(self) -> None:
        """It is complete, or was refused."""
        self.pending.unlink(missing_ok=True)

    def state(self, owner: ClientId) -> State:
        """Our keys, or an empty state on the first use."""
        try:
            state = msgspec.json.decode(self._state.read_bytes(), type=State)
        except FileNotFoundError:
            return State(owner.hex())
        except OSError as error:
            raise ProfileError(
                f"{self._state} cannot be read: {error.strerror}", hint=_way_out(error)
            ) from None
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

    def check_received(self) -> None:
        """Whether what comes can be kept, before it is asked for.

        Raises:
            ProfileError: something else stands where our folder or the spool should.
        """
        if os.path.lexists(self.received) and not self.received.is_dir():
            raise ProfileError(
                f"{self.received} is not a directory, and received files are kept there",
                hint="move it away and fetch again; nothing is lost",
            )
        if os.path.lexists(self.spool.path) and not self.spool.path.is_file():
            raise ProfileError(
                f"{self.spool.path} is not a file, and what comes is kept there", hint="move it away"
            )

    def put_off(self) -> list[Spool]:
        """The spools whose files had no room, the oldest first."""
        numbers = [re.fullmatch(r"me\.spool-([0-9]{1,9})", path.name) for path in self.directory.iterdir()]
        return [
            Spool(self.directory / match[0])
            for match in sorted(filter(None, numbers), key=lambda m: int(m[1]))
        ]

    def set_aside(self, spool: Spool, name: str) -> Path:
        """Give a spool a name of its own, so that the next fetch does not need it out of its way."""
        for number in count(1):
            path = self.directory / f"{name}-{number}"
            if not os.path.lexists(path):
                break
        spool.move(path)
        return path

    @contextlib.contextmanager
    def locked(self, patience: float = DEFAULT_TIMEOUT) -> Iterator[None]:
        """Hold the directory against other processes of ours, waiting up to `patience` seconds."""
        deadline = time.monotonic() + patience
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            handle = os.open(self._lock, flags, PRIVATE)
        except OSError as error:
            if os.path.lexists(self._lock):
                reason = "it is a link" if self._lock.is_symlink() else error.strerror
                raise ProfileError(f"{self._lock} cannot be used: {reason}", hint=_way_out(error)) from None
            raise ProfileError(
                f"{self.directory} cannot be written: {error.strerror}",
                hint="choose another working directory with --dir",
            ) from None
        try:
            while not _try_lock(handle):
                if time.monotonic() >= deadline:
                    raise ProfileError(
                        f"{self.directory} is in use: another command is changing its keys, or fetching",
                        hint="try again when that has finished; nothing was done",
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
        raise ProfileError(f"{path} cannot be read: {error.strerror}", hint=_way_out(error)) from None


def _way_out(error: OSError) -> str:
    """Of a file that is there and cannot be used."""
    if isinstance(error, PermissionError):
        return "it is another user's, or protected: use a directory of your own (--dir)"
    return "something else stands in its place: move it away, or use another directory (--dir)"


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
