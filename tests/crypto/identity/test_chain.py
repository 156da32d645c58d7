"""A manifest is believed only as the signed continuation of what is known; each refusal has a reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.crypto.identity import (
    AccountFingerprint,
    AccountSecret,
    Device,
    KeyReplaced,
    Manifest,
    ManifestFault,
    RecoverySecret,
    SignedBy,
    next_manifest,
    verify_chain,
)
from hushpost.crypto.identity.manifest import MAX_DEVICES, NO_MANIFEST, ManifestHash
from hushpost.crypto.primitives import Label, Signature
from hushpost.errors import ManifestError
from tests.crypto.people import ALICE, BOB, MALLORY, Hand, Person

FIRST = ALICE.first()
PHONE = Hand(40)
SECOND = next_manifest(FIRST, ALICE.secret, [*FIRST.devices, PHONE.joins(ALICE.account)])
THIRD = next_manifest(SECOND, ALICE.secret, [PHONE.joins(ALICE.account)])
NEW_SECRET = AccountSecret(b"\x63" * 32)
LAPTOP = Hand(41)
RECOVERED = next_manifest(THIRD, ALICE.recovery, [LAPTOP.joins(ALICE.account)], account_key=NEW_SECRET.public)


def refused(known: Manifest | AccountFingerprint, *later: Manifest | bytes) -> ManifestFault:
    raw = [each if isinstance(each, bytes) else each.encode() for each in later]
    with pytest.raises(ManifestError) as caught:
        verify_chain(known, raw)
    assert isinstance(caught.value.reason, ManifestFault)
    return caught.value.reason


def resigned(manifest: Manifest, secret: AccountSecret | RecoverySecret) -> Manifest:
    """The same with a signature by this secret, whether it may or not."""
    return replace(manifest, signature=secret.sign(Label.MANIFEST, manifest._signed_part()))


def test_a_chain_is_followed_from_the_pin_to_the_newest() -> None:
    verified = verify_chain(ALICE.account, [each.encode() for each in (FIRST, SECOND, THIRD)])
    assert verified.newest == THIRD
    assert verified.replaced == ()
    assert verified.removed == FIRST.devices
    assert verify_chain(ALICE.account.id, [FIRST.encode()]).newest == FIRST
    assert verify_chain(FIRST, [SECOND.encode(), THIRD.encode()]).newest == THIRD


def test_nothing_new_is_no_error() -> None:
    assert verify_chain(SECOND, []).newest == SECOND
    assert verify_chain(SECOND, [SECOND.encode(), THIRD.encode()]).newest == THIRD


def test_a_recovery_is_told() -> None:
    verified = verify_chain(THIRD, [RECOVERED.encode()])
    assert verified.newest.account_key == NEW_SECRET.public
    assert verified.replaced == (KeyReplaced(4, ALICE.secret.public, NEW_SECRET.public),)
    later = next_manifest(RECOVERED, NEW_SECRET, RECOVERED.devices)
    assert verify_chain(RECOVERED, [later.encode()]).newest == later


def test_a_replaced_key_signs_nothing_any_more() -> None:
    stale = replace(RECOVERED, version=5, previous=RECOVERED.hash, signed_by=SignedBy.ACCOUNT_KEY)
    assert refused(RECOVERED, resigned(stale, ALICE.secret)) is ManifestFault.BAD_SIGNATURE


def test_rollback() -> None:
    assert refused(THIRD, SECOND) is ManifestFault.ROLLBACK
    assert refused(ALICE.account, FIRST, SECOND, FIRST) is ManifestFault.ROLLBACK


def test_fork() -> None:
    other = next_manifest(FIRST, ALICE.secret, [LAPTOP.joins(ALICE.account)])
    assert refused(SECOND, other) is ManifestFault.FORK
    assert refused(FIRST, SECOND, other) is ManifestFault.FORK
    after_other = next_manifest(other, ALICE.secret, other.devices)
    assert refused(SECOND, after_other) is ManifestFault.FORK


def test_a_fork_that_the_owner_did_not_sign_is_no_evidence_against_the_owner() -> None:
    other = next_manifest(FIRST, ALICE.secret, [LAPTOP.joins(ALICE.account)])
    forged = resigned(other, MALLORY.secret)
    assert refused(SECOND, forged) is ManifestFault.BAD_SIGNATURE


def test_gap() -> None:
    assert refused(FIRST, THIRD) is ManifestFault.GAP
    assert refused(ALICE.account, SECOND) is ManifestFault.NOT_THE_FIRST
    assert refused(ALICE.account) is ManifestFault.NOT_THE_FIRST


def test_the_account_of_somebody_else() -> None:
    assert refused(ALICE.account, MALLORY.first()) is ManifestFault.WRONG_ACCOUNT
    assert refused(ALICE.first(), BOB.first()) is ManifestFault.WRONG_ACCOUNT


def test_a_first_manifest_with_other_keys_under_the_same_fingerprint() -> None:
    """The server's swap: everything of Alice's but the keys."""
    for swapped in (
        replace(FIRST, account_key=MALLORY.secret.public),
        replace(FIRST, account_key=MALLORY.secret.public, recovery_key=MALLORY.recovery.public),
    ):
        assert refused(ALICE.account, resigned(swapped, MALLORY.secret)) is ManifestFault.WRONG_ACCOUNT
    recovery = replace(FIRST, recovery_key=MALLORY.recovery.public)
    assert refused(ALICE.account, resigned(recovery, ALICE.secret)) is ManifestFault.WRONG_ACCOUNT


def test_the_id_alone_does_not_vouch_for_another_fingerprint() -> None:
    """Somebody whose id collides, or who copies the id's half, has another fingerprint all the same."""
    twin = AccountFingerprint(ALICE.account[:16] + bytes(16))
    forged = resigned(replace(FIRST, account=twin), ALICE.secret)
    with pytest.raises(ManifestError) as caught:
        verify_chain(ALICE.account.id, [forged.encode()])
    assert caught.value.reason is ManifestFault.WRONG_ACCOUNT
    assert refused(twin, FIRST) is ManifestFault.WRONG_ACCOUNT


def test_a_first_manifest_is_signed_by_the_account_key() -> None:
    assert refused(ALICE.account, resigned(FIRST, MALLORY.secret)) is ManifestFault.BAD_SIGNATURE
    by_recovery = resigned(replace(FIRST, signed_by=SignedBy.RECOVERY_KEY), ALICE.recovery)
    assert refused(ALICE.account, by_recovery) is ManifestFault.BAD_SIGNATURE


@pytest.mark.parametrize("who", [ALICE.recovery, MALLORY.secret, MALLORY.recovery])
def test_a_later_manifest_signed_by_another_key(who: AccountSecret | RecoverySecret) -> None:
    """The recovery key's signature does not pass for the account key's: each role has its own."""
    assert refused(FIRST, resigned(SECOND, who)) is ManifestFault.BAD_SIGNATURE


def test_a_forged_recovery() -> None:
    assert refused(THIRD, resigned(RECOVERED, MALLORY.recovery)) is ManifestFault.BAD_SIGNATURE
    assert refused(THIRD, resigned(RECOVERED, ALICE.secret)) is ManifestFault.BAD_SIGNATURE
    assert refused(THIRD, resigned(RECOVERED, NEW_SECRET)) is ManifestFault.BAD_SIGNATURE


def test_a_stolen_account_key_replaces_neither_itself_nor_the_recovery_key() -> None:
    own = replace(SECOND, account_key=MALLORY.secret.public)
    assert refused(FIRST, resigned(own, ALICE.secret)) is ManifestFault.KEY_CHANGED
    lock_out = replace(SECOND, recovery_key=MALLORY.recovery.public)
    assert refused(FIRST, resigned(lock_out, ALICE.secret)) is ManifestFault.KEY_CHANGED
    renamed = replace(SECOND, name="alicia")
    assert refused(FIRST, resigned(renamed, ALICE.secret)) is ManifestFault.KEY_CHANGED


def test_the_recovery_key_does_nothing_but_replace() -> None:
    idle = resigned(replace(SECOND, signed_by=SignedBy.RECOVERY_KEY), ALICE.recovery)
    assert refused(FIRST, idle) is ManifestFault.KEY_CHANGED


def without_consent(device: Device, how: str) -> Device:
    if how == "none":
        return replace(device, consent=Signature(bytes(64)))
    if how == "for another account":
        return PHONE.joins(MALLORY.account)
    if how == "with another Curve25519 key":  # the device's good name, and somebody else's sessions
        return replace(device, dh_key=MALLORY.hand.dh_key)
    return replace(device, consent=MALLORY.hand.joins(ALICE.account).consent)


@pytest.mark.parametrize(
    "how", ["none", "for another account", "with another Curve25519 key", "of another device"]
)
def test_a_device_without_consent(how: str) -> None:
    device = without_consent(PHONE.joins(ALICE.account), how)
    added = next_manifest(FIRST, ALICE.secret, [*FIRST.devices, device])
    assert refused(FIRST, added) is ManifestFault.NO_CONSENT
    if how != "none":
        return
    alone = Person(50, "alone")
    first = replace(alone.first(), devices=(without_consent(alone.first().devices[0], how),))
    assert refused(alone.account, resigned(first, alone.secret)) is ManifestFault.NO_CONSENT


def test_a_consent_is_checked_again_when_anything_about_the_device_changed() -> None:
    (device,) = FIRST.devices
    changed = replace(device, consent=Signature(bytes(64)))
    assert refused(FIRST, next_manifest(FIRST, ALICE.secret, [changed])) is ManifestFault.NO_CONSENT


@given(st.data())
def test_any_flipped_bit_is_noticed(data: st.DataObject) -> None:
    raw = bytearray(SECOND.encode())
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    assert refused(FIRST, bytes(raw)) in {
        ManifestFault.MALFORMED,
        ManifestFault.BAD_SIGNATURE,
        ManifestFault.WRONG_ACCOUNT,
    }


@given(st.integers(0, len(SECOND.encode()) - 1), st.binary(min_size=1, max_size=40))
def test_a_manifest_cut_short_or_extended_is_none(size: int, more: bytes) -> None:
    raw = SECOND.encode()
    assert refused(FIRST, raw[:size]) is ManifestFault.MALFORMED
    assert refused(FIRST, raw + more) is ManifestFault.MALFORMED


@given(st.binary(max_size=600))
def test_noise_is_no_manifest(raw: bytes) -> None:
    assert refused(FIRST, raw) is ManifestFault.MALFORMED


@given(st.sampled_from([FIRST, SECOND, THIRD, RECOVERED, BOB.first()]))
def test_manifests_have_one_spelling(manifest: Manifest) -> None:
    assert Manifest.decode(manifest.encode()) == manifest
    assert Manifest.decode(manifest.encode()).encode() == manifest.encode()


def test_malformed_contents() -> None:
    one, two = SECOND.devices
    for change in (
        {"devices": (two, one)},
        {"devices": (one, one)},
        {"devices": ()},
        {"version": 0},
        {"version": 1},
        {"previous": NO_MANIFEST},
        {"name": "new\nline"},
        {"name": ""},
        {"name": "n" * 255},
        {"recovery_key": SECOND.account_key},
    ):
        with pytest.raises(ValueError, match=r"."):
            replace(SECOND, **change)


def test_as_many_devices_as_allowed_and_one_more() -> None:
    devices = sorted(
        (replace(FIRST.devices[0], signing_key=Hand(n).key) for n in range(1, MAX_DEVICES + 2)),
        key=lambda device: device.id,
    )
    full = replace(FIRST, devices=tuple(devices[:-1]))
    assert Manifest.decode(full.encode()) == full
    with pytest.raises(ValueError, match="1 to 150 devices"):
        replace(FIRST, devices=tuple(devices))


def test_nobody_signs_with_a_key_that_is_not_in_the_manifest() -> None:
    with pytest.raises(ValueError, match="does not sign"):
        next_manifest(FIRST, MALLORY.secret, FIRST.devices)
    with pytest.raises(ValueError, match="does not sign"):
        next_manifest(FIRST, MALLORY.recovery, FIRST.devices, account_key=MALLORY.secret.public)


def test_neither_names_nor_keys_are_printed() -> None:
    text = repr(BOB.first()) + repr(verify_chain(THIRD, [RECOVERED.encode()]))
    assert "Bob" not in text
    assert ALICE.secret.public.hex() not in text
    assert NEW_SECRET.public.hex() not in text


def test_the_hash_covers_the_signature() -> None:
    assert FIRST.hash != replace(FIRST, signature=Signature(b"\1" * 64)).hash
    assert isinstance(FIRST.hash, ManifestHash)
    assert SECOND.previous == FIRST.hash
