"""Messages between us and others, and the search in them; what did not open; what happened to each."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from hushpost.client.store.database import Database
from hushpost.client.values import AttachedFile, Delivery, Message
from hushpost.ids import AccountId, DeviceId, EnvelopeId, FixedBytes, MessageId
from hushpost.sql import Row

MAX_SEARCH_WORDS = 32
"""A longer question finds nothing more, and could make the search slow."""

MAX_UNDECRYPTABLE = 200
MAX_UNDECRYPTABLE_BYTES = 16 * 2**20
"""What did not open is kept for a later look. Anybody can send it: the oldest goes first."""

MAX_STORIES = 100_000
"""Entries about what happened to messages: weeks of a busy profile, about 10 MiB. Without an index: it would
cost each message a page more to encrypt, and a look through all of it takes 30 ms."""

TRIM_EVERY = 500
"""Entries between two looks at what can go."""

_COLUMNS = "id, contact, ours, text, sent_at, stored_at, delivery, remark, file"

_encode_file = msgspec.msgpack.Encoder().encode
_decode_file = msgspec.msgpack.Decoder(AttachedFile).decode


class HistoryTable:
    """`t.history`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, message: Message, device: DeviceId, content: bytes) -> bool:
        """Keep a message. False: one of this id, this side and this contact is there already.

        Args:
            device: that wrote it.
            content: all of it, encoded, so that it can be sent again.
        """
        return self._db.changed(
            "INSERT OR IGNORE INTO message (contact, ours, id, device, sent_at, stored_at, delivery, remark,"
            " text, content, file) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            message.contact,
            int(message.ours),
            message.id,
            device,
            message.sent_at,
            message.stored_at,
            message.delivery.value,
            message.remark,
            message.text,
            content,
            None if message.file is None else _encode_file(message.file),
        )

    def get(self, contact: AccountId, message: MessageId, *, ours: bool) -> Message | None:
        """Others choose their ids: only together with the side and the contact does one name a message."""
        row = self._db.row(
            f"SELECT {_COLUMNS} FROM message WHERE id = ? AND contact = ? AND ours = ?",
            message,
            contact,
            int(ours),
        )
        return _message(row) if row else None

    def called(self, message: MessageId) -> tuple[Message, ...]:
        """Every message of this id, with whomever."""
        return tuple(map(_message, self._db.rows(f"SELECT {_COLUMNS} FROM message WHERE id = ?", message)))

    def content(self, contact: AccountId, message: MessageId, *, ours: bool) -> bytes | None:
        """What `add` was given."""
        row = self._db.row(
            "SELECT content FROM message WHERE id = ? AND contact = ? AND ours = ?",
            message,
            contact,
            int(ours),
        )
        return bytes(row[0]) if row else None

    def progress(self, contact: AccountId, message: MessageId, delivery: Delivery, remark: str = "") -> bool:
        """How far a message of ours has come. Delivered stays so. Whether anything changed."""
        return self._db.changed(
            "UPDATE message SET delivery = ?, remark = ? WHERE id = ? AND contact = ? AND ours"
            " AND delivery NOT IN ('delivered', ?)",
            delivery.value,
            remark,
            message,
            contact,
            delivery.value,
        )

    def doubt(self, remark: str) -> None:
        """Of what the server has accepted and nobody confirmed: whether it is still there is not known."""
        self._db.run("UPDATE message SET remark = ? WHERE ours AND delivery = 'accepted'", remark)

    def remark(self, contact: AccountId, message: MessageId, remark: str) -> None:
        """What the user should know about a message of theirs, where nothing else is said of it."""
        self._db.run(
            "UPDATE message SET remark = ? WHERE id = ? AND contact = ? AND NOT ours AND remark = ''",
            remark,
            message,
            contact,
        )

    def page(
        self, contact: AccountId, *, before: MessageId | None = None, limit: int = 100
    ) -> tuple[Message, ...]:
        """The newest messages with somebody, or the newest before that one; oldest first."""
        bound = 2**63 - 1
        if before is not None:
            bound = self._db.number(
                "SELECT min(number) FROM message WHERE id = ? AND contact = ?", before, contact
            )
        rows = self._db.rows(
            f"SELECT {_COLUMNS} FROM message WHERE contact = ? AND number < ? ORDER BY number DESC LIMIT ?",
            contact,
            bound,
            limit,
        )
        return tuple(map(_message, reversed(rows)))

    def after(self, number: int, limit: int = 100) -> tuple[tuple[int, Message], ...]:
        """Messages of anybody behind this number, with their numbers, oldest first."""
        rows = self._db.rows(
            f"SELECT number, {_COLUMNS} FROM message WHERE number > ? ORDER BY number LIMIT ?", number, limit
        )
        return tuple((row[0], _message(row[1:])) for row in rows)

    def search(
        self, words: str, *, contact: AccountId | None = None, limit: int = 100
    ) -> tuple[Message, ...]:
        """Messages with words that begin like all of these, newest first. No character has a meaning."""
        query = _quoted(words)
        if not query:
            return ()
        columns = ", ".join(f"message.{column}" for column in _COLUMNS.split(", "))
        one = "" if contact is None else "AND contact = ?"
        rows = self._db.rows(
            f"SELECT {columns} FROM message_text JOIN message ON message.number = message_text.rowid"
            f" WHERE message_text MATCH ? {one} ORDER BY message_text.rowid DESC LIMIT ?",
            query,
            *(() if contact is None else (contact,)),
            limit,
        )
        return tuple(map(_message, rows))

    def forget(self, contact: AccountId) -> None:
        """The whole conversation with somebody."""
        self._db.run("DELETE FROM message WHERE contact = ?", contact)


def _quoted(words: str) -> str:
    """An FTS5 query for all of these as prefixes: each a string, in which only the quote must be doubled."""
    usable = ["".join(c for c in word if c.isprintable()) for word in words.split()[:MAX_SEARCH_WORDS]]
    return " ".join('"' + word.replace('"', '""') + '"*' for word in usable if word)


def _message(row: Row) -> Message:
    message, contact, ours, text, sent_at, stored_at, delivery, remark, file = row
    return Message(
        MessageId(message),
        AccountId(contact),
        bool(ours),
        text,
        sent_at,
        stored_at,
        Delivery(delivery),
        remark,
        None if file is None else _decode_file(file),
    )


@dataclass(frozen=True, slots=True)
class Undecryptable:
    """An envelope that did not open. Who sent it is a claim, or not even that.

    Attributes:
        at: when it came, seconds since 1970.
        reason: a sentence of ours.
        number: given by the store.
    """

    envelope: EnvelopeId
    at: int
    reason: str
    claimed_account: AccountId | None
    claimed_device: DeviceId | None
    header: bytes = field(repr=False)
    body: bytes = field(repr=False)
    number: int = 0


class UndecryptableTable:
    """`t.undecryptable`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, item: Undecryptable) -> None:
        """Keep it, and let go of the oldest where there are too many."""
        self._db.run(
            "INSERT INTO undecryptable (envelope, at, reason, claimed_account, claimed_device, header, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            item.envelope,
            item.at,
            item.reason,
            item.claimed_account,
            item.claimed_device,
            item.header,
            item.body,
        )
        self._db.run(
            "DELETE FROM undecryptable WHERE number IN (SELECT number FROM (SELECT number,"
            " row_number() OVER newest AS place, sum(length(header) + length(body)) OVER newest AS size"
            " FROM undecryptable WINDOW newest AS (ORDER BY number DESC)) WHERE place > ? OR size > ?)",
            MAX_UNDECRYPTABLE,
            MAX_UNDECRYPTABLE_BYTES,
        )

    def every(self) -> tuple[Undecryptable, ...]:
        """All that are kept, oldest first."""
        rows = self._db.rows(
            "SELECT envelope, at, reason, claimed_account, claimed_device, header, body, number"
            " FROM undecryptable ORDER BY number"
        )
        return tuple(
            Undecryptable(
                EnvelopeId(envelope),
                at,
                reason,
                None if account is None else AccountId(account),
                None if device is None else DeviceId(device),
                *others,
            )
            for envelope, at, reason, account, device, *others in rows
        )

    def remove(self, number: int) -> None:
        self._db.run("DELETE FROM undecryptable WHERE number = ?", number)


class StoryTable:
    """`t.story`: what happened to a message or an envelope, for `hush explain`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def tell(self, subject: FixedBytes, what: str, now: int) -> None:
        """Add a line. `what`: a sentence of ours, without names, keys or content.

        Args:
            subject: the message's id, or the envelope's where no message is known.
        """
        number = self._db.added("INSERT INTO story (subject, at, what) VALUES (?, ?, ?)", subject, now, what)
        if number % TRIM_EVERY == 0:
            self._db.run("DELETE FROM story WHERE number <= ?", number - MAX_STORIES)

    def of(self, subject: bytes) -> tuple[tuple[int, str], ...]:
        """When (seconds since 1970) and what, oldest first."""
        rows = self._db.rows("SELECT at, what FROM story WHERE subject = ? ORDER BY number", subject)
        return tuple((at, what) for at, what in rows)

    def called(self, prefix: str) -> tuple[bytes, ...]:
        """The subjects whose hexadecimal begins like this: at most ten, to choose from."""
        if not 1 <= len(prefix) <= 32 or not all(c in "0123456789abcdef" for c in prefix.lower()):
            return ()
        low = bytes.fromhex(prefix.lower().ljust(32, "0"))
        high = bytes.fromhex(prefix.lower().ljust(32, "f"))
        rows = self._db.rows(
            "SELECT DISTINCT subject FROM story WHERE subject BETWEEN ? AND ? LIMIT 10", low, high
        )
        return tuple(subject for (subject,) in rows)
