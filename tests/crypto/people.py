"""Accounts and devices for tests, the same at every run: all their secrets are made of small numbers."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import x25519

from hushpost.crypto.identity import (
    AccountFingerprint,
    AccountSecret,
    Device,
    DeviceDhKey,
    DeviceKey,
    Manifest,
    RecoverySecret,
    account_fingerprint,
    first_manifest,
)
from hushpost.crypto.primitives import SigningSecret


class Hand:
    """A device's secrets without a ratchet behind them."""

    def __init__(self, number: int) -> None:
        self.signer = SigningSecret(bytes([number]) * 32)
        self.key = DeviceKey(self.signer.public_bytes())
        half = x25519.X25519PrivateKey.from_private_bytes(bytes([number, 1]) * 16)
        self.dh_key = DeviceDhKey(half.public_key().public_bytes_raw())

    def joins(self, account: AccountFingerprint, created: int = 1_700_000_000) -> Device:
        return Device.consenting(self.signer, account.id, self.key, self.dh_key, created)


class Person:
    """An account with its secrets."""

    def __init__(self, number: int, name: str) -> None:
        self.secret = AccountSecret(bytes([number, 10]) * 16)
        self.recovery = RecoverySecret(bytes([number, 11]) * 16)
        self.name = name
        self.account = account_fingerprint(self.secret.public, self.recovery.public)
        self.hand = Hand(number)

    def first(self, *hands: Hand) -> Manifest:
        """The manifest that creates the account, with these devices or its only one."""
        devices = [hand.joins(self.account) for hand in hands or (self.hand,)]
        return first_manifest(self.secret, self.recovery.public, self.name, devices)


ALICE = Person(1, "alice")
BOB = Person(2, "Bob 鮑勃")
MALLORY = Person(3, "mallory")
