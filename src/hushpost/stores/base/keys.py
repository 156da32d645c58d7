"""The keys that others need to write to a device. Opaque: the store gives out what it was given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from hushpost.ids import AccountId, DeviceId, TokenHash

MAX_ONE_TIME_KEYS = 100
"""Unused ones of one device: twice what a device keeps published."""

RETIRED_AFTER = 3_600
"""Seconds from a rotation until the old seal key is told to be retired."""

RETIRED_KEPT = 64
"""Retired seal keys remembered for a device: two months of daily rotation. The oldest are forgotten."""


class SealKey(msgspec.Struct, frozen=True):
    """A seal key as its device signed it. Ids of one device only grow, and have 63 bits."""

    id: int
    signed: bytes


class SessionKey(msgspec.Struct, frozen=True):
    """A one-time key as its device signed it. Ids of one device only grow from upload to upload, and have
    63 bits.
    """

    id: int
    signed: bytes


class KeyUpdate(msgspec.Struct, frozen=True):
    """What a device publishes; what is None or empty stays as it is.

    Attributes:
        replace_all: forget the unused one-time keys first.
        token_hash: of the account's new delivery token.
    """

    one_time_keys: tuple[SessionKey, ...] = ()
    replace_all: bool = False
    fallback_key: bytes | None = None
    seal_key: SealKey | None = None
    token_hash: TokenHash | None = None


class RetiredSealKey(msgspec.Struct, frozen=True):
    """No envelope will ever be sealed to this key with a sequence above `up_to`."""

    id: int
    up_to: int


class KeyState(msgspec.Struct, frozen=True):
    """What is there now.

    Attributes:
        one_time_keys: unused ones.
        retired: oldest first.
    """

    one_time_keys: int
    retired: tuple[RetiredSealKey, ...]


class SealKeys(msgspec.Struct, frozen=True):
    """The seal keys of the devices in the manifest of this version, the newest.

    Attributes:
        keys: devices that have not published one yet are missing.
    """

    version: int
    keys: dict[DeviceId, SealKey]


class Keys(Protocol):
    """Keys per device.

    K1  A one-time key is handed out at most once, crash or no crash: it is gone, durably, before the
        answer. That includes one that is uploaded again: ids up to the highest that was ever taken in
        are not taken again, not even after `replace_all`.
    K2  `publish` is one transaction.
    K3  Seal key ids only grow. The same key again is harmless.
    K4  From the moment that a newer seal key is durable, no envelope is stored that names an older one.
        So the old key is retired with the mailbox's highest sequence at that moment, which is told from
        an hour after it on (envelopes in flight in a cluster), until 64 newer ones are.
    K5  Where no one-time key is left, or none shall be taken, the fallback key is handed out, as often as
        needed.
    """

    async def publish(self, device: DeviceId, update: KeyUpdate) -> KeyState:
        """Take in keys and the account's delivery token.

        Raises:
            ValueError: the id of a key has more than 63 bits.
            StaleSeal: the seal key's id is below the present one's, or it is another key of that id.
            TooManyKeys: more than 100 one-time keys would be unused.
            UnknownAccount: the device is not in the newest manifest of any account.
            StoreFull.
        """

    async def key_state(self, device: DeviceId) -> KeyState:
        """What is there.

        Raises:
            UnknownAccount: no such device.
        """

    async def seal_keys(self, account: AccountId) -> SealKeys:
        """The present seal keys of an account's devices.

        Raises:
            UnknownAccount.
        """

    async def take_session_keys(
        self, account: AccountId, devices: Sequence[DeviceId]
    ) -> dict[DeviceId, bytes]:
        """For each of these devices a key to open one session with, as its device signed it.

        Devices that the newest manifest does not list, or that have published nothing, are missing.

        Raises:
            UnknownAccount.
        """

    async def fallback_keys(self, account: AccountId, devices: Sequence[DeviceId]) -> dict[DeviceId, bytes]:
        """The same with their fallback keys; nothing is taken.

        Raises:
            UnknownAccount.
        """
