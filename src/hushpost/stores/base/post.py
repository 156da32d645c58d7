"""Sealed envelopes of version 3, and the operator's view of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from hushpost.ids import AccountId, DeviceId, EnvelopeId, MailboxId, TokenHash
from hushpost.stores.base.accounts import Accounts, Invitations
from hushpost.stores.base.answer import Answer
from hushpost.stores.base.keys import Keys
from hushpost.stores.base.mail import Running, Waiting
from hushpost.stores.base.parts import Parts

REQUESTS_COUNT = 20
"""Envelopes without a delivery token that wait in one mailbox: enough to be introduced, no flood."""

REQUESTS_BYTES = 2**20
"""Bytes of their headers and bodies."""


class SealedDelivery(msgspec.Struct, frozen=True):
    """One recipient of a sealed send: its device, and the header for it alone, sealed to this key."""

    device: DeviceId
    seal_key_id: int
    header: bytes


class SealedSend(msgspec.Struct, frozen=True):
    """One message to all devices of one account.

    Attributes:
        token_hash: SHA-256 of the delivery token that was presented, None without one.
    """

    account: AccountId
    envelope: EnvelopeId
    deliveries: tuple[SealedDelivery, ...]
    body: bytes
    token_hash: TokenHash | None = None


class Position(msgspec.Struct, frozen=True):
    """How far a mailbox has come in this epoch.

    Attributes:
        acknowledged: highest sequence of an envelope that was acknowledged; 0: none.
        highest: highest sequence of an envelope that was stored; 0: none.
    """

    acknowledged: int
    highest: int


class Stats(msgspec.Struct, frozen=True):
    """The operator's numbers.

    Attributes:
        left: accounts that left; their names stay taken.
        size: bytes of everything that waits.
        requests: of the envelopes, those that came without a delivery token.
        blobs: of parts, committed or not.
        blob_bytes: of their parts that are there.
        unfinished_blobs: those that are not committed.
    """

    accounts: int
    left: int
    mailboxes: int
    envelopes: int
    size: int
    requests: int
    one_time_keys: int
    invitations: int
    blobs: int = 0
    blob_bytes: int = 0
    unfinished_blobs: int = 0


class SealedPost(Protocol):
    """Sealed envelopes. M1 to M7 of `Mailboxes` hold for them, with `append_sealed` for `append` and
    mailboxes as `mailbox_of` says.

    P1  A send is checked in this order, in the transaction that stores it: repeats (M2: the first answer,
        whatever has changed since), devices, seal keys, lanes and quotas.
    P2  It must name every device of the newest manifest, each once: else `StaleDevices`.
    P3  Each header must be sealed to its device's present key: else `StaleSeal`, with all devices of
        which that is not so.
    P4  Without the account's delivery token, its envelopes are requests: at most 20 and 1 MiB of them
        wait in a mailbox, else `RequestsFull`. They count against the mailbox's own limits, too. The
        token's hash is compared in constant time.
    P5  The position of a mailbox is as durable as what it tells of, and never goes back within an epoch.
    P6  Wake-ups come in the event loop, after the envelope is durable. They may be lost or repeated;
        whoever reads what waits after subscribing, and again at each wake-up, misses nothing for long.
    """

    def append_sealed(self, send: SealedSend) -> Answer[tuple[int, ...]]:
        """Store a send; one sequence number per delivery, in their order. Like `Mailboxes.append`.

        Raises:
            ValueError: at once; no delivery, or two to one device.
            StaleId, IdConflict, UnknownAccount, StaleDevices, StaleSeal, RequestsFull, StoreFull:
                through the future; nothing was stored.
            StoreFailed: through the future; the store has stopped.
        """

    async def position(self, mailbox: MailboxId) -> Position:
        """How far it has come.

        Raises:
            UnknownMailbox.
        """

    def subscribe(self, mailbox: MailboxId, wake: Callable[[int], None]) -> Callable[[], None]:
        """From now on call `wake` with the sequence of what `append_sealed` stored in this mailbox.

        `wake` must not raise. Several may subscribe.

        Returns:
            What ends it; a second call is harmless.
        """


class Upkeep(Protocol):
    """What concerns everything that is held about somebody.

    U1  `account_usage` names every fact that the store holds about an account, and no other.
    U2  After `leave`, nothing is held of the account but its id and name, which stay taken, and, for 31
        days, what repeats are recognised by: ids, sequence numbers and digests of sealed envelopes.
        From the start of `leave` on the account is unknown; if a crash interrupts the deletion of its
        envelopes, the next start goes on with it.
    U3  An envelope that nobody acknowledges waits for `StoreLimits.waiting_seconds` at least, 60 days,
        and goes with a `tidy` within an hour after that. Only time in which the store was open counts,
        as the caller measures it: nobody could fetch in the other, and a wall clock that jumps must not
        delete anything. To its mailbox it is not acknowledged: its position stays.
    """

    async def account_usage(self, account: AccountId) -> dict[str, str]:
        """What is stored about an account: names of facts (lower-case words) and values for people.

        Raises:
            UnknownAccount.
        """

    async def leave(self, account: AccountId) -> None:
        """Delete an account.

        Raises:
            UnknownAccount.
        """

    async def tidy(self, seconds: int) -> None:
        """Take away what is over: envelopes, invitations, and what is left of accounts that left.

        To be called every few minutes; all of it is done in steps that nobody has to wait for long.

        Args:
            seconds: that went by since the last call, or since the store was opened; not negative.
        """

    async def stats(self) -> Stats:
        """Counts, some of which are counted anew: not for every second."""


class PostOffice(Waiting, Running, Invitations, Accounts, Keys, SealedPost, Upkeep, Protocol):
    """All that a server of version 3 keeps.

    It has no `register` and no `append`: there is no way in for a request of the classic protocol.
    """

    @property
    def parts(self) -> Parts:
        """Blobs of parts: the contents of files. They live and end with the rest."""


class Backups(Protocol):
    """Copies of a store that is running.

    C1  A backup is one moment's contents, whatever is written meanwhile; nobody waits for it.
    C2  It appears under its name only when it is whole and durable. An existing file is left alone.
    C3  A backup that is opened becomes a store with an epoch of its own, and nothing comes back to life
        in it that the original has used up, replaced or revoked since. One-time, fallback and seal keys,
        delivery tokens and invitations are gone, and devices have to publish theirs again. Until a
        device has, a send to it gets `StaleSeal` without a key; until its account's token is there, every
        send is a request. Ids of keys that were taken in before are still not taken in again.
    """

    async def backup(self, path: Path, progress: Callable[[int, int], None]) -> None:
        """Copy everything but blobs into a new file.

        Args:
            progress: called in the event loop with pages done and pages in all.

        Raises:
            StoreUnusable: the file exists or cannot be written.
        """
