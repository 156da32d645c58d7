"""What the writer does with envelopes: one method per operation, inside a transaction it does not end.

An operation that is refused has changed nothing, so that its neighbours in the transaction stand. Rows to
insert gather until `flush`, and go in with one statement per table. What changes accounts and keys is in
`enrolment`, `publishing` and `upkeep`; it works on the rows themselves, after `settle`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hushpost import sql
from hushpost.errors import StaleDevices, StaleSeal, UnknownAccount
from hushpost.ids import EnvelopeId, MailboxId
from hushpost.stores import rules
from hushpost.stores.base import SealedDelivery, SealedSend, StoreLimits, Usage
from hushpost.stores.post.members import NOTED_EVERY, Box, Member, Members
from hushpost.stores.post.recent import REMEMBERED, RecentIds
from hushpost.stores.room import database_room
from hushpost.stores.seen import Seen
from hushpost.stores.tables import DELETED_AT_ONCE

Stored = Callable[[list[tuple[bytes, int]]], None]
"""Told, in the writer's thread, what has become durable: mailboxes and sequences."""


class PostTables:
    """The database as its one writer sees it."""

    def __init__(
        self,
        connection: sql.Connection,
        folder: Path,
        limits: StoreLimits,
        clock: Callable[[], float],
        stored: Stored,
    ) -> None:
        self.db = connection
        self.limits = limits
        self.members = Members(connection)
        self.now = 0.0
        self._folder = folder
        self._clock = clock
        self._stored = stored
        self._envelope_rows: list[tuple[object, ...]] = []
        self._seen = Seen(connection)
        self._news: list[tuple[bytes, int]] = []
        self._changed: list[Box] = []
        self._free = 0
        newest = "SELECT DISTINCT id FROM seen ORDER BY id DESC LIMIT ?"
        self._recent = RecentIds(EnvelopeId(row[0]) for row in connection.execute(newest, (REMEMBERED + 1,)))
        self._load()

    # The transaction

    def begin(self) -> None:
        """Open a transaction."""
        self.now = self._clock()
        self.db.execute("BEGIN IMMEDIATE")
        self.members.load_expected()
        self._free = database_room(self.db, self._folder)

    def commit(self) -> None:
        """Write down what gathered, make it durable, and say so."""
        self.settle()
        self._seen.forget(self.now)
        self.db.execute("UPDATE store SET last_sequence = ?, size = ?", (self.sequence, self.total))
        self.db.execute("COMMIT")
        self.members.trim()
        if self._news:
            news, self._news = self._news, []
            self._stored(news)

    def roll_back(self) -> None:
        """Be as before `begin`, here and there. A full disk may have ended the transaction already."""
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        self._envelope_rows.clear()
        self._seen.clear()
        self._news.clear()
        self._changed.clear()
        self.members.clear()
        self._load()

    def settle(self) -> None:
        """Bring the rows up to what is remembered."""
        self.flush()
        if self._changed:
            self.db.executemany(
                "UPDATE device SET count = ?, size = ?, requests = ?, request_size = ?, highest = ?,"
                " acknowledged = ? WHERE account = ? AND id = ?",
                [
                    (
                        box.count,
                        box.size,
                        box.requests,
                        box.request_size,
                        box.highest,
                        box.acknowledged,
                        sql.binary(box.account),
                        sql.binary(box.id),
                    )
                    for box in self._changed
                ],
            )
            for box in self._changed:
                box.changed = False
                box.unnoted = 0
            self._changed.clear()

    def flush(self) -> None:
        """Insert what gathered."""
        if self._envelope_rows:
            self.db.executemany("INSERT INTO envelope VALUES (?,?,?,?,?,?,?,?)", self._envelope_rows)
            self._envelope_rows.clear()
            self._seen.flush()

    def _load(self) -> None:
        self.sequence, self.total, self.seconds = self.db.execute(
            "SELECT last_sequence, size, seconds FROM store"
        ).fetchone()
        # Of blobs: bytes in all, and of those that were announced and have not come.
        self.blob_bytes, self.blob_promised = self.db.execute(
            "SELECT ifnull(sum(size), 0), ifnull(sum(iif(committed, 0, size - received)), 0)"
            " FROM blob WHERE ends > 0"
        ).fetchone()

    def check_room(self) -> None:
        """For what adds little: under the high-water mark, and beside the reserve of the disk.

        Raises:
            StoreFull.
        """
        rules.check_total(self.limits, self.total, 1)
        rules.check_disk(self._free, self.limits.min_free_bytes)

    # Operations

    def append_sealed(self, send: SealedSend) -> tuple[int, ...]:
        """`SealedPost.append_sealed`."""
        member = self.members.find(send.account)
        if member is None:
            raise UnknownAccount("no such account")
        envelope = send.envelope
        rules.check_age(envelope, self.now)
        boxes = [member.boxes.get(each.device) for each in send.deliveries]
        known = [box for box in boxes if box is not None]
        content = rules.fingerprint(send.body)
        if self._recent.may_contain(envelope) and len(known) == len(boxes):
            repeated = self._seen.repeated(envelope, [box.number for box in known], content)
            if repeated is not None:
                return repeated
        targets = [box for box in known if box.listed]
        if len(targets) != len(boxes) or len(targets) != member.listed:
            raise StaleDevices("the account has other devices", manifest=self.newest_manifest(member))
        self._check_seals(targets, send.deliveries)
        request = rules.is_request(send.token_hash, member.token_hash)
        self._check_lanes(targets, send, request=request)
        self._gather(targets, send, content, request=request)
        return tuple(range(self.sequence - len(targets) + 1, self.sequence + 1))

    def _check_seals(self, targets: Sequence[Box], deliveries: Sequence[SealedDelivery]) -> None:
        stale: dict[bytes, bytes | None] = {}
        for box, each in zip(targets, deliveries, strict=True):
            if box.seal_key_id != each.seal_key_id:
                row = self.db.execute(
                    "SELECT seal_key FROM device_key WHERE device = ?", (box.number,)
                ).fetchone()
                stale[each.device] = row[0]
        if stale:
            raise StaleSeal("sealed to a key that is not the present one", keys=stale)

    def _check_lanes(self, targets: Sequence[Box], send: SealedSend, *, request: bool) -> None:
        adding = 0
        body = len(send.body)
        if request:
            for box, each in zip(targets, send.deliveries, strict=True):
                rules.check_requests(Usage(box.requests, box.request_size), len(each.header) + body)
        for box, each in zip(targets, send.deliveries, strict=True):
            size = len(each.header) + body
            adding += size
            rules.check_mailbox(self.limits, Usage(box.count, box.size), size)
        rules.check_total(self.limits, self.total, adding)
        rules.check_sequence(self.limits, self.sequence, len(targets))
        rules.check_disk(self._free, self.limits.min_free_bytes)

    def _gather(self, targets: Sequence[Box], send: SealedSend, content: bytes, *, request: bool) -> None:
        """Take down envelopes for `flush`."""
        envelope = send.envelope
        sequence = self.sequence
        for box, each in zip(targets, send.deliveries, strict=True):
            sequence += 1
            size = len(each.header) + len(send.body)
            self._envelope_rows.append(
                (
                    sequence,
                    box.number,
                    size,
                    int(request),
                    each.seal_key_id,
                    sql.binary(envelope),
                    sql.binary(each.header),
                    sql.binary(send.body),
                )
            )
            self._seen.add(envelope, box.number, sequence, content)
            self._news.append((box.id, sequence))
            self.total += size
            box.count += 1
            box.size += size
            box.highest = sequence
            if request:
                box.requests += 1
                box.request_size += size
            box.unnoted += 1
            if box.unnoted >= NOTED_EVERY:
                self._note(box)
        self.sequence = sequence
        self._recent.add(envelope)

    def delete(self, mailbox: MailboxId, sequences: Sequence[int]) -> None:
        """`Waiting.ack`, for at most `DELETED_AT_ONCE` of them."""
        box = self.members.box(mailbox)
        if box is None:
            return
        self.flush()
        rows: list[sql.Row] = []
        for sequence in sequences:
            rows += self.db.execute(
                "DELETE FROM envelope WHERE sequence = ? AND mailbox = ?"
                " RETURNING sequence, size, is_request",
                (sequence, box.number),
            ).fetchall()
        self._acknowledged(box, rows)

    def delete_up_to(self, mailbox: MailboxId, sequence: int) -> bool:
        """`Waiting.ack_up_to`, as far as one operation may go; whether there is more to delete."""
        box = self.members.box(mailbox)
        if box is None:
            return False
        self.flush()
        rows = self.db.execute(
            "DELETE FROM envelope WHERE sequence IN (SELECT sequence FROM envelope"
            " WHERE mailbox = ? AND sequence <= ? ORDER BY sequence LIMIT ?)"
            " RETURNING sequence, size, is_request",
            (box.number, sequence, DELETED_AT_ONCE),
        ).fetchall()
        self._acknowledged(box, rows)
        return len(rows) == DELETED_AT_ONCE

    def _acknowledged(self, box: Box, rows: list[sql.Row]) -> None:
        for sequence, size, is_request in rows:
            self.remove(box, size, is_request)
            box.acknowledged = max(box.acknowledged, sequence)

    def remove(self, box: Box, size: int, is_request: int) -> None:
        """One row of `envelope` is gone, of so many bytes."""
        self.total -= size
        box.count -= 1
        box.size -= size
        if is_request:
            box.requests -= 1
            box.request_size -= size
        self._note(box)

    def _note(self, box: Box) -> None:
        if not box.changed:
            box.changed = True
            self._changed.append(box)

    # Helpers

    def newest_manifest(self, member: Member) -> bytes:
        """As it was put."""
        newest: bytes = self.db.execute(
            "SELECT manifest FROM manifest WHERE account = ? AND version = ?",
            (sql.binary(member.id), member.version),
        ).fetchone()[0]
        return newest
