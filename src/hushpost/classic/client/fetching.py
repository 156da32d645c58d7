"""A fetch, from the request to the last message shown: nothing is lost, whatever breaks, and nothing grows.

What comes may be hostile in number and size, the disk may be full, and whoever is shown a message may fail.
So everything lies in a spool until it was shown, messages go through memory one at a time, and one for
whose file there is no room does not keep those behind it waiting.
"""

from __future__ import annotations

import contextlib
import errno
from collections import deque
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import msgspec

from hushpost.classic.client.files import remove_unfinished, sync_directory
from hushpost.classic.client.identity import Identity
from hushpost.classic.client.inbox import Inbox, NotOpened, Received
from hushpost.classic.client.profile import MAX_NAMES, MAX_REMEMBERED, Profile, State
from hushpost.classic.client.requests import ClassicClient, Progress
from hushpost.classic.client.spool import Fate, Spool, SpooledMessage
from hushpost.classic.payloads import ClientId
from hushpost.errors import HushpostError, ProtocolError, Unreachable

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

MAKE_ROOM = "make room: twice as much as waits for you; then fetch again"
ONLY_COPY = "what came waits in me.spool, perhaps the only copy of it: do not delete that; fetch again"


class Summary(msgspec.Struct):
    """What a fetch brought, in numbers.

    Attributes:
        repeats: were shown before and are not shown again.
        put_off: wait in `me.spool-N`, since there was no room for their files.
    """

    received: int = 0
    not_opened: int = 0
    repeats: int = 0
    put_off: int = 0


class Origin(Enum):
    """Where a spool comes from, which says what its end means."""

    WHOLE = 1  # a fetch that came to its end
    CUT = 2  # a fetch that broke off, or whose process died: a last message may be incomplete
    ASIDE = 3  # an earlier fetch, for messages that were put off


class Fetch:
    """One fetch. The profile is locked meanwhile."""

    def __init__(
        self, profile: Profile, client: ClassicClient, identity: Identity, handle: Callable[[Received], None]
    ) -> None:
        self._profile = profile
        self._client = client
        self._identity = identity
        self._handle = handle
        self._summary = Summary()

    def run(self, progress: Progress | None) -> Summary:
        """Deal with what an earlier run left, then with what waits at the server."""
        self._profile.check_received()
        spool = self._profile.spool
        try:
            self._clear_away()
            for aside in self._profile.put_off():
                self._deal_with(aside, Origin.ASIDE)
            self._deal_with(spool, Origin.CUT)
            try:
                self._client.fetch(self._identity.client_id, spool, progress)
            except (Unreachable, ProtocolError, OSError):
                # The original's server has deleted everything by now: keep what is whole.
                spool.close()
                self._deal_with(spool, Origin.CUT)
                raise
            finally:
                spool.close()
            self._deal_with(spool, Origin.WHOLE)
        except OSError as error:
            if isinstance(error, BrokenPipeError):  # whoever read what we show has left
                raise
            where = f"{error.filename}: " if error.filename else ""
            hint = ONLY_COPY if spool.exists() else ""
            if error.errno in NO_ROOM:
                hint = f"{MAKE_ROOM}. {hint}" if hint else MAKE_ROOM
            raise HushpostError(f"{where}{error.strerror or error}", hint=hint) from None
        return self._summary

    def _clear_away(self) -> None:
        """What a killed process has begun to write."""
        for folder in (self._profile.directory, self._profile.received):
            if folder.is_dir():
                remove_unfinished(folder)

    def _deal_with(self, spool: Spool, origin: Origin) -> None:
        """Show what is in a spool, if anything, and let go of what was shown.

        Only what a fetch did not delete comes again, and the next fetch then has all of it: so the
        digests of a complete fetch replace the older ones, those of another join them.
        """
        if not spool.exists():
            return
        state, digests = self._profile.state(self._identity.client_id), deque[bytes](maxlen=MAX_REMEMBERED)
        try:
            damage = self._go_through(spool, origin, state, digests)
        except BaseException:
            spool.close()
            with contextlib.suppress(OSError):  # the keys that came can be used, whatever else went wrong
                self._profile.save_state(state)
            raise
        if self._profile.received.is_dir():
            sync_directory(self._profile.received)
        state.seen = [*([] if origin is Origin.WHOLE else state.seen), *digests][-MAX_REMEMBERED:]
        self._let_go(spool, origin, state, damage)

    def _go_through(self, spool: Spool, origin: Origin, state: State, digests: deque[bytes]) -> str:
        """Show every message that waits, and tell what was wrong with the rest, if there was any."""
        names = _Names(self._identity, self._client, spool, state)
        inbox = Inbox(self._identity.private_key, state, self._profile.received, name_of=names.of)
        seen = set(state.seen)
        try:
            for message in spool.messages():
                digests.append(message.digest)
                if message.fate is Fate.DEALT_WITH:
                    if origin is not Origin.ASIDE:  # those keys were saved before it was set aside
                        inbox.take_again(message)
                elif message.fate is Fate.WAITING and message.digest in seen:
                    self._summary.repeats += 1
                else:
                    self._show(inbox, message)
        except ProtocolError as error:
            return "" if origin is Origin.CUT else str(error)
        finally:
            names.keep()
        return ""

    def _show(self, inbox: Inbox, message: SpooledMessage) -> None:
        """Open a message and hand it over; if that fails, nothing is left of it outside the spool.

        Raises:
            OSError: the disk refuses, for another reason than want of room.
        """
        try:
            received = inbox.open(message)
        except OSError as error:
            if error.errno not in NO_ROOM or not message.spool.put_off(message):
                raise
            self._summary.put_off += 1
            return
        try:
            self._handle(received)
        except BaseException:
            if received.saved:
                Path(received.saved).unlink(missing_ok=True)
            raise
        self._summary.received += 1
        self._summary.not_opened += isinstance(received, NotOpened)

    def _let_go(self, spool: Spool, origin: Origin, state: State, damage: str) -> None:
        """Every message of the spool was shown or put off: keep what must be kept, and drop the rest."""
        waiting = spool.put_off_count > 0
        if waiting and not damage:
            spool.shrink()
        spool.close()
        if not waiting and not damage:
            try:
                self._profile.save_state(state)
            except OSError:
                spool.remove()  # what it takes may be the room that is missing
                self._profile.save_state(state)
            spool.remove()
            return
        self._profile.save_state(state)
        if waiting and origin is Origin.ASIDE:
            return
        kept = self._profile.set_aside(spool, "me.spool" if waiting else "me.damaged")
        if damage:
            raise ProtocolError(
                f"{damage}; what could be read was shown, and all of it is kept in {kept.name}",
                hint="fetch again for what has come since; delete that file when you do not need it",
            )


class _Names:
    """Names of the senders in one spool: those that are remembered, and once what the server lists."""

    def __init__(self, identity: Identity, client: ClassicClient, spool: Spool, state: State) -> None:
        self._identity = identity
        self._client = client
        self._spool = spool
        self._state = state
        self._found: dict[ClientId, str] = {}
        self._asked = False

    def of(self, sender: ClientId) -> str:
        """The name of a sender, or nothing."""
        if sender == self._identity.client_id:
            return self._identity.name
        if (known := self._state.names.get(sender.hex())) is not None:
            return known
        if not self._asked:
            self._ask()
        return self._found.get(sender, "")

    def keep(self) -> None:
        """Remember them in the state."""
        self._state.remember_names(self._found)

    def _ask(self) -> None:
        """Go once through the list, for the first so many senders. Messages are shown without it, too."""
        self._asked = True
        wanted: set[ClientId] = set()
        for header in self._spool.headers():
            if len(wanted) < MAX_NAMES and header.sender.hex() not in self._state.names:
                wanted.add(header.sender)
        with contextlib.suppress(HushpostError):
            for client in self._client.list_clients(self._identity.client_id):
                if client.client_id in wanted and client.name:
                    self._found[client.client_id] = client.name
