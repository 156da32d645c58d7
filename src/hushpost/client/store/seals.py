"""Our seal keys: rotated daily, and deleted when nothing can come any more that was sealed to them."""

from __future__ import annotations

from dataclasses import dataclass, field

from hushpost.client.store.database import Database
from hushpost.crypto.primitives import SealSecret
from hushpost.sql import Row

PATIENCE = 30 * 86_400
"""Seconds of being connected after which a superseded key goes, although the server has not completed its
retirement: whoever serves us must not be able to keep our old keys alive for ever."""

_COLUMNS = "id, secret, expires, made_at, published_at, retired_up_to, connected"


@dataclass(frozen=True, slots=True)
class OwnSealKey:
    """One of ours.

    Attributes:
        expires, made_at, published_at: seconds since 1970; `published_at` is None until the server has it.
        retired_up_to: nothing behind this sequence is sealed to it; None: more may come.
        connected: seconds that the device was connected since a newer key was published; of the newest, while
            it waits to be published: since it was made.
    """

    key_id: int
    secret: SealSecret = field(repr=False)
    expires: int
    made_at: int
    published_at: int | None
    retired_up_to: int | None
    connected: int


class SealTable:
    """`t.seals`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, secret: SealSecret, expires: int, now: int) -> OwnSealKey:
        """A new key under a new id, to be uploaded, and after a lost answer uploaded again."""
        key_id = self._db.number(
            "INSERT INTO seal_key (secret, expires, made_at) VALUES (?, ?, ?) RETURNING id",
            secret,
            expires,
            now,
        )
        return OwnSealKey(key_id, secret, expires, now, None, None, 0)

    def find(self, key_id: int) -> OwnSealKey | None:
        """None: never made, or deleted: what was sealed to it cannot be opened any more."""

        def read() -> OwnSealKey | None:
            row = self._db.row(f"SELECT {_COLUMNS} FROM seal_key WHERE id = ?", key_id)
            return _key(row) if row else None

        return self._db.keep("seal_key", key_id, read)

    def newest(self) -> OwnSealKey | None:
        """The last one that was made; upload it if it is not published. None: none was made yet."""
        row = self._db.row(f"SELECT {_COLUMNS} FROM seal_key ORDER BY id DESC LIMIT 1")
        return _key(row) if row else None

    def present(self) -> OwnSealKey | None:
        """The one that the server hands out. None: it has none, or a store that is new to us."""
        row = self._db.row(
            f"SELECT {_COLUMNS} FROM seal_key WHERE published_at IS NOT NULL ORDER BY id DESC LIMIT 1"
        )
        return _key(row) if row else None

    def every(self) -> tuple[OwnSealKey, ...]:
        """All that are left, oldest first."""
        return tuple(map(_key, self._db.rows(f"SELECT {_COLUMNS} FROM seal_key ORDER BY id")))

    def published(self, key_id: int, now: int) -> None:
        """The server has it: the keys before it are superseded."""
        self._db.run(
            "UPDATE seal_key SET published_at = ?, connected = 0 WHERE id = ? AND published_at IS NULL",
            now,
            key_id,
        )

    def unpublished(self) -> None:
        """The server has another store: it has none of them, and its sequences say nothing about them."""
        self._db.run("UPDATE seal_key SET published_at = NULL, retired_up_to = NULL")

    def is_published(self) -> bool:
        """The present store has one. False: it has nothing of ours that it could be trusted to hand out."""
        return self._db.number("SELECT count(*) FROM seal_key WHERE published_at IS NOT NULL") > 0

    def retired(self, key_id: int, up_to: int) -> None:
        """The server confirmed it: no envelope behind this sequence is sealed to this key.

        A key that is not superseded is never retired, whatever a server says: mail for it is under way.
        """
        self._db.run(
            f"UPDATE seal_key SET retired_up_to = ? WHERE id = ? AND retired_up_to IS NULL AND {_SUPERSEDED}",
            up_to,
            key_id,
        )

    def connected(self, seconds: int) -> None:
        """The device was connected for so long: the superseded keys grow older, and those that wait."""
        self._db.run(
            f"UPDATE seal_key SET connected = connected + ? WHERE published_at IS NULL OR {_SUPERSEDED}",
            seconds,
        )

    def delete_retired(self, committed: int) -> tuple[int, ...]:
        """Delete every key whose mail is committed up to its end. `Store.purge` must follow."""
        return self._delete("retired_up_to <= ?", committed)

    def delete_overdue(self) -> tuple[int, ...]:
        """Delete the keys that were kept too long, and alarm about each. `Store.purge` must follow."""
        return self._delete(f"connected >= ? AND {_SUPERSEDED}", PATIENCE)

    def _delete(self, condition: str, value: int) -> tuple[int, ...]:
        rows = self._db.rows(f"DELETE FROM seal_key WHERE {condition} RETURNING id", value)
        if rows:
            self._db.key_material_went()
        return tuple(sorted(key_id for (key_id,) in rows))


_SUPERSEDED = "id < (SELECT max(id) FROM seal_key WHERE published_at IS NOT NULL)"


def _key(row: Row) -> OwnSealKey:
    key_id, secret, *others = row
    return OwnSealKey(key_id, SealSecret(secret), *others)
