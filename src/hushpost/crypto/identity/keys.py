"""Whose key is whose: one type per kind of key, and the ids that are made of keys.

Normative text: docs/spec/keys.md, section "Kinds of keys".
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

from hushpost.crypto.primitives import DhKey, Label, SigningSecret, VerifyKey, digest
from hushpost.ids import AccountId, DeviceId, FixedBytes


class Fingerprint(FixedBytes):
    """32 bytes that stand for a key or an account: what links and pins carry."""

    __slots__ = ()
    SIZE: ClassVar[int] = 32


class AccountFingerprint(Fingerprint):
    """An account, for ever: of its account key at creation and its recovery key."""

    __slots__ = ()

    @property
    def id(self) -> AccountId:
        """The handle: half of it, too short to be pinned."""
        return AccountId(self[: AccountId.SIZE])


class AccountKey(VerifyKey):
    """Signs an account's manifests, and nothing else."""

    __slots__ = ()


class AccountSecret(SigningSecret):
    """Lives on devices marked primary."""

    __slots__ = ()

    @property
    def public(self) -> AccountKey:
        return AccountKey(self.public_bytes())


class RecoveryKey(VerifyKey):
    """Signs the one kind of manifest that replaces a lost or stolen account key."""

    __slots__ = ()


class RecoverySecret(SigningSecret):
    """Made from the recovery phrase when it is needed, and never stored."""

    __slots__ = ()

    @property
    def public(self) -> RecoveryKey:
        return RecoveryKey(self.public_bytes())


class DeviceKey(VerifyKey):
    """Ed25519 key of a device's Olm account: consents, logs in, signs prekeys. Its secret stays in there."""

    __slots__ = ()


class DeviceDhKey(DhKey):
    """Curve25519 identity key of a device's Olm account: what its sessions prove."""

    __slots__ = ()


def account_fingerprint(account_key: AccountKey, recovery_key: RecoveryKey) -> AccountFingerprint:
    """The account that is created with these keys."""
    return AccountFingerprint(digest(Label.ACCOUNT, account_key, recovery_key))


@lru_cache(maxsize=1024)  # asked for again and again, of the same few devices
def device_id(signing_key: DeviceKey, dh_key: DeviceDhKey) -> DeviceId:
    """The device that has these keys."""
    return DeviceId(digest(Label.DEVICE, signing_key, dh_key)[: DeviceId.SIZE])
