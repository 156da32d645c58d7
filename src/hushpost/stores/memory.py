"""The reference implementation: the guarantees in their plainest form, for tests. Durable while it lives."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from hushpost.errors import (
    BlobMissing,
    IdConflict,
    IdTaken,
    NameTaken,
    StoreError,
    StoreFailed,
    StoreFull,
    UnknownMailbox,
)
from hushpost.ids import AccountId, BlobId, EnvelopeId, MailboxId
from hushpost.stores.base import Account, Blobs, DirectoryExtent, Envelope, Extent, Send, StoreLimits, Usage
from hushpost.stores.rules import (
    check_age,
    check_mailbox,
    check_sequence,
    check_shape,
    check_total,
    fingerprint,
)


class MemoryBlobs:
    """`base.Blobs` in memory; `capacity` bytes make its disk."""

    def __init__(self, capacity: int = 1 << 40) -> None:
        self._capacity = capacity
        self._unfinished: dict[BlobId, bytearray] = {}
        self._finished: dict[BlobId, bytes] = {}
        self._promised: dict[BlobId, int] = {}

    async def create(self, blob: BlobId, size: int = 0) -> None:
        self._check_room(max(1, size + sum(self._promised.values())))
        self._unfinished[blob] = bytearray()
        self._promised[blob] = size

    async def write(self, blob: BlobId, offset: int, data: memoryview) -> None:
        content = self._unfinished.get(blob)
        if content is None:
            raise BlobMissing("this blob was not begun")
        growth = offset + len(data) - len(content)
        if growth > 0:
            self._check_room(growth)
            content.extend(bytes(growth))
            self._promised[blob] = max(0, self._promised[blob] - growth)
        content[offset : offset + len(data)] = data

    async def finish(self, blob: BlobId, size: int) -> None:
        content = self._unfinished.get(blob)
        if content is None or len(content) != size:
            raise BlobMissing("this blob is not as long as was said")
        self._finished[blob] = bytes(self._unfinished.pop(blob))
        del self._promised[blob]

    async def read_into(self, blob: BlobId, offset: int, buffer: memoryview) -> int:
        content = self._finished.get(blob)
        if content is None:
            raise BlobMissing("this content is gone")
        piece = content[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    async def discard(self, blobs: Iterable[BlobId]) -> None:
        for blob in blobs:
            self._unfinished.pop(blob, None)
            self._promised.pop(blob, None)
            self._finished.pop(blob, None)

    async def sweep(self, referenced: set[BlobId]) -> int:
        lost = [*self._unfinished, *(blob for blob in self._finished if blob not in referenced)]
        await self.discard(lost)
        return len(lost)

    def _check_room(self, growth: int) -> None:
        held = sum(map(len, self._unfinished.values())) + sum(map(len, self._finished.values()))
        if held + growth > self._capacity:
            raise StoreFull("no room for contents")


@dataclass(slots=True)
class MemoryMailbox:
    """What waits, and how far it has come."""

    # Python keeps the order of insertion, which is that of the sequence numbers.
    envelopes: dict[int, Envelope] = field(default_factory=dict)
    size: int = 0
    acknowledged: int = 0
    highest: int = 0

    @property
    def usage(self) -> Usage:
        return Usage(len(self.envelopes), self.size)


class MemoryStore:
    """`base.Store` in memory. To be made inside the running event loop that uses it."""

    def __init__(
        self,
        blobs: Blobs,
        limits: StoreLimits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._blobs = blobs
        self._limits = limits or StoreLimits()
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._failed: asyncio.Future[None] = self._loop.create_future()
        self._closed = False
        self._epoch = os.urandom(16)
        self._accounts: list[Account] = []
        self._by_id: dict[AccountId, Account] = {}
        self._ids: set[AccountId] = set()
        self._names: set[str] = set()
        self._mailboxes: dict[MailboxId, MemoryMailbox] = {}
        self._sequence = 0
        self._total = 0
        self._seen: dict[tuple[EnvelopeId, MailboxId], tuple[int, bytes]] = {}

    # The directory

    async def register(self, account: Account, mailbox: MailboxId) -> None:
        self._check_open()
        self._register(account, mailbox)

    def _register(self, account: Account, mailbox: MailboxId) -> None:
        if account.name in self._names:
            raise NameTaken("this name is taken")
        if account.id in self._ids or mailbox in self._mailboxes:
            raise IdTaken("this id is taken")
        check_total(self._limits, self._total, 1)
        self._accounts.append(account)
        self._by_id[account.id] = account
        self._ids.add(account.id)
        self._names.add(account.name)
        self._mailboxes[mailbox] = MemoryMailbox()

    async def account(self, account_id: AccountId) -> Account | None:
        return self._by_id.get(account_id)

    async def accounts_extent(self) -> DirectoryExtent:
        return DirectoryExtent(len(self._by_id), len(self._accounts))

    async def accounts_page(self, after: int, up_to: int, limit: int) -> list[tuple[int, Account]]:
        numbered = list(enumerate(self._accounts, start=1))[after:up_to]
        return [entry for entry in numbered if entry[1].id in self._by_id][:limit]

    # Mailboxes

    @property
    def epoch(self) -> bytes:
        return self._epoch

    @property
    def failed(self) -> asyncio.Future[None]:
        return self._failed

    def append(self, send: Send) -> asyncio.Future[tuple[int, ...]]:
        check_shape(send)
        answer: asyncio.Future[tuple[int, ...]] = self._loop.create_future()
        try:
            answer.set_result(self._append(send))
        except StoreError as refused:
            answer.set_exception(refused)
        return answer

    def _append(self, send: Send) -> tuple[int, ...]:
        self._check_open()
        if send.envelope is not None:
            check_age(send.envelope, self._clock())
        for delivery in send.deliveries:
            self._mailbox(delivery.mailbox)
        content = fingerprint(send.body, send.attachment)
        if send.envelope is not None:
            repeated = self._repeated(send.envelope, [each.mailbox for each in send.deliveries], content)
            if repeated is not None:
                return repeated
        envelopes = [
            (each.mailbox, Envelope(0, each.header, send.body, send.envelope, send.attachment))
            for each in send.deliveries
        ]
        self._check_room(envelopes)
        return tuple([self._deliver(mailbox, envelope, content) for mailbox, envelope in envelopes])

    def _repeated(
        self, envelope: EnvelopeId, mailboxes: Sequence[MailboxId], content: bytes
    ) -> tuple[int, ...] | None:
        """The first answer to this envelope id, or None if it is new."""
        known = [self._seen.get((envelope, mailbox)) for mailbox in mailboxes]
        if not any(known):
            return None
        if any(record is None or record[1] != content for record in known):
            raise IdConflict("this envelope id was used for another message")
        return tuple(record[0] for record in known if record)

    def _check_room(self, envelopes: Sequence[tuple[MailboxId, Envelope]]) -> None:
        sizes = [len(envelope.header) + envelope.content_size for _, envelope in envelopes]
        check_total(self._limits, self._total, sum(sizes))
        check_sequence(self._limits, self._sequence, len(envelopes))
        for (mailbox, _), size in zip(envelopes, sizes, strict=True):
            check_mailbox(self._limits, self._mailboxes[mailbox].usage, size)

    def _deliver(self, mailbox: MailboxId, envelope: Envelope, content: bytes) -> int:
        """Store it under the next number."""
        self._sequence += 1
        if envelope.envelope is not None:
            self._seen[envelope.envelope, mailbox] = (self._sequence, content)
        box = self._mailboxes[mailbox]
        box.envelopes[self._sequence] = msgspec.structs.replace(envelope, sequence=self._sequence)
        box.highest = self._sequence
        box.size += len(envelope.header) + envelope.content_size
        self._total += len(envelope.header) + envelope.content_size
        return self._sequence

    async def admit(self, mailbox: MailboxId, size: int) -> None:
        check_mailbox(self._limits, self._mailbox(mailbox).usage, size)
        check_total(self._limits, self._total, size)

    async def extent(self, mailbox: MailboxId, *, max_size: int, overhead: int) -> Extent:
        count = size = last = 0
        for envelope in self._mailbox(mailbox).envelopes.values():
            added = len(envelope.header) + envelope.content_size
            if count and size + added + (count + 1) * overhead > max_size:
                break
            count, size, last = count + 1, size + added, envelope.sequence
        return Extent(count, size, last)

    async def read(self, mailbox: MailboxId, *, after: int, max_count: int, max_bytes: int) -> list[Envelope]:
        found: list[Envelope] = []
        size = 0
        for envelope in self._mailbox(mailbox).envelopes.values():
            if envelope.sequence <= after:
                continue
            size += len(envelope.header) + len(envelope.body)
            if found and (len(found) >= max_count or size > max_bytes):
                break
            found.append(envelope)
        return found

    async def ack(self, mailbox: MailboxId, sequences: Sequence[int]) -> None:
        self._check_open()
        box = self._mailboxes.get(mailbox, MemoryMailbox())
        gone = [box.envelopes.pop(sequence) for sequence in sequences if sequence in box.envelopes]
        freed = sum(len(envelope.header) + envelope.content_size for envelope in gone)
        box.size -= freed
        box.acknowledged = max([box.acknowledged, *(envelope.sequence for envelope in gone)])
        self._total -= freed
        await self._blobs.discard([envelope.attachment.blob for envelope in gone if envelope.attachment])

    async def ack_up_to(self, mailbox: MailboxId, sequence: int) -> None:
        box = self._mailboxes.get(mailbox, MemoryMailbox())
        await self.ack(mailbox, [number for number in box.envelopes if number <= sequence])

    async def usage(self, mailbox: MailboxId) -> Usage:
        return self._mailbox(mailbox).usage

    async def close(self) -> None:
        self._closed = True

    def _mailbox(self, mailbox: MailboxId) -> MemoryMailbox:
        self._check_open()
        if mailbox not in self._mailboxes:
            raise UnknownMailbox("no such mailbox")
        return self._mailboxes[mailbox]

    def _check_open(self) -> None:
        if self._closed:
            raise StoreFailed("the store is closed")
