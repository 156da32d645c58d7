"""Prekeys are the device's own, current, and keys; anything else is refused with its reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.crypto.prekeys import (
    MAX_SEAL_LIFETIME,
    Kind,
    Owner,
    PrekeyCheck,
    PrekeyFault,
    SealPrekey,
    SessionKey,
    SessionPrekey,
)
from hushpost.crypto.primitives import LOW_ORDER_X25519, Label, P, SealKey, SealSecret, Signature
from hushpost.errors import PrekeyError
from tests.crypto.people import ALICE, BOB, MALLORY, Hand

DEVICE, ACCOUNT, SIGNER = ALICE.first().devices[0], ALICE.account.id, ALICE.hand.signer
OWNER = Owner(ACCOUNT, DEVICE)
NOW, HOUR = 1_750_000_000, 3_600
EITHER = {Kind.ONE_TIME, Kind.FALLBACK}
SEAL_KEY = SealSecret(bytes(range(96))).public
OTHER_SEAL_KEY = SealSecret(bytes(range(1, 97))).public


def session_prekey(number: int, kind: Kind = Kind.ONE_TIME) -> SessionPrekey:
    key = SessionKey(Hand(100 + number).dh_key)
    return SessionPrekey.by(SIGNER, OWNER, kind, number, key)


def seal_prekey(key_id: int = 7, key: SealKey = SEAL_KEY, expires: int = NOW + HOUR) -> SealPrekey:
    return SealPrekey.by(SIGNER, OWNER, key_id, key, expires)


ONE_TIME, FALLBACK, SEAL = session_prekey(1), session_prekey(1, Kind.FALLBACK), seal_prekey()


def refused(check: Callable[[], object]) -> PrekeyFault:
    with pytest.raises(PrekeyError) as caught:
        check()
    assert isinstance(caught.value.reason, PrekeyFault)
    return caught.value.reason


def session_refused(raw: bytes) -> PrekeyFault:
    return refused(lambda: PrekeyCheck(OWNER, NOW).session(raw, EITHER))


def seal_refused(raw: bytes, newest: SealPrekey | None = None, now: int = NOW) -> PrekeyFault:
    return refused(lambda: PrekeyCheck(OWNER, now, newest).seal(raw))


def test_good_ones_pass_and_have_their_size() -> None:
    for prekey in (ONE_TIME, FALLBACK):
        assert PrekeyCheck(OWNER, NOW).session(prekey.encode(), EITHER) == prekey
        assert len(prekey.encode()) == SessionPrekey.SIZE
    assert PrekeyCheck(OWNER, NOW).seal(SEAL.encode()) == SEAL
    assert len(SEAL.encode()) == SealPrekey.SIZE


@pytest.mark.parametrize(
    "owner",
    [
        Owner(BOB.account.id, DEVICE),
        Owner(ACCOUNT, BOB.first().devices[0]),
        Owner(ACCOUNT, Hand(40).joins(ALICE.account)),
    ],
)
def test_a_prekey_belongs_to_its_account_and_device(owner: Owner) -> None:
    check = PrekeyCheck(owner, NOW)
    assert refused(lambda: check.session(ONE_TIME.encode(), EITHER)) is PrekeyFault.BAD_SIGNATURE
    assert refused(lambda: check.seal(SEAL.encode())) is PrekeyFault.BAD_SIGNATURE


def test_a_server_cannot_put_its_own_in_place() -> None:
    own = SessionPrekey.by(MALLORY.hand.signer, OWNER, Kind.ONE_TIME, 1, ONE_TIME.key)
    assert session_refused(own.encode()) is PrekeyFault.BAD_SIGNATURE
    for change in ({"kind": Kind.FALLBACK}, {"key_id": 2}, {"key": FALLBACK.key}):
        changed = replace(session_prekey(2), **change)
        if changed != session_prekey(2):
            assert session_refused(changed.encode()) is PrekeyFault.BAD_SIGNATURE
    for moved in (
        replace(SEAL, key_id=8),
        replace(SEAL, expires=SEAL.expires + 1),
        replace(SEAL, key=OTHER_SEAL_KEY),
    ):
        assert seal_refused(moved.encode()) is PrekeyFault.BAD_SIGNATURE


def test_roles_are_not_swapped() -> None:
    check = PrekeyCheck(OWNER, NOW)
    for attempt in (
        lambda: check.session(FALLBACK.encode(), {Kind.ONE_TIME}),
        lambda: check.session(ONE_TIME.encode(), {Kind.FALLBACK}),
        lambda: check.upload(fallback=ONE_TIME.encode()),
        lambda: check.upload(one_time=[FALLBACK.encode()]),
    ):
        assert refused(attempt) is PrekeyFault.WRONG_KIND
    assert session_refused(SEAL.encode()) is PrekeyFault.MALFORMED
    assert seal_refused(ONE_TIME.encode()) is PrekeyFault.MALFORMED


def test_no_other_signature_of_the_device_passes() -> None:
    about = (ACCOUNT, DEVICE.id, b"\1", bytes(8), ONE_TIME.key)
    other = SessionPrekey(Kind.ONE_TIME, 0, ONE_TIME.key, SIGNER.sign(Label.CONSENT, *about))
    assert session_refused(other.encode()) is PrekeyFault.BAD_SIGNATURE


@given(st.sampled_from([ONE_TIME, FALLBACK]), st.integers(0, 8 * SessionPrekey.SIZE - 1))
def test_any_flipped_bit_of_a_session_key_is_noticed(prekey: SessionPrekey, bit: int) -> None:
    raw = bytearray(prekey.encode())
    raw[bit // 8] ^= 1 << bit % 8
    assert session_refused(bytes(raw)) in {PrekeyFault.MALFORMED, PrekeyFault.BAD_SIGNATURE}


@given(st.integers(0, 8 * SealPrekey.SIZE - 1))
def test_any_flipped_bit_of_a_seal_key_is_noticed(bit: int) -> None:
    raw = bytearray(SEAL.encode())
    raw[bit // 8] ^= 1 << bit % 8
    assert seal_refused(bytes(raw)) in {PrekeyFault.MALFORMED, PrekeyFault.BAD_SIGNATURE}


@given(
    st.integers(0, SessionPrekey.SIZE - 1),
    st.integers(0, SealPrekey.SIZE - 1),
    st.binary(min_size=1, max_size=9),
)
def test_prekeys_cut_short_or_extended_are_none(size: int, seal_size: int, more: bytes) -> None:
    assert session_refused(ONE_TIME.encode()[:size]) is PrekeyFault.MALFORMED
    assert session_refused(ONE_TIME.encode() + more) is PrekeyFault.MALFORMED
    assert seal_refused(SEAL.encode()[:seal_size]) is PrekeyFault.MALFORMED
    assert seal_refused(SEAL.encode() + more) is PrekeyFault.MALFORMED


@pytest.mark.parametrize("u", [*LOW_ORDER_X25519, P, P + 9, 2**255 + 9])
def test_keys_of_low_order_or_another_spelling_though_signed(u: int) -> None:
    """The device itself signs them: a hostile member of the directory."""
    bad = u.to_bytes(32, "little")
    signature = SIGNER.sign(Label.PREKEY, ACCOUNT, DEVICE.id, b"\1", bytes(8), bad)
    assert session_refused(b"\1" + bytes(8) + bad + signature) is PrekeyFault.MALFORMED
    key, expires = SEAL_KEY[:1184] + bad, SEAL.expires.to_bytes(8, "little")
    signature = SIGNER.sign(Label.PREKEY, ACCOUNT, DEVICE.id, b"\3", bytes(8), key, expires)
    assert seal_refused(b"\3" + bytes(8) + expires + key + signature) is PrekeyFault.MALFORMED


def test_expiry() -> None:
    assert seal_refused(SEAL.encode(), now=SEAL.expires + HOUR + 1) is PrekeyFault.EXPIRED
    assert PrekeyCheck(OWNER, SEAL.expires + HOUR).seal(SEAL.encode()) == SEAL
    longest = seal_prekey(expires=NOW + MAX_SEAL_LIFETIME + HOUR)
    assert PrekeyCheck(OWNER, NOW).seal(longest.encode()) == longest
    assert seal_refused(longest.encode(), now=NOW - 1) is PrekeyFault.TOO_LONG


def test_seal_keys_only_go_forward() -> None:
    assert seal_refused(seal_prekey(6, OTHER_SEAL_KEY).encode(), newest=SEAL) is PrekeyFault.OLD_ID
    assert seal_refused(seal_prekey(7, OTHER_SEAL_KEY).encode(), newest=SEAL) is PrekeyFault.REPEATED
    assert seal_refused(seal_prekey(8).encode(), newest=SEAL) is PrekeyFault.REPEATED
    for fine in (SEAL, seal_prekey(7, expires=NOW + 2 * HOUR), seal_prekey(8, OTHER_SEAL_KEY)):
        assert PrekeyCheck(OWNER, NOW, SEAL).seal(fine.encode()) == fine


def test_an_upload_is_passed_on_as_it_was_made() -> None:
    keys = tuple(session_prekey(number) for number in range(3))
    spare = session_prekey(9, Kind.FALLBACK)
    check = PrekeyCheck(OWNER, NOW)
    upload = check.upload([key.encode() for key in keys], spare.encode(), SEAL.encode())
    assert (upload.one_time, upload.fallback, upload.seal) == (keys, spare, SEAL)
    nothing = check.upload()
    assert (nothing.one_time, nothing.fallback, nothing.seal) == ((), None, None)


FIRST_KEY = session_prekey(1)
SAME_ID = SessionPrekey.by(SIGNER, OWNER, Kind.ONE_TIME, 1, session_prekey(5).key)
SAME_KEY = SessionPrekey.by(SIGNER, OWNER, Kind.ONE_TIME, 99, FIRST_KEY.key)
SHARED = SessionPrekey.by(SIGNER, OWNER, Kind.FALLBACK, 5, FIRST_KEY.key)
UNSIGNED = replace(session_prekey(5), signature=Signature(bytes(64)))


@pytest.mark.parametrize(
    ("second", "fallback", "fault"),
    [
        (SAME_ID.encode(), b"", PrekeyFault.REPEATED),
        (SAME_KEY.encode(), b"", PrekeyFault.REPEATED),
        (session_prekey(5).encode(), SHARED.encode(), PrekeyFault.REPEATED),
        (b"", b"", PrekeyFault.MALFORMED),
        (UNSIGNED.encode(), b"", PrekeyFault.BAD_SIGNATURE),
    ],
)
def test_an_upload_is_checked_as_a_whole(second: bytes, fallback: bytes, fault: PrekeyFault) -> None:
    check = PrekeyCheck(OWNER, NOW)
    assert refused(lambda: check.upload([FIRST_KEY.encode(), second], fallback)) is fault


def test_an_upload_does_not_go_back() -> None:
    check = PrekeyCheck(OWNER, NOW, seal_prekey(8))
    assert refused(lambda: check.upload(seal=SEAL.encode())) is PrekeyFault.OLD_ID


def test_a_bundle_needs_a_seal_key() -> None:
    check = PrekeyCheck(OWNER, NOW)
    bundle = check.bundle(SEAL.encode(), FALLBACK.encode())
    assert (bundle.owner, bundle.seal, bundle.session) == (OWNER, SEAL, FALLBACK)
    assert check.bundle(SEAL.encode()).session is None
    assert refused(lambda: check.bundle(b"")) is PrekeyFault.MALFORMED


def test_keys_are_not_printed() -> None:
    assert ONE_TIME.key.hex() not in repr(ONE_TIME)
    assert "SealKey(redacted)" in repr(SEAL)
