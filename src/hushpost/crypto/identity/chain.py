"""Which manifests to believe: only a gapless, signed continuation of what is known already.

Whoever serves manifests may be hostile: it can withhold them, but it can neither add a device, nor go back,
nor show one history to one person and another to the next without being noticed. Normative text:
docs/spec/keys.md, section "Believing a manifest".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hushpost.crypto.identity.keys import (
    AccountFingerprint,
    AccountKey,
    AccountSecret,
    RecoveryKey,
    RecoverySecret,
    account_fingerprint,
)
from hushpost.crypto.identity.manifest import (
    NO_MANIFEST,
    Device,
    Manifest,
    ManifestFault,
    SignedBy,
)
from hushpost.errors import ManifestError
from hushpost.ids import AccountId


@dataclass(frozen=True, slots=True)
class KeyReplaced:
    """The recovery key put another account key in place. The user MUST be told; see docs/spec/keys.md."""

    version: int
    old: AccountKey
    new: AccountKey


@dataclass(frozen=True, slots=True)
class Verified:
    """What a chain proved.

    Attributes:
        newest: the last manifest, to be kept as known.
        replaced: account keys that were replaced on the way, oldest first.
        removed: devices that are listed no more; mail of theirs may still come, and is marked.
    """

    newest: Manifest
    replaced: tuple[KeyReplaced, ...]
    removed: tuple[Device, ...]


def verify_chain(known: Manifest | AccountFingerprint | AccountId, later: Sequence[bytes]) -> Verified:
    """Follow an account from what is trusted to its newest manifest.

    Args:
        known: the newest manifest that was verified before; or, for a first meeting, what a link pinned,
            or the bare id, which is trust in whoever named it.
        later: encoded manifests as a server or peer sent them, oldest first; after a first meeting they may
            begin with the known one.

    Raises:
        ManifestError: any of `ManifestFault`; nothing of `later` may then be used.
    """
    manifests = [Manifest.decode(raw) for raw in later]
    if isinstance(known, Manifest):
        newest = known
    else:
        if not manifests:
            raise ManifestError(ManifestFault.NOT_THE_FIRST)
        newest = _verified_first(known, manifests.pop(0))
    replaced: list[KeyReplaced] = []
    gone: dict[Device, None] = {}
    for manifest in manifests:
        if manifest == newest:
            continue
        _check_step(newest, manifest)
        if manifest.account_key != newest.account_key:
            replaced.append(KeyReplaced(manifest.version, newest.account_key, manifest.account_key))
        gone |= dict.fromkeys(newest.devices)
        newest = manifest
    listed = {device.id for device in newest.devices}
    return Verified(newest, tuple(replaced), tuple(each for each in gone if each.id not in listed))


def _verified_first(pin: AccountFingerprint | AccountId, first: Manifest) -> Manifest:
    if first.version != 1:
        raise ManifestError(ManifestFault.NOT_THE_FIRST)
    # The id is made of these two keys: nobody else can have written the first manifest under it.
    named = account_fingerprint(first.account_key, first.recovery_key)
    if named != first.account or pin != (named if isinstance(pin, AccountFingerprint) else named.id):
        raise ManifestError(ManifestFault.WRONG_ACCOUNT)
    if first.signed_by is not SignedBy.ACCOUNT_KEY or not first.is_signed(first.account_key):
        raise ManifestError(ManifestFault.BAD_SIGNATURE)
    _check_consents((), first)
    return first


def _check_step(known: Manifest, later: Manifest) -> None:
    """Whether `later` is the very next manifest after `known`."""
    if later.account != known.account:
        raise ManifestError(ManifestFault.WRONG_ACCOUNT)
    # Signature first, by a key that was known before: whatever is said about it below is then evidence
    # against the account's owner, and not something that any server could make up.
    by: AccountKey | RecoveryKey = known.account_key
    if later.signed_by is SignedBy.RECOVERY_KEY:
        by = known.recovery_key
    if not later.is_signed(by):
        raise ManifestError(ManifestFault.BAD_SIGNATURE)
    if later.version < known.version:
        raise ManifestError(ManifestFault.ROLLBACK)
    if later.version > known.version + 1:
        raise ManifestError(ManifestFault.GAP)
    if later.version == known.version or later.previous != known.hash:
        raise ManifestError(ManifestFault.FORK)
    # A stolen account key must not be able to lock the owner's recovery key out.
    if later.recovery_key != known.recovery_key or later.name != known.name:
        raise ManifestError(ManifestFault.KEY_CHANGED)
    # The recovery key does one thing: it replaces the account key, and nothing else can.
    if (later.account_key != known.account_key) != (later.signed_by is SignedBy.RECOVERY_KEY):
        raise ManifestError(ManifestFault.KEY_CHANGED)
    _check_consents(known.devices, later)


def _check_consents(checked: Sequence[Device], manifest: Manifest) -> None:
    for device in manifest.devices:
        if device not in checked and not device.consents_to(manifest.account.id):
            raise ManifestError(ManifestFault.NO_CONSENT)


def first_manifest(
    secret: AccountSecret, recovery_key: RecoveryKey, name: str, devices: Sequence[Device]
) -> Manifest:
    """The manifest that creates an account.

    Raises:
        ValueError: a name that nobody may have, or the same device twice.
    """
    account = account_fingerprint(secret.public, recovery_key)
    ordered = tuple(sorted(devices, key=lambda device: device.id))
    draft = Manifest(account, 1, NO_MANIFEST, secret.public, recovery_key, name, ordered)
    return draft.signed(secret)


def next_manifest(
    known: Manifest,
    secret: AccountSecret | RecoverySecret,
    devices: Sequence[Device],
    *,
    account_key: AccountKey | None = None,
) -> Manifest:
    """The manifest after `known`, with these devices; signed by the recovery key, with another account key.

    Raises:
        ValueError: a secret that is not the account's, or the same device twice.
    """
    ordered = tuple(sorted(devices, key=lambda device: device.id))
    key = account_key or known.account_key
    draft = Manifest(
        known.account, known.version + 1, known.hash, key, known.recovery_key, known.name, ordered
    )
    return draft.signed(secret)
