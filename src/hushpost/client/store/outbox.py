"""What waits to be sent, and how far it has come.

A message begins as a draft (its content is durable), is encrypted in one transaction with the sessions (from
then on its bytes never change), and waits until the server has accepted it. Per account it is first in, first
out: the next message is encrypted and sent only when the one before was accepted or given up, so that the
recipient's ratchet never has to skip far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from hushpost.client.store.database import Database
from hushpost.ids import AccountId, DeviceId, EnvelopeId, MessageId
from hushpost.sql import Row

FINISHED_KEPT = 90 * 86_400
"""Seconds for which it is remembered which devices a message was for, so that one of them can ask again."""

MAX_RECEIPTS = 10_000
"""Receipts that wait to be sent: a flood of messages must not become one of receipts."""

# From account to account, a step in the index each: thousands may wait behind one head.
_HEADS = (
    "WITH RECURSIVE head (account, number) AS ("
    "SELECT * FROM (SELECT account, number FROM outgoing WHERE state IN ('draft', 'queued')"
    " ORDER BY account, number LIMIT 1)"
    " UNION ALL SELECT next.account, next.number FROM head JOIN outgoing AS next ON next.number ="
    " (SELECT number FROM outgoing WHERE state IN ('draft', 'queued') AND account > head.account"
    " ORDER BY account, number LIMIT 1))"
)


class Purpose(IntEnum):
    """Why something is sent. All of it needs the user's leave to write to this person."""

    MESSAGE = 0  # stands in the history
    SERVICE = 1  # receipts, tokens, empty messages: nobody misses one that is not sent
    AGAIN = 2  # a message once more, for devices that it was addressed to before, and no others


class State(StrEnum):
    """How far a message to one account has come."""

    DRAFT = "draft"
    QUEUED = "queued"  # encrypted
    ACCEPTED = "accepted"
    DELIVERED = "delivered"  # at least one device of theirs has confirmed it
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Draft:
    """A content that is not encrypted yet.

    Attributes:
        made_at: seconds since 1970.
    """

    number: int
    message: MessageId
    account: AccountId
    purpose: Purpose
    made_at: int
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Part:
    """What one device gets: its inner message, encrypted, as `ratchet` writes and reads it."""

    device: DeviceId
    inner: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Queued:
    """An encrypted message. Retries send these very bytes; only seals and the envelope's id are renewed."""

    number: int
    message: MessageId
    account: AccountId
    purpose: Purpose
    made_at: int
    envelope: EnvelopeId
    body: bytes = field(repr=False)
    parts: tuple[Part, ...]
    attempts: int
    not_before: int


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a message to one account; `reason` is a sentence where it failed, or last did."""

    number: int
    message: MessageId
    account: AccountId
    state: State
    attempts: int
    reason: str


def take_back_counters(db: Database, number: int) -> None:
    """Nothing of this message was stored at the server: the next one has its counters.

    They are its devices' newest: nothing is encrypted for an account before what waits in front of it is
    accepted or given up.
    """
    db.run(
        "UPDATE device SET sent = sent - 1 WHERE (account, id) IN (SELECT account, device FROM outgoing"
        " JOIN outgoing_part USING (number) WHERE number = ? AND state = 'queued')",
        number,
    )


class OutboxTable:
    """`t.outbox`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(
        self,
        message: MessageId,
        account: AccountId,
        content: bytes,
        now: int,
        purpose: Purpose = Purpose.MESSAGE,
    ) -> Draft:
        """A draft, at the end of its account's queue."""
        number = self._db.added(
            "INSERT INTO outgoing (message, account, purpose, state, made_at, not_before, attempts, reason,"
            " content) VALUES (?, ?, ?, 'draft', ?, 0, 0, '', ?)",
            message,
            account,
            purpose.value,
            now,
            content,
        )
        return Draft(number, message, account, purpose, now, content)

    @property
    def has_moved(self) -> bool:
        """Whether this transaction put something into it, or something in it has come further."""
        return self._db.wrote("outgoing")

    @property
    def owes_more(self) -> bool:
        """Whether receipts were added in this transaction."""
        return self._db.wrote("receipt")

    def heads(self, now: int, limit: int = 100) -> tuple[Draft | Queued, ...]:
        """The first that waits for each account, unless it was put off until later; longest waiting first."""
        rows = self._db.rows(
            f"{_HEADS} SELECT number FROM head JOIN outgoing USING (number) WHERE not_before <= ?"
            " ORDER BY number LIMIT ?",
            now,
            limit,
        )
        return tuple(each for (number,) in rows if (each := self.waiting(number)) is not None)

    def head(self, account: AccountId, now: int = 2**63 - 1) -> Draft | Queued | None:
        """The first that waits for this account, unless it was put off until later."""
        number = self._db.number(
            "SELECT number FROM (SELECT number, not_before FROM outgoing WHERE account = ?"
            " AND state IN ('draft', 'queued') ORDER BY number LIMIT 1) WHERE not_before <= ?",
            account,
            now,
        )
        return self.waiting(number)

    def is_last(self, account: AccountId, number: int) -> bool:
        """Whether nothing waits for this account behind that."""
        behind = "account = ? AND number > ? AND state IN ('draft', 'queued')"
        return self._db.row(f"SELECT 1 FROM outgoing WHERE {behind} LIMIT 1", account, number) is None

    def waiting(self, number: int) -> Draft | Queued | None:
        """None: it does not wait any more."""
        row = self._db.row(
            "SELECT number, message, account, purpose, made_at, content, envelope, body, attempts, not_before"
            " FROM outgoing WHERE number = ? AND state IN ('draft', 'queued')",
            number,
        )
        return self._waiting(row) if row else None

    def next_time(self) -> int | None:
        """When the next head that was put off is due. None: nothing was put off."""
        row = self._db.row(
            f"{_HEADS} SELECT min(not_before) FROM head JOIN outgoing USING (number) WHERE not_before > 0"
        )
        return row[0] if row else None

    def count(self) -> int:
        """Messages that wait."""
        return self._db.number("SELECT count(*) FROM outgoing WHERE state IN ('draft', 'queued')")

    def encrypted(self, number: int, envelope: EnvelopeId, body: bytes, parts: Sequence[Part]) -> None:
        """A draft was encrypted in this transaction. Its content stays meanwhile: see `repair.redraft`."""
        self._db.run(
            "UPDATE outgoing SET state = 'queued', envelope = ?, body = ? WHERE number = ?",
            envelope,
            body,
            number,
        )
        self.set_parts(number, parts)

    def set_parts(self, number: int, parts: Sequence[Part]) -> None:
        """Other devices than before (`stale-devices`). Those that stay keep their bytes: pass them again."""
        self._db.run("DELETE FROM outgoing_part WHERE number = ?", number)
        self._db.run_each(
            "INSERT INTO outgoing_part (number, device, inner) VALUES (?, ?, ?)",
            ((number, part.device, part.inner) for part in parts),
        )

    def renew(self, number: int, envelope: EnvelopeId) -> None:
        """Another envelope id, after `stale-id`."""
        self._db.run("UPDATE outgoing SET envelope = ? WHERE number = ?", envelope, number)

    def put_off(self, number: int, not_before: int, reason: str, *, wants_token: bool = False) -> None:
        """It failed this time.

        Args:
            reason: a sentence of ours, for people.
            wants_token: with a delivery token there would be room for it.
        """
        self._db.run(
            "UPDATE outgoing SET attempts = attempts + 1, not_before = ?, reason = ?, wants_token = ?"
            " WHERE number = ?",
            not_before,
            reason,
            wants_token,
            number,
        )

    def let_in(self, account: AccountId) -> None:
        """We have their delivery token: what was put off for want of it is due."""
        self._db.run(
            "UPDATE outgoing SET not_before = 0, wants_token = 0 WHERE account = ? AND wants_token"
            " AND state IN ('draft', 'queued')",
            account,
        )

    def accepted(self, number: int, now: int) -> None:
        """The server has it: what was encrypted is not needed any more."""
        self._finish(number, State.ACCEPTED, now, "")

    def failed(self, number: int, now: int, reason: str) -> None:
        """Given up. `reason`: a sentence of ours, for people."""
        take_back_counters(self._db, number)
        self._finish(number, State.FAILED, now, reason)

    def delivered(self, message: MessageId, account: AccountId, device: DeviceId, now: int) -> bool:
        """A device of theirs confirmed it. False: it was confirmed before, or was never sent there."""
        rows = self._db.rows(
            "UPDATE outgoing_part SET delivered_at = ? WHERE device = ? AND delivered_at IS NULL"
            " AND number IN (SELECT number FROM outgoing WHERE message = ? AND account = ?"
            " AND state IN ('queued', 'accepted', 'delivered')) RETURNING number",
            now,
            device,
            message,
            account,
        )
        fresh = False
        for (number,) in rows:
            fresh |= self._db.changed(
                "UPDATE outgoing SET state = 'delivered' WHERE number = ? AND state <> 'delivered'", number
            )
            self._finish(number, State.DELIVERED, now, "")
        return fresh

    def was_addressed(self, message: MessageId, account: AccountId, device: DeviceId) -> bool:
        """Whether this message went to this device at first: only then may it be sent there again."""
        return (
            self._db.row(
                "SELECT 1 FROM outgoing JOIN outgoing_part USING (number)"
                " WHERE message = ? AND account = ? AND device = ? AND purpose = ?",
                message,
                account,
                device,
                Purpose.MESSAGE.value,
            )
            is not None
        )

    def sent_again(self, account: AccountId, since: int) -> int:
        """How many messages were put in again for this account since then."""
        return self._db.number(
            "SELECT count(*) FROM outgoing WHERE account = ? AND purpose = ? AND made_at > ?",
            account,
            Purpose.AGAIN.value,
            since,
        )

    def withdraw(self, account: AccountId) -> None:
        """Of what waits for somebody, let go of whatever they did not get from the user; and owe nothing."""
        self._db.run(
            "DELETE FROM outgoing WHERE account = ? AND purpose <> ? AND state IN ('draft', 'queued')",
            account,
            Purpose.MESSAGE.value,
        )
        self._db.run("DELETE FROM receipt WHERE account = ?", account)

    def of(self, message: MessageId) -> tuple[Sent, ...]:
        """What became of it, for each time that it was sent to somebody."""
        rows = self._db.rows(
            "SELECT number, message, account, state, attempts, reason FROM outgoing WHERE message = ?"
            " ORDER BY number",
            message,
        )
        return tuple(
            Sent(number, MessageId(each), AccountId(account), State(state), attempts, reason)
            for number, each, account, state, attempts, reason in rows
        )

    def trim(self, now: int) -> None:
        """Forget what was finished long ago."""
        self._db.run("DELETE FROM outgoing WHERE finished_at < ?", now - FINISHED_KEPT)

    # --- receipts that we owe

    def owe_receipt(self, account: AccountId, message: MessageId, due: int) -> None:
        """A receipt, to be sent together with others when it is due.

        They are counted once in a transaction, before it adds any: it takes long where there are many.
        """
        owed = self._db.keep("owed", None, lambda: self._db.number("SELECT count(*) FROM receipt"))
        if owed < MAX_RECEIPTS:
            self._db.run("INSERT OR IGNORE INTO receipt VALUES (?, ?, ?)", account, message, due)

    def owe_nothing(self) -> None:
        """Drop the receipts that wait: none is to be sent any more."""
        self._db.run("DELETE FROM receipt")

    def next_receipt(self) -> int | None:
        """When the next is due. None: none is owed."""
        row = self._db.row("SELECT min(due) FROM receipt")
        return row[0] if row else None

    def take_receipts(self, account: AccountId, limit: int) -> tuple[MessageId, ...]:
        """All that this account is owed, due or not, in one message that the caller adds right now."""
        rows = self._db.rows(
            "SELECT message FROM receipt WHERE account = ? ORDER BY due LIMIT ?", account, limit
        )
        self._db.run_each(
            "DELETE FROM receipt WHERE account = ? AND message = ?", ((account, m) for (m,) in rows)
        )
        return tuple(MessageId(message) for (message,) in rows)

    def receipts_due(self, now: int) -> tuple[AccountId, ...]:
        """Whom something is owed that is due."""
        rows = self._db.rows("SELECT DISTINCT account FROM receipt WHERE due <= ? ORDER BY account", now)
        return tuple(AccountId(account) for (account,) in rows)

    def _finish(self, number: int, state: State, now: int, reason: str) -> None:
        # A receipt may overtake the server's answer: delivered stays delivered.
        self._db.run(
            "UPDATE outgoing SET state = iif(state = 'delivered', state, ?), finished_at = ?, reason = ?,"
            " body = NULL, content = NULL WHERE number = ?",
            state.value,
            now,
            reason,
            number,
        )
        self._db.run("UPDATE outgoing_part SET inner = NULL WHERE number = ?", number)

    def _waiting(self, row: Row) -> Draft | Queued:
        number, message, account, purpose, made_at, content, envelope, body, attempts, not_before = row
        common = (number, MessageId(message), AccountId(account), Purpose(purpose), made_at)
        if envelope is None:
            return Draft(*common, content)
        rows = self._db.rows(
            "SELECT device, inner FROM outgoing_part WHERE number = ? ORDER BY device", number
        )
        parts = tuple(Part(DeviceId(device), inner) for device, inner in rows)
        return Queued(*common, EnvelopeId(envelope), body, parts, attempts, not_before)
