"""Accounts, mailboxes and envelopes: what the classic protocol and version 3 have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec

from hushpost.ids import AccountId, BlobId, EnvelopeId, MailboxId

ID_MAX_AGE = 30 * 86_400
"""Seconds. An envelope id older than this is refused: its record may be gone."""

ID_MAX_AHEAD = 3_600
"""Seconds. Clocks differ, but not by more; a far future id would be remembered for too long."""

ID_RECORD_AGE = 31 * 86_400
"""Seconds that the record of a used id is kept: a day more than an id is valid."""


WAITING_SECONDS = 60 * 86_400
"""How long an envelope of version 3 waits at least. Longer than a long absence and than any envelope id
lives; short enough that it ends before the seal key of a device that rotates daily is forgotten (see
`keys.RETIRED_KEPT`), so that what waits is never told to be settled by a key that is not known any more."""


class Account(msgspec.Struct, frozen=True):
    """Who may be written to.

    Attributes:
        name: unique, compared byte for byte, never given to another account.
        record: what others may read of it; opaque here. The classic protocol keeps the 160-byte
            public key in it.
    """

    id: AccountId
    name: str
    record: bytes


class DirectoryExtent(msgspec.Struct, frozen=True):
    """How many accounts there are, and the number of the newest (0: none)."""

    count: int
    last: int


class Attachment(msgspec.Struct, frozen=True):
    """A finished blob that belongs to one envelope: it becomes readable, and goes, with it."""

    blob: BlobId
    size: int


class Delivery(msgspec.Struct, frozen=True):
    """One recipient of a send: its mailbox, and the header for it alone."""

    mailbox: MailboxId
    header: bytes


class Send(msgspec.Struct, frozen=True):
    """One message to the mailboxes of one account: one body, one header each.

    Attributes:
        envelope: makes the send repeatable; None where the protocol has no such id (classic).
        attachment: only with a single delivery.
    """

    deliveries: tuple[Delivery, ...]
    body: bytes
    envelope: EnvelopeId | None = None
    attachment: Attachment | None = None

    @property
    def stored_bytes(self) -> int:
        """What each of its envelopes counts against quotas, without the header."""
        return len(self.body) + (self.attachment.size if self.attachment else 0)


class Envelope(msgspec.Struct, frozen=True):
    """A stored message, as it waits in one mailbox.

    Attributes:
        seal_key_id: of the key that the header is sealed to; 0 where the protocol has none (classic).
        is_request: it came without a delivery token (version 3).
    """

    sequence: int
    header: bytes
    body: bytes
    envelope: EnvelopeId | None = None
    attachment: Attachment | None = None
    seal_key_id: int = 0
    is_request: bool = False

    @property
    def content_size(self) -> int:
        """Bytes of the body and the attachment."""
        return len(self.body) + (self.attachment.size if self.attachment else 0)


class Extent(msgspec.Struct, frozen=True):
    """A run of waiting envelopes from the oldest.

    Attributes:
        count: how many.
        size: bytes of their headers, bodies and attachments.
        last: sequence of the newest of them (0: none).
    """

    count: int
    size: int
    last: int


class Usage(msgspec.Struct, frozen=True):
    """What waits in a mailbox: envelopes, and bytes of headers, bodies and attachments."""

    count: int
    size: int


class StoreLimits(msgspec.Struct, frozen=True):
    """When a store says that it is full. Byte limits may be overshot by what is in flight.

    Attributes:
        mailbox_count: envelopes in one mailbox. A million is a year of two a minute; beyond it
            nobody is reading.
        mailbox_bytes: bytes in one mailbox. Four of the largest classic inbox answers.
        total_bytes: the high-water mark: bytes of everything that waits.
        min_free_bytes: disk space that is left alone: room for the write-ahead log and for the
            deletions that make room.
        max_sequence: the last number that there is for an envelope. The classic protocol tells 32
            bits of it, and a number told twice would be another message under a known id.
        waiting_seconds: how long an envelope of version 3 waits at least, see `Upkeep`.
        blob_seconds: how long a committed blob of parts stays at least, if it is not released.
        blob_quota: bytes of blobs of parts that one account may have put: two of 100 GB.
        blob_bytes: bytes of all blobs of parts, and of those that are announced.
        blob_free_bytes: disk space that blobs of parts leave free: the reserve, and as much again
            and more for envelopes, which a file must not keep out.
    """

    mailbox_count: int = 1_000_000
    mailbox_bytes: int = 16 * 2**30
    total_bytes: int = 1 << 40
    min_free_bytes: int = 256 * 2**20
    max_sequence: int = 2**63 - 1
    waiting_seconds: int = WAITING_SECONDS
    blob_seconds: int = 30 * 86_400
    blob_quota: int = 200 * 2**30
    blob_bytes: int = 1 << 40
    blob_free_bytes: int = 2**30


class Directory(Protocol):
    """Accounts and their names.

    D1  `register` returns only when the account and its mailbox are durable, both or neither.
    D2  A name belongs to the first account that took it, for ever; so does an id.
    D3  `page` goes in the order of registration, and numbers are never reused.
    """

    async def register(self, account: Account, mailbox: MailboxId) -> None:
        """Create an account and its first mailbox.

        Raises:
            NameTaken, IdTaken: nothing was changed.
            StoreFull: the high-water mark is reached.
        """

    async def account(self, account_id: AccountId) -> Account | None:
        """The account with this id."""

    async def accounts_extent(self) -> DirectoryExtent:
        """How many accounts there are now; a bound for paging through exactly these."""

    async def accounts_page(self, after: int, up_to: int, limit: int) -> list[tuple[int, Account]]:
        """At most `limit` accounts with `after` < number <= `up_to`, and their numbers."""


class Waiting(Protocol):
    """Envelopes that wait, and those who fetch them. The numbers of the promises are those of `Mailboxes`.

    M3  Order: per mailbox that of the returned sequence numbers, which grow over the whole store,
        begin at 1 and are never reused, not even that of a deleted newest envelope.
    M4  A cursor is (epoch, sequence). Restoring a backup makes a new epoch.
    M5  `read` deletes nothing and is bounded in count and bytes, but gives at least one envelope
        if there is one, however large.
    M6  Acknowledging is durable when it returns; doing it twice or for unknown numbers is harmless.
        The attachment of an acknowledged envelope is removed.
    """

    @property
    def epoch(self) -> bytes:
        """16 random bytes, drawn when the store was created or restored."""

    async def read(self, mailbox: MailboxId, *, after: int, max_count: int, max_bytes: int) -> list[Envelope]:
        """Waiting envelopes with sequence > `after`, in order. Attachments are not counted.

        Raises:
            UnknownMailbox.
        """

    async def ack(self, mailbox: MailboxId, sequences: Sequence[int]) -> None:
        """Delete exactly these."""

    async def ack_up_to(self, mailbox: MailboxId, sequence: int) -> None:
        """Delete everything up to and including this sequence."""

    async def usage(self, mailbox: MailboxId) -> Usage:
        """What waits.

        Raises:
            UnknownMailbox.
        """


class Mailboxes(Waiting, Protocol):
    """Filling them, as the classic protocol does.

    M1  `append` is all or nothing over the deliveries of a send, and its future is done only when
        envelopes and the record of the id are durable: kill -9 and power loss, as far as the disk
        tells the truth.
    M2  Idempotency: the same (mailboxes, envelope id) with the same body and attachment answers as the
        first time, also after the acknowledgement and when full, and stores nothing. With another
        content, or with further mailboxes: `IdConflict`. An id older than 30 days or more than an hour
        ahead: `StaleId`.
    M7  Full is an answer, `StoreFull`, that changes nothing: at the limits of `StoreLimits` (the numbers
        for envelopes included) or of the disk, `append` says so, while reading and acknowledging
        still work.
    """

    def append(self, send: Send) -> asyncio.Future[tuple[int, ...]]:
        """Store a send; the future gives one sequence number per delivery, in their order.

        It is a plain function that returns a future, since a task per message costs more than the
        message. Sends are accepted in the order of the calls. Cancelling the future does not take
        the send back. While the future is not done with success, the attachment is the caller's.

        Raises:
            ValueError: at once; no delivery, two into one mailbox, or an attachment with several.
            UnknownMailbox, StoreFull, IdConflict, StaleId: through the future; nothing was stored.
            StoreFailed: through the future; the store has stopped.
        """

    async def admit(self, mailbox: MailboxId, size: int) -> None:
        """Ask before receiving a large content whether it would be accepted now.

        Raises:
            UnknownMailbox, StoreFull.
        """

    async def extent(self, mailbox: MailboxId, *, max_size: int, overhead: int) -> Extent:
        """As many whole envelopes from the oldest as fit: size + count * overhead <= max_size.

        At least one, if there is one.

        Raises:
            UnknownMailbox.
        """


class Running(Protocol):
    """A store begins when it is opened, and ends once."""

    @property
    def failed(self) -> asyncio.Future[None]:
        """Done, with `StoreFailed`, when the disk has failed and the server must stop."""

    async def close(self) -> None:
        """Finish what was begun, then let go of everything. Later calls raise `StoreFailed`; closing
        again is harmless.
        """


class Store(Directory, Mailboxes, Running, Protocol):
    """A directory and mailboxes that live and end together."""


class Takeover(Protocol):
    """Filling an empty store with what another system kept, under the numbers that it had there.

    T1  `begin_takeover` is durable, and all or nothing. Later appends get numbers above `last_sequence`,
        whether the takeover was completed or not.
    T2  `take_over` is durable, and all or nothing, the position included: after a crash, go on behind
        what `begin_takeover` answers, and nothing is doubled or left out.
    T3  Quotas do not apply, since everything was accepted once; a full disk does.
    """

    async def begin_takeover(self, accounts: Sequence[tuple[Account, MailboxId]], last_sequence: int) -> int:
        """Create these accounts, in this order. Done again it changes nothing.

        Returns:
            The sequence up to which envelopes were taken over: 0 at first.

        Raises:
            StoreUnusable: the store has contents of its own, or of another system.
            NameTaken, IdTaken: two of the accounts have the same name or id.
            StoreFull.
        """

    async def take_over(self, envelopes: Sequence[tuple[MailboxId, Envelope]], up_to: int) -> None:
        """Store these under their own sequences, which are above the position, which becomes `up_to`.

        Raises:
            UnknownMailbox, StoreFull: nothing was stored.
        """
