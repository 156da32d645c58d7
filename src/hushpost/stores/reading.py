"""Queries, on connections that cannot write, in threads of their own: the loop never waits for a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from hushpost import sql
from hushpost.errors import StoreFailed, UnknownMailbox
from hushpost.ids import AccountId, BlobId, EnvelopeId, MailboxId
from hushpost.stores.base import Account, Attachment, DirectoryExtent, Envelope, Extent, Usage

T = TypeVar("T")

READERS = 2
"""Threads and connections. Reads come from memory nearly always, and take turns on the interpreter."""


class Readers:
    """A few connections, each used by one query at a time. Every query sees what was committed before it."""

    def __init__(self, path: Path) -> None:
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="hush-reader")
        self._closed = False
        self._idle: SimpleQueue[sql.Connection] = SimpleQueue()
        for _ in range(READERS):
            connection = sql.connect(path, "ro")
            connection.set_busy_timeout(sql.RUNNING_PATIENCE)
            connection.execute(f"PRAGMA cache_size=-{sql.CACHE_KIB // READERS}")
            self._idle.put(connection)

    async def run(self, query: Callable[[sql.Connection], T]) -> T:
        """Run a query in a thread.

        Raises:
            StoreFailed: the database cannot be read, or was closed.
        """
        if self._closed:
            raise StoreFailed("the store is closed")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._query, query)

    def close(self) -> None:
        """Take no more queries, wait for those that run, close the connections. Blocks."""
        self._closed = True
        self._pool.shutdown(wait=True)
        while not self._idle.empty():
            self._idle.get().close()

    def _query(self, query: Callable[[sql.Connection], T]) -> T:
        connection = self._idle.get()
        try:
            return query(connection)
        except sql.Error as error:
            raise StoreFailed("the database cannot be read", hint="look at the system's log") from error
        finally:
            self._idle.put(connection)


def account(db: sql.Connection, account_id: AccountId) -> Account | None:
    """`Directory.account`."""
    row = db.execute(
        "SELECT id, name, record FROM account WHERE id = ?", (sql.binary(account_id),)
    ).fetchone()
    return _account(row) if row else None


def accounts_extent(db: sql.Connection) -> DirectoryExtent:
    """`Directory.accounts_extent`."""
    count, last = db.execute("SELECT count(*), ifnull(max(number), 0) FROM account").fetchone()
    return DirectoryExtent(count, last)


def accounts_page(db: sql.Connection, after: int, up_to: int, limit: int) -> list[tuple[int, Account]]:
    """`Directory.accounts_page`."""
    rows = db.execute(
        "SELECT number, id, name, record FROM account"
        " WHERE number > ? AND number <= ? ORDER BY number LIMIT ?",
        (after, up_to, limit),
    )
    return [(row[0], _account(row[1:])) for row in rows]


def usage(db: sql.Connection, mailbox: MailboxId) -> Usage:
    """`Mailboxes.usage`."""
    row = db.execute("SELECT count, size FROM mailbox WHERE id = ?", (sql.binary(mailbox),)).fetchone()
    if row is None:
        raise UnknownMailbox("no such mailbox")
    return Usage(*row)


def total_size(db: sql.Connection) -> int:
    """Bytes of everything that waits."""
    size: int = db.execute("SELECT size FROM store").fetchone()[0]
    return size


def extent(db: sql.Connection, mailbox: MailboxId, max_size: int, overhead: int) -> Extent:
    """`Mailboxes.extent`: at once if all of it fits, else by reading sizes until the limit."""
    row = db.execute(
        "SELECT number, count, size, ifnull((SELECT max(sequence) FROM envelope WHERE mailbox = number), 0)"
        " FROM mailbox WHERE id = ?",
        (sql.binary(mailbox),),
    ).fetchone()
    if row is None:
        raise UnknownMailbox("no such mailbox")
    number, count, size, last = row
    if count <= 1 or size + count * overhead <= max_size:
        return Extent(count, size, last)
    rows = db.execute("SELECT sequence, size FROM envelope WHERE mailbox = ? ORDER BY sequence", (number,))
    try:
        return _run_that_fits(rows, max_size, overhead)
    finally:
        rows.close()


def _run_that_fits(rows: Iterable[sql.Row], max_size: int, overhead: int) -> Extent:
    count = size = last = 0
    for sequence, added in rows:
        if count and size + added + (count + 1) * overhead > max_size:
            break
        count, size, last = count + 1, size + added, sequence
    return Extent(count, size, last)


def read(
    db: sql.Connection, mailbox: MailboxId, after: int, max_count: int, max_bytes: int
) -> list[Envelope]:
    """`Mailboxes.read`."""
    row = db.execute("SELECT number FROM mailbox WHERE id = ?", (sql.binary(mailbox),)).fetchone()
    if row is None:
        raise UnknownMailbox("no such mailbox")
    rows = db.execute(
        "SELECT sequence, header, body, id, attachment, attachment_size FROM envelope"
        " WHERE mailbox = ? AND sequence > ? ORDER BY sequence LIMIT ?",
        (row[0], after, max(1, max_count)),
    )
    found: list[Envelope] = []
    size = 0
    try:
        for row in rows:
            size += len(row[1]) + len(row[2])
            if found and size > max_bytes:
                break
            found.append(_envelope(row))
    finally:
        rows.close()
    return found


def attachments(db: sql.Connection) -> set[BlobId]:
    """Every blob that an envelope refers to."""
    rows = db.execute("SELECT attachment FROM envelope WHERE attachment IS NOT NULL")
    return {BlobId(blob) for (blob,) in rows}


def epoch(db: sql.Connection) -> bytes:
    """`Mailboxes.epoch`."""
    value: bytes = db.execute("SELECT epoch FROM store").fetchone()[0]
    return value


def _account(row: sql.Row) -> Account:
    raw_id, name, record = row
    return Account(AccountId(raw_id), name, record)


def _envelope(row: sql.Row) -> Envelope:
    sequence, header, body, raw_id, blob, blob_size = row
    return Envelope(
        sequence,
        header,
        body,
        None if raw_id is None else EnvelopeId(raw_id),
        None if blob is None else Attachment(BlobId(blob), blob_size),
    )
