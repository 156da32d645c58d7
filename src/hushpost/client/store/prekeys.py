"""Our Olm account, and what we published of it: one-time keys, fallback keys, sessions opened with them.

The private halves are inside the account's pickle.
"""

from __future__ import annotations

from dataclasses import dataclass

from hushpost.client.store.database import Database
from hushpost.crypto.olm import SessionHash
from hushpost.crypto.prekeys import SessionKey

GENERATIONS_REMEMBERED = 2
"""An Olm account keeps the fallback key before the present one: until two further ones were made, the first
message of a session can be replayed on it, and only our memory refuses it."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """A fallback key's generation.

    Attributes:
        made_at, published_at: seconds since 1970; `published_at` is None until the server has it.
    """

    key_id: int
    made_at: int
    published_at: int | None


KEYS_A_DAY = 500
"""One-time keys: ten times what is published at once. A server that says again and again that none is left
would otherwise have us make them, and keep their secrets, for ever; the fallback key serves until then."""

DAY = 86_400


class OlmTable:
    """`t.olm`: the device's Olm account. Load, use, keep: all within one transaction."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def pickle(self) -> bytes | None:
        """None: none was made yet."""
        row = self._db.row("SELECT pickle FROM olm_account")
        return None if row is None else bytes(row[0])

    def keep(self, pickle: bytes) -> None:
        """In place of the one before, whose used keys are gone from the disk after the next `Store.purge`."""
        self._db.run("INSERT OR REPLACE INTO olm_account VALUES (1, ?)", pickle)
        self._db.key_material_went()


class PrekeyTable:
    """`t.prekeys`. Which keys are to be uploaded, the Olm account itself knows."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def made(self, key_id: int, key: SessionKey) -> None:
        """A one-time key, in the transaction that keeps the account which has its secret."""
        self._db.run("INSERT OR IGNORE INTO one_time_key VALUES (?, ?)", key_id, key)

    def allow(self, wanted: int, now: int) -> int:
        """How many of these new one-time keys may be made today: to be made in this very transaction."""
        day = now // DAY
        made = self._db.number("SELECT count FROM one_time_made WHERE day = ?", day)
        allowed = min(wanted, KEYS_A_DAY - made)
        if allowed:
            self._db.run("DELETE FROM one_time_made")
            self._db.run("INSERT INTO one_time_made VALUES (?, ?)", day, made + allowed)
        return allowed

    def used(self, key: SessionKey) -> bool:
        """A session was opened with it. False: it is none of the one-time keys, so a fallback key."""
        return self._db.changed("DELETE FROM one_time_key WHERE key = ?", key)

    def count(self) -> int:
        """One-time keys that no session has used yet, published or not."""
        return self._db.number("SELECT count(*) FROM one_time_key")

    def forget_one_time(self) -> None:
        """All of them: the server was told to replace all."""
        self._db.run("DELETE FROM one_time_key")

    def made_fallback(self, key_id: int, now: int) -> Fallback:
        """A new generation, in the transaction that keeps the account which has its secret.

        Never while the one before is unpublished: that would destroy the last that was published.

        Raises:
            RuntimeError: it is unpublished.
        """
        newest = self.fallback()
        if newest is not None and newest.published_at is None:
            raise RuntimeError("a second unpublished fallback key")
        self._db.run("INSERT INTO fallback_key (id, made_at) VALUES (?, ?)", key_id, now)
        self._db.run("DELETE FROM fallback_key WHERE id <= ?", key_id - GENERATIONS_REMEMBERED)
        self._db.run("DELETE FROM opened_session WHERE generation <= ?", key_id - GENERATIONS_REMEMBERED)
        return Fallback(key_id, now, None)

    def fallback(self) -> Fallback | None:
        """The newest generation; None: none was made yet."""
        row = self._db.row("SELECT id, made_at, published_at FROM fallback_key ORDER BY id DESC LIMIT 1")
        return Fallback(*row) if row else None

    def fallback_published(self, key_id: int, now: int) -> None:
        """The server has it. Again: nothing changes."""
        self._db.run(
            "UPDATE fallback_key SET published_at = ? WHERE id = ? AND published_at IS NULL", now, key_id
        )

    # --- sessions that others opened

    def opened(self, session: SessionHash) -> bool:
        """Remember that a first message opened this session. False: it did so before; this is a replay."""
        generation = self._db.number("SELECT max(id) FROM fallback_key")
        return self._db.changed("INSERT OR IGNORE INTO opened_session VALUES (?, ?)", session, generation)

    def remembered(self, session: SessionHash) -> frozenset[SessionHash]:
        """This session, if it was opened before: what `DeviceAccount.accept` wants to know."""
        row = self._db.row("SELECT 1 FROM opened_session WHERE hash = ?", session)
        return frozenset({session} if row else ())
