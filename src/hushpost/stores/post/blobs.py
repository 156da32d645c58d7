"""What the writer does for `base.Parts`. Like a method of `PostTables`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from hushpost import sql
from hushpost.errors import BlobConflict, BlobIncomplete, UnknownAccount, UnknownBlob
from hushpost.ids import AccountId, BlobId, TokenHash
from hushpost.stores import blobrules
from hushpost.stores.base import UNFINISHED_SECONDS, NewBlob, parts_of
from hushpost.stores.blobrules import charge
from hushpost.stores.post.tables import PostTables
from hushpost.wire.limits import PART_SIZE

REMOVED_AT_ONCE = 500
"""Rows that one step takes away."""

GOING = 0
"""`ends` of a blob that nobody knows any more, and whose content is being removed."""


class BlobRow(NamedTuple):
    """A row of `blob`."""

    number: int
    size: int
    received: int
    present: int
    committed: int
    day: int
    ends: int
    read_hash: bytes


_FIND = """
SELECT number, size, received, present, committed, day, ends, read_hash FROM blob WHERE id = ?
"""

_EXPIRED = """
SELECT number, size, received, present, committed, day, ends, read_hash FROM blob
WHERE ends > ? AND ends <= ? LIMIT ?
"""


def find(db: sql.Connection, blob: BlobId) -> BlobRow:
    """A blob that is not going.

    Raises:
        UnknownBlob.
    """
    found = db.execute(_FIND, (sql.binary(blob),)).fetchone()
    row = BlobRow(*found) if found is not None else None
    if row is None or row.ends == GOING:
        raise UnknownBlob("there is no such blob")
    return row


def create(tables: PostTables, account: AccountId, blob: NewBlob, free: int) -> bool:
    """`Parts.create`; whether it is a new one. `free`: bytes of the disk."""
    if tables.members.find(account) is None:
        raise UnknownAccount("no such account")
    db = tables.db
    known = db.execute("SELECT number FROM blob WHERE id = ?", (sql.binary(blob.id),)).fetchone()
    if known is None:
        _make_room(tables, account, charge(blob.size), blob.size, free)
        _insert(tables, account, blob)
        return True
    row = _same(tables, blob)
    growth = blob.size - row.size
    if row.committed or growth <= 0:
        return False
    more = charge(blob.size) - charge(row.size)
    _make_room(tables, account, more, growth, free)
    _add_charge(tables, account, row.day, more)
    db.execute("UPDATE blob SET size = ? WHERE number = ?", (blob.size, row.number))
    tables.blob_bytes += growth
    tables.blob_promised += growth
    return False


def _same(tables: PostTables, blob: NewBlob) -> BlobRow:
    """The blob of this id, if it is the same one."""
    try:
        row = find(tables.db, blob.id)
    except UnknownBlob:
        raise BlobConflict("the blob of this id is being deleted") from None
    rows = tables.db.execute("SELECT token_hash FROM blob_release WHERE blob = ?", (row.number,)).fetchall()
    if row.read_hash != blob.read or {raw for (raw,) in rows} != set(blob.releases):
        raise BlobConflict("there is another blob of this id")
    return row


def _make_room(tables: PostTables, account: AccountId, charged: int, size: int, free: int) -> None:
    (used,) = tables.db.execute(
        "SELECT ifnull(sum(bytes), 0) FROM blob_quota WHERE account = ?", (sql.binary(account),)
    ).fetchone()
    blobrules.check_quota(tables.limits, used, charged, tables.seconds)
    blobrules.check_room(tables.limits, tables.blob_bytes, tables.blob_promised, size, free)


def _insert(tables: PostTables, account: AccountId, blob: NewBlob) -> None:
    day = blobrules.last_day(tables.limits, tables.seconds)
    (number,) = tables.db.execute(
        "INSERT INTO blob (id, size, received, present, committed, day, ends, read_hash)"
        " VALUES (?,?,0,0,0,?,?,?) RETURNING number",
        (sql.binary(blob.id), blob.size, day, tables.seconds + UNFINISHED_SECONDS, sql.binary(blob.read)),
    ).fetchall()[0]
    tables.db.executemany(
        "INSERT INTO blob_release VALUES (?,?,0)", [(number, sql.binary(each)) for each in blob.releases]
    )
    _add_charge(tables, account, day, charge(blob.size))
    tables.blob_bytes += blob.size
    tables.blob_promised += blob.size


def _add_charge(tables: PostTables, account: AccountId, day: int, size: int) -> None:
    tables.db.execute(
        "INSERT INTO blob_quota VALUES (?,?,?) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes",
        (sql.binary(account), day, size),
    )


def _take_off(tables: PostTables, account: AccountId, day: int, size: int) -> None:
    """As far as there is so much: nobody knows whose blob it was."""
    key = (sql.binary(account), day)
    tables.db.execute(
        "UPDATE blob_quota SET bytes = max(0, bytes - ?) WHERE account = ? AND day = ?", (size, *key)
    )
    tables.db.execute("DELETE FROM blob_quota WHERE account = ? AND day = ? AND bytes = 0", key)


def is_there(db: sql.Connection, blob: BlobId, index: int, digest: bytes, size: int) -> bool:
    """Whether this part need not be put.

    Raises:
        UnknownBlob, BlobConflict, BlobIncomplete: it cannot be put.
    """
    row = find(db, blob)
    known = db.execute(
        "SELECT digest FROM blob_part WHERE blob = ? AND number = ?", (row.number, index)
    ).fetchone()
    if known is not None and known[0] == digest:
        return True
    if known is not None or row.committed:
        raise BlobConflict("another part is there")
    if not 0 < size <= PART_SIZE or index * PART_SIZE + size > row.size:
        raise BlobIncomplete("the part does not fit into the blob")
    return False


def note_part(tables: PostTables, blob: BlobId, index: int, digest: bytes, size: int) -> None:
    """The part is durable: from now on it counts."""
    if is_there(tables.db, blob, index, digest, size):
        return
    row = find(tables.db, blob)
    tables.db.execute("INSERT INTO blob_part VALUES (?,?,?,?)", (row.number, index, size, sql.binary(digest)))
    tables.db.execute(
        "UPDATE blob SET received = received + ?, present = present + 1 WHERE number = ?", (size, row.number)
    )
    ends = tables.seconds + UNFINISHED_SECONDS
    if ends > row.ends:
        tables.db.execute("UPDATE blob SET ends = ? WHERE number = ?", (ends, row.number))
    tables.blob_promised -= size


def commit(tables: PostTables, account: AccountId, blob: BlobId, size: int) -> None:
    """`Parts.commit`."""
    row = find(tables.db, blob)
    if row.committed:
        if row.size != size:
            raise BlobConflict("the blob is committed with another size")
        return
    count = parts_of(size)
    last = tables.db.execute(
        "SELECT size FROM blob_part WHERE blob = ? AND number = ?", (row.number, count - 1)
    ).fetchone()
    # So many of so many bytes, of which none is above a full one: so all before the last are full.
    whole = row.present == count and row.received == size
    if not whole or last is None or last[0] != size - (count - 1) * PART_SIZE:
        raise BlobIncomplete("parts are missing, or not of the size that they should have")
    day = blobrules.last_day(tables.limits, tables.seconds)
    _take_off(tables, account, row.day, charge(row.size))
    _add_charge(tables, account, day, charge(size))
    tables.db.execute(
        "UPDATE blob SET committed = 1, size = ?, day = ?, ends = ? WHERE number = ?",
        (size, day, day * blobrules.DAY, row.number),
    )
    tables.blob_bytes -= row.size - size
    tables.blob_promised -= row.size - size


def release(tables: PostTables, account: AccountId, blob: BlobId, tokens: Sequence[TokenHash]) -> int:
    """`Parts.release`, but for removing what goes."""
    row = find(tables.db, blob)
    rows = tables.db.execute(
        "SELECT token_hash, shown FROM blob_release WHERE blob = ?", (row.number,)
    ).fetchall()
    waiting = {raw for raw, shown in rows if not shown}
    shown_now = blobrules.matching([raw for raw, _ in rows], tokens) & waiting
    tables.db.executemany(
        "UPDATE blob_release SET shown = 1 WHERE blob = ? AND token_hash = ?",
        [(row.number, sql.binary(raw)) for raw in shown_now],
    )
    left = len(waiting) - len(shown_now)
    if not left:
        if not row.committed:
            _take_off(tables, account, row.day, charge(row.size))
        _let_go(tables, [row])
    return left


def _let_go(tables: PostTables, rows: Collection[BlobRow]) -> None:
    """From now on nobody knows them."""
    for row in rows:
        tables.db.execute("UPDATE blob SET ends = ? WHERE number = ?", (GOING, row.number))
        tables.blob_bytes -= row.size
        if not row.committed:
            tables.blob_promised -= row.size - row.received


def expire_some(tables: PostTables) -> bool:
    """One step of letting go what has been there for long enough; whether there is more."""
    tables.db.execute("DELETE FROM blob_quota WHERE day <= ?", (tables.seconds // blobrules.DAY,))
    rows = tables.db.execute(_EXPIRED, (GOING, tables.seconds, REMOVED_AT_ONCE)).fetchall()
    _let_go(tables, [BlobRow(*row) for row in rows])
    return len(rows) == REMOVED_AT_ONCE


def lose(tables: PostTables, blobs: Sequence[BlobId]) -> None:
    """Their content is not there: let them go."""
    for blob in blobs:
        _let_go(tables, [find(tables.db, blob)])


def remove_some(tables: PostTables, blob: BlobId) -> bool:
    """One step of forgetting a blob whose content is removed; whether there is more."""
    row = tables.db.execute(
        "SELECT number FROM blob WHERE id = ? AND ends = ?", (sql.binary(blob), GOING)
    ).fetchone()
    if row is None:
        return False
    gone = tables.db.execute(
        "DELETE FROM blob_part WHERE blob = ?1 AND number IN"
        " (SELECT number FROM blob_part WHERE blob = ?1 LIMIT ?2) RETURNING 1",
        (row[0], REMOVED_AT_ONCE),
    ).fetchall()
    if len(gone) == REMOVED_AT_ONCE:
        return True
    tables.db.execute("DELETE FROM blob_release WHERE blob = ?", row)
    tables.db.execute("DELETE FROM blob WHERE number = ?", row)
    return False
