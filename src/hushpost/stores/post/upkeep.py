"""What the writer does for `base.Upkeep`. Like a method of `PostTables`."""

from __future__ import annotations

from hushpost import sql
from hushpost.errors import UnknownAccount
from hushpost.ids import AccountId
from hushpost.stores import rules
from hushpost.stores.post.tables import PostTables

REMOVED_AT_ONCE = 500
"""Envelopes that one step takes away: each may be of another mailbox, which has to be looked up."""


def leave(tables: PostTables, account: AccountId) -> None:
    """The beginning of `Upkeep.leave`: nobody knows the account any more. `remove_some` does the rest."""
    member = tables.members.find(account)
    if member is None:
        raise UnknownAccount("no such account")
    tables.settle()
    for statement in (
        "INSERT INTO leaving SELECT number FROM device WHERE account = ?",
        "DELETE FROM one_time_key WHERE device IN (SELECT number FROM device WHERE account = ?)",
        "DELETE FROM retired_key WHERE device IN (SELECT number FROM device WHERE account = ?)",
        "DELETE FROM device_key WHERE device IN (SELECT number FROM device WHERE account = ?)",
        "DELETE FROM device WHERE account = ?",
        "DELETE FROM manifest WHERE account = ?",
        "DELETE FROM blob_quota WHERE account = ?",
        "UPDATE account SET version = 0, token_hash = NULL WHERE id = ?",
    ):
        tables.db.execute(statement, (sql.binary(account),))
    tables.members.forget(account)


def remove_some(tables: PostTables) -> bool:
    """One step of deleting what accounts left behind; whether there is more."""
    tables.flush()
    row = tables.db.execute("SELECT mailbox FROM leaving LIMIT 1").fetchone()
    if row is None:
        return False
    rows = tables.db.execute(
        "DELETE FROM envelope WHERE sequence IN"
        " (SELECT sequence FROM envelope WHERE mailbox = ? LIMIT ?) RETURNING size",
        (row[0], REMOVED_AT_ONCE),
    ).fetchall()
    tables.total -= sum(size for (size,) in rows)
    if len(rows) < REMOVED_AT_ONCE:
        tables.db.execute("DELETE FROM leaving WHERE mailbox = ?", row)
    return True


def note_time(tables: PostTables, seconds: int) -> int:
    """The beginning of `Upkeep.tidy`; up to which sequence envelopes have waited for long enough."""
    db = tables.db
    db.execute("DELETE FROM invitation WHERE expires <= ?", (tables.now,))
    db.execute("UPDATE store SET seconds = seconds + ?", (seconds,))
    tables.seconds += seconds
    now = tables.seconds
    (newest,) = db.execute("SELECT max(seconds) FROM hour").fetchone()
    if newest is None or now - newest >= rules.HOUR:
        db.execute("INSERT INTO hour VALUES (?,?)", (now, tables.sequence))
    due = now - tables.limits.waiting_seconds
    row = db.execute(
        "SELECT seconds, last_sequence FROM hour WHERE seconds <= ? ORDER BY seconds DESC LIMIT 1", (due,)
    ).fetchone()
    if row is None:
        return 0
    # The older ones say less. This one stays: to say it again costs nothing, and a step may be lost.
    db.execute("DELETE FROM hour WHERE seconds < ?", (row[0],))
    return int(row[1])


def expire_some(tables: PostTables, up_to: int) -> bool:
    """One step of deleting envelopes that have waited for too long; whether there is more."""
    tables.flush()
    rows = tables.db.execute(
        "SELECT sequence, mailbox, size, is_request FROM envelope WHERE sequence <= ?"
        " ORDER BY sequence LIMIT ?",
        (up_to, REMOVED_AT_ONCE),
    ).fetchall()
    if not rows:
        return False
    # Before the deletion: boxes are counted as they are loaded.
    boxes = {number: tables.members.numbered(number) for _, number, _, _ in rows}
    tables.db.execute("DELETE FROM envelope WHERE sequence <= ?", (rows[-1][0],))
    for _, number, size, is_request in rows:
        box = boxes[number]
        if box is None:  # its account has left
            tables.total -= size
        else:
            tables.remove(box, size, is_request)
    return len(rows) == REMOVED_AT_ONCE
