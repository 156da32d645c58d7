"""What the writer does in the database: one method per operation, inside a transaction it does not end.

An operation that is refused has changed nothing, so that its neighbours in the transaction stand.
Rows to insert gather until `flush`, and go in with one statement per table.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hushpost import sql
from hushpost.errors import IdTaken, NameTaken, StoreUnusable, UnknownMailbox
from hushpost.ids import BlobId, MailboxId
from hushpost.stores import rules
from hushpost.stores.base import Account, Envelope, Send, StoreLimits, Usage
from hushpost.stores.room import database_room
from hushpost.stores.seen import Seen

MAILBOXES_CACHED = 32_768
"""About 10 MB; a mailbox that is not among them costs one look-up."""

DELETED_AT_ONCE = 2_000
"""Envelopes that one operation deletes: whoever empties a huge mailbox does not hold up the others."""


@dataclass(slots=True)
class _Mailbox:
    """A row of `mailbox`; `changed` when the row is behind."""

    number: int
    count: int
    size: int
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a deletion did.

    Attributes:
        attachments: to be discarded once this is durable.
        more: there is more to delete.
    """

    attachments: list[BlobId]
    more: bool = False


class Tables:
    """The database as its one writer sees it."""

    def __init__(
        self, connection: sql.Connection, folder: Path, limits: StoreLimits, clock: Callable[[], float]
    ) -> None:
        self._db = connection
        self._folder = folder
        self._limits = limits
        self._clock = clock
        self._mailboxes: OrderedDict[MailboxId, _Mailbox] = OrderedDict()
        self._envelope_rows: dict[str, list[tuple[object, ...]]] = {}
        self._seen = Seen(connection)
        self._changed: list[_Mailbox] = []
        self._free = 0
        self._load()

    # The transaction

    def begin(self) -> None:
        """Open a transaction."""
        self._db.execute("BEGIN IMMEDIATE")
        self._free = database_room(self._db, self._folder)

    def commit(self) -> None:
        """Write down what gathered, and make it durable."""
        self.flush()
        self._seen.forget(self._clock())
        self._db.executemany(
            "UPDATE mailbox SET count = ?, size = ? WHERE number = ?",
            [(box.count, box.size, box.number) for box in self._changed],
        )
        self._db.execute("UPDATE store SET last_sequence = ?, size = ?", (self._sequence, self._total))
        self._db.execute("COMMIT")
        for box in self._changed:
            box.changed = False
        self._changed.clear()
        while len(self._mailboxes) > MAILBOXES_CACHED:
            self._mailboxes.popitem(last=False)

    def roll_back(self) -> None:
        """Be as before `begin`, here and there. A full disk may have ended the transaction already."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._envelope_rows.clear()
        self._seen.clear()
        self._changed.clear()
        self._mailboxes.clear()
        self._load()

    def flush(self) -> None:
        """Insert what gathered."""
        for columns, rows in self._envelope_rows.items():
            places = ",".join("?" * len(rows[0]))
            self._db.executemany(f"INSERT INTO envelope ({columns}) VALUES ({places})", rows)  # noqa: S608
        self._envelope_rows.clear()
        self._seen.flush()

    def _load(self) -> None:
        self._sequence, self._total = self._db.execute("SELECT last_sequence, size FROM store").fetchone()

    # Operations

    def register(self, account: Account, mailbox: MailboxId) -> None:
        """`Directory.register`."""
        rules.check_total(self._limits, self._total, 1)
        rules.check_disk(self._free, self._limits.min_free_bytes)
        if self._exists("SELECT 1 FROM account WHERE name = ?", account.name):
            raise NameTaken("this name is taken")
        if self._exists("SELECT 1 FROM account WHERE id = ?", sql.binary(account.id)) or self._exists(
            "SELECT 1 FROM mailbox WHERE id = ?", sql.binary(mailbox)
        ):
            raise IdTaken("this id is taken")
        self._insert_account(account, mailbox)

    def append(self, send: Send) -> tuple[int, ...]:
        """`Mailboxes.append`."""
        envelope = send.envelope
        if envelope is not None:
            rules.check_age(envelope, self._clock())
        targets = [(self._mailbox(delivery.mailbox), delivery.header) for delivery in send.deliveries]
        content = b""
        if envelope is not None:
            content = rules.fingerprint(send.body, send.attachment)
            repeated = self._seen.repeated(envelope, [box.number for box, _ in targets], content)
            if repeated is not None:
                return repeated
        stored, adding = send.stored_bytes, 0
        for box, header in targets:
            adding += len(header) + stored
            rules.check_mailbox(self._limits, Usage(box.count, box.size), len(header) + stored)
        rules.check_total(self._limits, self._total, adding)
        rules.check_sequence(self._limits, self._sequence, len(targets))
        rules.check_disk(self._free, self._limits.min_free_bytes)

        first = self._sequence + 1
        for box, header in targets:
            self._sequence += 1
            self._gather(box, Envelope(self._sequence, header, send.body, envelope, send.attachment))
            if envelope is not None:
                self._seen.add(envelope, box.number, self._sequence, content)
        return tuple(range(first, self._sequence + 1))

    def delete(self, mailbox: MailboxId, sequences: tuple[int, ...]) -> Deleted:
        """`Mailboxes.ack`, for at most `DELETED_AT_ONCE` of them."""
        box = self._known(mailbox)
        if box is None:
            return Deleted([])
        self.flush()
        rows: list[sql.Row] = []
        for sequence in sequences:
            rows += self._db.execute(
                "DELETE FROM envelope WHERE sequence = ? AND mailbox = ? RETURNING size, attachment",
                (sequence, box.number),
            ).fetchall()
        return self._deleted(box, rows)

    def delete_up_to(self, mailbox: MailboxId, sequence: int) -> Deleted:
        """`Mailboxes.ack_up_to`, as far as one operation may go."""
        box = self._known(mailbox)
        if box is None:
            return Deleted([])
        self.flush()
        rows = self._db.execute(
            "DELETE FROM envelope WHERE sequence IN (SELECT sequence FROM envelope"
            " WHERE mailbox = ? AND sequence <= ? ORDER BY sequence LIMIT ?) RETURNING size, attachment",
            (box.number, sequence, DELETED_AT_ONCE),
        ).fetchall()
        return self._deleted(box, rows)

    def _deleted(self, box: _Mailbox, rows: list[sql.Row]) -> Deleted:
        if rows:
            self._change(box, -len(rows), -sum(size for size, _ in rows))
        blobs = [BlobId(blob) for _, blob in rows if blob is not None]
        return Deleted(blobs, len(rows) == DELETED_AT_ONCE)

    # Takeover

    def begin_takeover(self, accounts: Sequence[tuple[Account, MailboxId]], last_sequence: int) -> int:
        """`Takeover.begin_takeover`."""
        begun = self._db.execute("SELECT position, last_sequence FROM takeover").fetchone()
        if begun is None:
            self._found_from(accounts, last_sequence)
            return 0
        position, recorded = begun
        if recorded != last_sequence or not all(self._has(account) for account, _ in accounts):
            raise StoreUnusable(
                "the data folder took over another server, or this one at another time",
                hint="import into an empty folder",
            )
        return int(position)

    def _found_from(self, accounts: Sequence[tuple[Account, MailboxId]], last_sequence: int) -> None:
        rules.check_disk(self._free, self._limits.min_free_bytes)
        if self._sequence or self._db.execute("SELECT 1 FROM account LIMIT 1").fetchone():
            raise StoreUnusable("the data folder has contents already", hint="import into an empty folder")
        if len({account.name for account, _ in accounts}) < len(accounts):
            raise NameTaken("two accounts have the same name")
        if len({account.id for account, _ in accounts}) < len(accounts):
            raise IdTaken("two accounts have the same id")
        for account, mailbox in accounts:
            self._insert_account(account, mailbox)
        self._db.execute("INSERT INTO takeover VALUES (1, 0, ?)", (last_sequence,))
        self._sequence = last_sequence

    def take_over(self, envelopes: Sequence[tuple[MailboxId, Envelope]], up_to: int) -> None:
        """`Takeover.take_over`."""
        rules.check_disk(self._free, self._limits.min_free_bytes)
        boxes = [self._mailbox(mailbox) for mailbox, _ in envelopes]
        for box, (_, envelope) in zip(boxes, envelopes, strict=True):
            self._gather(box, envelope)
        self._db.execute("UPDATE takeover SET position = ?", (up_to,))

    # Helpers

    def _gather(self, box: _Mailbox, envelope: Envelope) -> None:
        """Take down an envelope for `flush`, beside those that have the same columns."""
        size = len(envelope.header) + envelope.content_size
        columns = "sequence, mailbox, size, header, body"
        values: tuple[object, ...] = (
            envelope.sequence,
            box.number,
            size,
            sql.binary(envelope.header),
            sql.binary(envelope.body),
        )
        if envelope.envelope is not None:
            columns += ", id"
            values += (sql.binary(envelope.envelope),)
        if envelope.attachment is not None:
            columns += ", attachment, attachment_size"
            values += (sql.binary(envelope.attachment.blob), envelope.attachment.size)
        self._envelope_rows.setdefault(columns, []).append(values)
        self._change(box, 1, size)

    def _insert_account(self, account: Account, mailbox: MailboxId) -> None:
        (number,) = self._db.execute(
            "INSERT INTO account (id, name, record) VALUES (?,?,?) RETURNING number",
            (sql.binary(account.id), account.name, sql.binary(account.record)),
        ).fetchall()[0]
        self._db.execute("INSERT INTO mailbox (id, account) VALUES (?,?)", (sql.binary(mailbox), number))

    def _has(self, account: Account) -> bool:
        found = self._db.execute("SELECT name, record FROM account WHERE id = ?", (sql.binary(account.id),))
        return bool(found.fetchall() == [(account.name, account.record)])

    def _exists(self, statement: str, value: object) -> bool:
        return bool(self._db.execute(statement, (value,)).fetchall())

    def _mailbox(self, mailbox: MailboxId) -> _Mailbox:
        box = self._known(mailbox)
        if box is None:
            raise UnknownMailbox("no such mailbox")
        return box

    def _known(self, mailbox: MailboxId) -> _Mailbox | None:
        box = self._mailboxes.get(mailbox)
        if box is not None:
            self._mailboxes.move_to_end(mailbox)
            return box
        row = self._db.execute(
            "SELECT number, count, size FROM mailbox WHERE id = ?", (sql.binary(mailbox),)
        ).fetchone()
        if row is None:
            return None
        box = self._mailboxes[mailbox] = _Mailbox(*row)
        return box

    def _change(self, box: _Mailbox, count: int, size: int) -> None:
        box.count += count
        box.size += size
        self._total += size
        if not box.changed:
            box.changed = True
            self._changed.append(box)
