"""Who has an account of version 3, by whose invitation, and with which devices.

The store never looks into manifests or keys: they are bytes with ids and versions that the caller gives,
who has checked the signatures before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from hushpost.ids import AccountId, DeviceId, MailboxId, TokenHash
from hushpost.stores.base.keys import SealKey, SessionKey
from hushpost.stores.base.mail import Account

MANIFESTS_COUNT = 2_000
"""Versions of an account's manifest. All are kept, and whoever meets the account reads all: a change of
devices a day for five years, and no store or contact is filled with them.
"""

MANIFESTS_BYTES = 16 * 2**20
"""Bytes of them: 800 of the largest."""

RECOVERIES_COUNT = 64
"""Versions beyond these two limits that a recovery may add: a thief of the account key who uses them up
does not keep the owner from coming back.
"""


def mailbox_of(device: DeviceId) -> MailboxId:
    """A device has one mailbox, for ever, and it has the device's id."""
    return MailboxId(device)


class Invitation(msgspec.Struct, frozen=True):
    """The right to register.

    Attributes:
        token_hash: SHA-256 of the token in the link; the token itself is not kept.
        uses: registrations that are left.
        expires: seconds since 1970; from then on it is no more.
    """

    token_hash: TokenHash
    uses: int
    expires: int


class NewAccount(msgspec.Struct, frozen=True):
    """An account with its first device, or, in a recovery, with its only one.

    Attributes:
        manifest: lists exactly this device. Version 1; the next one in a recovery.
        token_hash: of the delivery token, see `SealedPost`.
    """

    id: AccountId
    name: str
    manifest: bytes
    device: DeviceId
    seal_key: SealKey
    one_time_keys: tuple[SessionKey, ...]
    fallback_key: bytes
    token_hash: TokenHash


class Device(msgspec.Struct, frozen=True):
    """A device that was listed in a manifest once.

    Attributes:
        listed: it is in the newest one, too. If not, it may fetch what waits, and nothing more.
        version: of the newest manifest that lists it.
    """

    account: AccountId
    listed: bool
    version: int


class DeviceList(msgspec.Struct, frozen=True):
    """The devices of the manifest of this version, the newest."""

    version: int
    devices: frozenset[DeviceId]


class Invitations(Protocol):
    """The operator's invitations.

    I1  An invitation is good for so many registrations until it expires, is used up or revoked; after
        that, nothing of it is kept but until the next `tidy`.
    """

    async def invite(self, invitation: Invitation) -> None:
        """Remember a new invitation, durably.

        Raises:
            ValueError: no uses.
            IdTaken: there is one of this hash.
        """

    async def revoke(self, token_hash: TokenHash) -> bool:
        """Forget it, durably; False if it was not there."""

    async def invitations(self) -> list[Invitation]:
        """Those that are good, the first to expire first."""


class Accounts(Protocol):
    """Accounts of version 3.

    A1  `enroll` is one transaction: a use of the invitation, account, name, first manifest, device with
        mailbox, keys and delivery token: all of it, durably, or nothing.
    A2  Repeating an `enroll` (its answer was lost) changes nothing and uses nothing up, for as long as
        the account's manifest is that first one.
    A3  Names and account ids are never given twice, not even after `leave`. A device belongs to the
        first account that listed it, while that exists; once removed, it is not listed again.
    A4  Whoever has no good invitation learns nothing about names: it is looked at first.
    A5  Manifest versions grow by one: `put_manifest` compares and sets. Repeating the newest is harmless.
    A6  With a manifest, new devices get mailboxes. Removed ones lose their keys and get nothing new;
        what waits for them can still be read and acknowledged.
    A7  `recover` is one transaction: manifest, device with mailbox, keys and delivery token, durably, or
        nothing. Repeating it changes nothing, whatever keys and token come with the same manifest.
    A8  At most `MANIFESTS_COUNT` versions and `MANIFESTS_BYTES` of an account are kept, and
        `RECOVERIES_COUNT` more of its recoveries.
    """

    async def enroll(self, account: NewAccount, invitation: TokenHash | None) -> None:
        """Create an account; without an invitation where everybody may.

        Raises:
            ValueError: the id of a key has more than 63 bits.
            InviteInvalid: unknown, expired, used up or revoked.
            NameTaken, IdTaken, TooManyKeys, StoreFull: nothing was changed.
        """

    async def account(self, account_id: AccountId) -> Account | None:
        """The account with this id; None if there is none, or it has left."""

    async def account_named(self, name: str) -> Account | None:
        """The account of exactly this name."""

    async def accounts_by_name(self, prefix: str, after: str, limit: int) -> list[Account]:
        """At most `limit` accounts whose names begin so and are above `after`, by the bytes of the names."""

    async def manifests(self, account: AccountId, after: int, limit: int) -> list[bytes]:
        """The manifests with version > `after`, oldest first, at most `limit`.

        Raises:
            UnknownAccount.
        """

    async def put_manifest(
        self, account: AccountId, version: int, manifest: bytes, devices: Sequence[DeviceId]
    ) -> None:
        """Append the newest manifest, which lists exactly these devices.

        Raises:
            StaleManifest: `version` is not one above the newest; carries that.
            IdTaken: one of the devices is another account's, or was removed before.
            UnknownAccount, TooManyManifests, StoreFull.
        """

    async def recover(self, account: NewAccount, version: int) -> None:
        """Append the newest manifest, which lists a new device alone, with the keys of that.

        Raises:
            ValueError: the id of a key has more than 63 bits.
            StaleManifest: `version` is not one above the newest; carries that.
            IdTaken: the device is another account's, or was listed before.
            UnknownAccount, TooManyKeys, TooManyManifests, StoreFull: nothing was changed.
        """

    async def devices(self, account: AccountId) -> DeviceList:
        """The devices of the newest manifest.

        Raises:
            UnknownAccount.
        """

    async def device(self, device: DeviceId) -> Device | None:
        """Whose device this is; None if no account ever listed it, or that account has left."""
