"""The records of used envelope ids, by which repeats are recognised: the table `seen`, for its writer."""

from __future__ import annotations

from hushpost import sql
from hushpost.errors import IdConflict
from hushpost.ids import EnvelopeId
from hushpost.stores.base import ID_RECORD_AGE

FORGET_EVERY = 600
"""Seconds between two looks for records of ids that have grown too old."""

FORGOTTEN_AT_ONCE = 2_000
"""Records deleted with one transaction: nobody's message waits for a month's."""

_LAST_SECOND = 2**32 - 1
"""The largest that an id can carry. A clock may show more, in error or in 2106."""


class Seen:
    """Which ids were used, for which mailboxes, and what was answered. New records gather until `flush`."""

    def __init__(self, db: sql.Connection) -> None:
        self._db = db
        self._rows: dict[tuple[EnvelopeId, int], tuple[int, bytes]] = {}
        self._next_forgetting = 0.0

    def add(self, envelope: EnvelopeId, mailbox: int, sequence: int, content: bytes) -> None:
        """An id is used, for this content."""
        self._rows[envelope, mailbox] = (sequence, content)

    def flush(self) -> None:
        """Insert what gathered."""
        if self._rows:
            self._db.executemany(
                "INSERT INTO seen VALUES (?,?,?,?)",
                [
                    (sql.binary(envelope), mailbox, sequence, sql.binary(content))
                    for (envelope, mailbox), (sequence, content) in self._rows.items()
                ],
            )
            self._rows.clear()

    def clear(self) -> None:
        """Drop what gathered."""
        self._rows.clear()

    def repeated(self, envelope: EnvelopeId, mailboxes: list[int], content: bytes) -> tuple[int, ...] | None:
        """The answer that this id got before, in this transaction or an earlier one; None if it is new.

        Raises:
            IdConflict.
        """
        stored: dict[int, tuple[int, bytes]] = {
            mailbox: (sequence, fingerprint)
            for mailbox, sequence, fingerprint in self._db.execute(
                "SELECT mailbox, sequence, fingerprint FROM seen WHERE id = ?", (sql.binary(envelope),)
            )
        }
        known = [self._rows.get((envelope, mailbox)) or stored.get(mailbox) for mailbox in mailboxes]
        if not any(known):
            return None
        if any(record is None or record[1] != content for record in known):
            raise IdConflict("this envelope id was used for another message")
        return tuple(record[0] for record in known if record)

    def forget(self, now: float) -> None:
        """Delete some of the records of ids that would be refused as stale anyway."""
        if now < self._next_forgetting:
            return
        seconds = min(max(0, int(now - ID_RECORD_AGE)), _LAST_SECOND)
        oldest = sql.binary(seconds.to_bytes(4, "big"))
        bound = self._db.execute(
            "SELECT id FROM seen WHERE id < ? ORDER BY id LIMIT 1 OFFSET ?", (oldest, FORGOTTEN_AT_ONCE)
        ).fetchone()
        self._db.execute("DELETE FROM seen WHERE id < ?", (oldest if bound is None else bound[0],))
        if bound is None:
            self._next_forgetting = now + FORGET_EVERY
