"""Olm sessions with other devices. Load, use, keep: all within one transaction, or one key serves twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hushpost.client.store.database import Database
from hushpost.crypto.olm import SessionHash
from hushpost.ids import DeviceId, MessageId
from hushpost.sql import Row

MAX_SESSIONS = 5
"""With one device: enough for both sides to have begun at once, repeatedly, while mail was under way."""

MAX_UNHEARD_SENDS = 500
MAX_UNHEARD_SECONDS = 7 * 86_400
"""Without an answer a session does not heal: after so many sends, or so long, begin a new one."""

RESET_INTERVAL = 3_600
"""Seconds between two automatic resets for one device: the claim that made us do it may be anybody's."""

MAX_RESETS_NOTED = 1_000
"""Devices with a reset within the last interval. Their names are only claims, and cost nothing to invent;
when so many were named, no further session is reset by itself."""

REPEATS_REMEMBERED = 400 * 86_400
"""Seconds. A sender may have been without a network for long before it sends the same again."""

_COLUMNS = "device, hash, pickle, created, heard_at, unheard"


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session, at rest.

    Attributes:
        hash: SHA-256 of the Olm session id, its first 16 bytes: what headers call it.
        created: seconds since 1970.
        heard_at: when it last decrypted something; 0: never.
        unheard: messages that were encrypted since then.
    """

    device: DeviceId
    hash: SessionHash
    pickle: bytes = field(repr=False)
    created: int
    heard_at: int
    unheard: int

    def is_worn(self, now: int) -> bool:
        """Whether the next message should begin a new session."""
        quiet_since = max(self.created, self.heard_at)
        return self.unheard >= MAX_UNHEARD_SENDS or (
            self.unheard > 0 and now - quiet_since >= MAX_UNHEARD_SECONDS
        )


class SessionTable:
    """`t.sessions`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def active(self, device: DeviceId) -> StoredSession | None:
        """The one to encrypt with: that last decrypted, or was made since. None: make one."""
        row = self._db.row(
            f"SELECT {_COLUMNS} FROM session WHERE device = ? ORDER BY rank DESC LIMIT 1", device
        )
        return _session(row) if row else None

    def find(self, device: DeviceId, session: SessionHash) -> StoredSession | None:
        """The one that a header names."""
        row = self._db.row(f"SELECT {_COLUMNS} FROM session WHERE device = ? AND hash = ?", device, session)
        return _session(row) if row else None

    def every(self, device: DeviceId) -> tuple[StoredSession, ...]:
        """All with this device, the active one first."""
        rows = self._db.rows(f"SELECT {_COLUMNS} FROM session WHERE device = ? ORDER BY rank DESC", device)
        return tuple(map(_session, rows))

    def add(self, device: DeviceId, session: SessionHash, pickle: bytes, now: int) -> StoredSession:
        """A new one, the active one from now on. Beyond the limit, the one not used for longest goes."""
        made = StoredSession(device, session, pickle, now, 0, 0)
        self._db.run(
            "INSERT INTO session (device, hash, rank, created, heard_at, unheard, pickle)"
            f" VALUES (?, ?, {_NEXT_RANK}, ?, 0, 0, ?)",
            device,
            session,
            device,
            now,
            pickle,
        )
        self._db.run(
            "DELETE FROM session WHERE device = ? AND hash NOT IN"
            " (SELECT hash FROM session WHERE device = ? ORDER BY rank DESC LIMIT ?)",
            device,
            device,
            MAX_SESSIONS,
        )
        self._db.key_material_went()
        return made

    def encrypted(self, session: StoredSession, pickle: bytes) -> None:
        """It has encrypted one message, and this is its state now."""
        self._db.run(
            "UPDATE session SET pickle = ?, unheard = unheard + 1 WHERE device = ? AND hash = ?",
            pickle,
            session.device,
            session.hash,
        )
        self._db.key_material_went()

    def decrypted(self, session: StoredSession, pickle: Callable[[], bytes], now: int) -> None:
        """It has decrypted a message, and is the active one.

        Args:
            pickle: gives its state. Not called before this transaction ends, or looks at sessions.
        """
        device, name = session.device, session.hash
        self._db.later(
            "session",
            (device, name),
            f"UPDATE session SET pickle = ?, unheard = 0, heard_at = ?, rank = {_NEXT_RANK}"
            " WHERE device = ? AND hash = ?",
            pickle,
            now,
            device,
            device,
            name,
        )
        self._db.key_material_went()

    def forget(self, device: DeviceId) -> None:
        """All with this device."""
        self._db.run("DELETE FROM session WHERE device = ?", device)
        self._db.key_material_went()

    def may_reset(self, device: DeviceId, now: int) -> bool:
        """Whether a broken session with whoever claims to be this device may be replaced now. Noted if so."""
        # A clock that was put back must not forbid resets for ever: notes of the future go as well.
        self._db.run("DELETE FROM session_reset WHERE at <= ? OR at > ?", now - RESET_INTERVAL, now)
        if self._db.number("SELECT count(*) FROM session_reset") >= MAX_RESETS_NOTED:
            return False
        return self._db.changed("INSERT OR IGNORE INTO session_reset VALUES (?, ?)", device, now)


_NEXT_RANK = "(SELECT ifnull(max(rank), 0) + 1 FROM session WHERE device = ?)"


class ReceivedTable:
    """`t.received`: which messages were taken, so that a repeat is not taken again."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, device: DeviceId, message: MessageId, trace: MessageId, now: int) -> bool:
        """Note it, and what its very bytes are remembered by. False: it was noted before: a repeat.

        Bytes that were noted before held a message that was noted with them; a new message is two new rows.
        """
        added = self._db.changes(
            "INSERT OR IGNORE INTO received VALUES (?, ?, ?), (?, ?, ?)",
            device,
            message,
            now,
            device,
            trace,
            now,
        )
        return added == 2

    def has(self, device: DeviceId, message: MessageId) -> bool:
        return (
            self._db.row("SELECT 1 FROM received WHERE device = ? AND message = ?", device, message)
            is not None
        )

    def trim(self, now: int) -> None:
        """Forget what nobody repeats any more."""
        self._db.run("DELETE FROM received WHERE at < ?", now - REPEATS_REMEMBERED)


def _session(row: Row) -> StoredSession:
    device, session, *others = row
    return StoredSession(DeviceId(device), SessionHash(session), *others)
