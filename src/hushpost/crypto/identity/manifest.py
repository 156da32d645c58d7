"""The manifest: an account's signed list of its devices, one layout, one spelling.

    suite u8 = 1 | account fingerprint 32 | version u64 | previous manifest's hash 32
    | account key 32 | recovery key 32 | name: size u8, UTF-8
    | devices: count u8, each: Ed25519 32 | Curve25519 32 | created u64 | consent 64
    | signed by u8 | signature 64

This module makes and reads single manifests; `chain` decides which to believe. Normative text:
docs/spec/keys.md, section "The manifest".
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from functools import cached_property
from typing import ClassVar, Self

from hushpost.crypto.identity.keys import (
    AccountFingerprint,
    AccountKey,
    AccountSecret,
    DeviceDhKey,
    DeviceKey,
    Fingerprint,
    RecoveryKey,
    RecoverySecret,
    device_id,
)
from hushpost.crypto.layout import Reader, u8, u64
from hushpost.crypto.primitives import Label, Signature, Signer, digest, verify
from hushpost.errors import ManifestError
from hushpost.ids import AccountId, DeviceId
from hushpost.names import check_name

SUITE = 1
"""Ed25519, Curve25519, SHA-256. Another number leaves room for ML-DSA."""

MAX_DEVICES = 150
"""Of one account: as many as one Olm message each is cheap for. A manifest is then 20.9 KB at most."""


class ManifestFault(StrEnum):
    """Why a manifest is refused, as a sentence. docs/spec/keys.md names the checks in their order."""

    MALFORMED = "the manifest is malformed"
    WRONG_ACCOUNT = "the manifest belongs to another account"
    BAD_SIGNATURE = "the manifest is not signed by the account's key"
    NO_CONSENT = "the manifest lists a device that did not consent to it"
    NOT_THE_FIRST = "the manifests do not begin with the account's first"
    ROLLBACK = "the manifest is older than the one that is known"
    FORK = "there are two manifests in the place of one"
    GAP = "a manifest between the known one and this one is missing"
    KEY_CHANGED = "the manifest changes a key or a name that it may not change"


class SignedBy(Enum):
    """Which of the account's keys signed a manifest."""

    ACCOUNT_KEY = 0
    RECOVERY_KEY = 1


class ManifestHash(Fingerprint):
    """What the next manifest, and every message, calls this one."""

    __slots__ = ()


NO_MANIFEST = ManifestHash(bytes(32))
"""What the first manifest follows."""

NOT_SIGNED = Signature(bytes(64))
"""A draft's; no key's signature looks like this."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device of an account. `created`: seconds since 1970, as the device itself saw it."""

    SIZE: ClassVar[int] = 136

    signing_key: DeviceKey
    dh_key: DeviceDhKey
    created: int
    consent: Signature

    @classmethod
    def consenting(
        cls, signer: Signer, account: AccountId, signing_key: DeviceKey, dh_key: DeviceDhKey, created: int
    ) -> Self:
        """As the device itself makes it: `signer` holds the secret of `signing_key`."""
        about = (account, device_id(signing_key, dh_key), dh_key)
        return cls(signing_key, dh_key, created, signer.sign(Label.CONSENT, *about))

    @property
    def id(self) -> DeviceId:
        return device_id(self.signing_key, self.dh_key)

    def consents_to(self, account: AccountId) -> bool:
        """Whether the device agreed to be listed there. Otherwise anybody could list it as theirs."""
        return verify(self.signing_key, self.consent, Label.CONSENT, account, self.id, self.dh_key)

    def encode(self) -> bytes:
        return self.signing_key + self.dh_key + u64(self.created) + self.consent

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        return cls(
            DeviceKey(reader.take(32)),
            DeviceDhKey(reader.take(32)),
            reader.u64(),
            Signature(reader.take(64)),
        )


@dataclass(frozen=True)
class Manifest:
    """One version of an account, as signed. Reading one proves nothing: see `chain.verify_chain`.

    Attributes:
        version: 1 for the first, then one more each.
        devices: in the order of their ids.
    """

    account: AccountFingerprint
    version: int
    previous: ManifestHash
    account_key: AccountKey
    recovery_key: RecoveryKey
    name: str = field(repr=False)
    devices: tuple[Device, ...]
    signed_by: SignedBy = SignedBy.ACCOUNT_KEY
    signature: Signature = NOT_SIGNED

    def __post_init__(self) -> None:
        """Raises: ValueError: nothing that could be encoded, or be anybody's manifest."""
        ids = [device.id for device in self.devices]
        if not 1 <= len(ids) <= MAX_DEVICES or ids != sorted(set(ids)):
            raise ValueError(f"a manifest has 1 to {MAX_DEVICES} devices, each once, in the order of ids")
        if self.version < 1 or (self.version == 1) != (self.previous == NO_MANIFEST):
            raise ValueError("the first manifest, and no other, has version 1 and follows none")
        if bytes(self.account_key) == bytes(self.recovery_key):
            raise ValueError("account key and recovery key are the same")
        check_name(self.name)

    @cached_property
    def hash(self) -> ManifestHash:
        """Of all of it, signature included."""
        return ManifestHash(digest(Label.MANIFEST_HASH, self.encode()))

    def device(self, wanted: DeviceId) -> Device | None:
        """The device of this id, if it is listed."""
        return next((device for device in self.devices if device.id == wanted), None)

    def is_signed(self, key: AccountKey | RecoveryKey) -> bool:
        return verify(key, self.signature, Label.MANIFEST, self._signed_part())

    def signed(self, secret: AccountSecret | RecoverySecret) -> Manifest:
        """This manifest with a signature.

        Raises:
            ValueError: the secret is not that of its account key or recovery key.
        """
        by = SignedBy.ACCOUNT_KEY if isinstance(secret, AccountSecret) else SignedBy.RECOVERY_KEY
        if secret.public != (self.account_key if by is SignedBy.ACCOUNT_KEY else self.recovery_key):
            raise ValueError("this key does not sign this manifest")
        draft = replace(self, signed_by=by)
        return replace(draft, signature=secret.sign(Label.MANIFEST, draft._signed_part()))

    def _signed_part(self) -> bytes:
        name = self.name.encode()
        head = u8(SUITE) + self.account + u64(self.version) + self.previous
        keys = self.account_key + self.recovery_key + u8(len(name)) + name + u8(len(self.devices))
        return head + keys + b"".join(map(Device.encode, self.devices)) + u8(self.signed_by.value)

    def encode(self) -> bytes:
        """The one spelling of this manifest."""
        return self._signed_part() + self.signature

    @classmethod
    def decode(cls, raw: bytes) -> Manifest:
        """Read one.

        Raises:
            ManifestError: MALFORMED.
        """
        try:
            return cls._decode(Reader(raw))
        except ValueError as error:
            raise ManifestError(ManifestFault.MALFORMED, hint=str(error)) from None

    @classmethod
    def _decode(cls, reader: Reader) -> Manifest:
        reader.constant(SUITE)
        account, version = AccountFingerprint(reader.take(32)), reader.u64()
        previous = ManifestHash(reader.take(32))
        account_key, recovery_key = AccountKey(reader.take(32)), RecoveryKey(reader.take(32))
        name = reader.take(reader.u8()).decode()
        devices = tuple(Device.decode(reader) for _ in range(reader.u8()))
        signed_by, signature = SignedBy(reader.u8()), Signature(reader.take(64))
        reader.end()
        return cls(account, version, previous, account_key, recovery_key, name, devices, signed_by, signature)
