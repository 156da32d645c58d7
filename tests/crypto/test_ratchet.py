"""A device's account and sessions: what is published when, and nothing is changed by what does not open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.crypto.faults import EnvelopeFault
from hushpost.crypto.identity import Device
from hushpost.crypto.olm import NormalMessage, OlmMessage, PrekeyMessage, SessionHash
from hushpost.crypto.prekeys import Bundle, Kind, Owner, PrekeyCheck
from hushpost.crypto.primitives import Label, P, verify
from hushpost.crypto.ratchet import FALLBACK_LIFETIME, ONE_TIME_KEYS, DeviceAccount, Session, Unpublished
from hushpost.errors import EnvelopeError
from tests.crypto.pair import NOW, Phone
from tests.crypto.people import ALICE, BOB, MALLORY

NONE: frozenset[SessionHash] = frozenset()


def refused(call: Callable[[], object]) -> EnvelopeFault:
    with pytest.raises(EnvelopeError) as caught:
        call()
    assert isinstance(caught.value.reason, EnvelopeFault)
    return caught.value.reason


def key_bytes(number: int) -> bytes:
    return number.to_bytes(32, "little")


def prekey(message: OlmMessage) -> PrekeyMessage:
    assert isinstance(message, PrekeyMessage)
    return message


@pytest.fixture
def alice() -> Phone:
    return Phone(ALICE)


@pytest.fixture
def bob() -> Phone:
    return Phone(BOB)


def opened(one: Phone, other: Phone) -> tuple[Session, Session]:
    """A session of both."""
    ours = one.olm.open_session(other.bundle())
    theirs, first = other.olm.accept(prekey(ours.encrypt(b"hello")), remembered=NONE)
    assert (first.plaintext, first.their_key, first.session) == (b"hello", one.olm.dh_key, ours.hash)
    return ours, theirs


# --- the account


def test_it_signs_as_its_device_key(alice: Phone) -> None:
    signature = alice.olm.sign(Label.CONSENT, b"one", b"\xff\x00")
    assert verify(alice.olm.signing_key, signature, Label.CONSENT, b"one", b"\xff\x00")
    assert not verify(alice.olm.signing_key, signature, Label.DEVICE, b"one", b"\xff\x00")
    assert alice.device.consents_to(ALICE.account.id)
    check = PrekeyCheck(alice.owner, NOW)
    assert check.seal(alice.seal_key.encode()) == alice.seal_key
    assert check.session(alice.fallback.encode(), {Kind.FALLBACK}) == alice.fallback


def test_a_pickle_is_the_same_account(alice: Phone) -> None:
    again = DeviceAccount.unpickle(alice.olm.pickle())
    assert (again.id, again.signing_key, again.dh_key) == (
        alice.device.id,
        alice.olm.signing_key,
        alice.olm.dh_key,
    )
    raw = alice.olm.pickle()
    changed = raw[:40] + (b"B" if raw[40:41] == b"A" else b"A") + raw[41:]
    for bad in (b"", b"nonsense", b"\xff", raw[:-4], changed):
        with pytest.raises(ValueError, match=r"."):
            DeviceAccount.unpickle(bad)


def test_key_ids_grow_and_are_never_used_again() -> None:
    account = DeviceAccount.create()
    account.make_one_time_keys(3)
    first = account.unpublished
    assert [key.key_id for key in first.one_time] == [1, 2, 3]
    account.mark_published(first)
    account = DeviceAccount.unpickle(account.pickle())
    account.make_one_time_keys(2)
    assert [key.key_id for key in account.unpublished.one_time] == [4, 5]
    account.make_fallback_key()
    fallback = account.unpublished.fallback
    assert fallback is not None
    assert (fallback.kind, fallback.key_id) == (Kind.FALLBACK, 1)


def test_the_same_is_uploaded_until_it_is_published() -> None:
    account = DeviceAccount.create()
    account.make_one_time_keys(2)
    account.make_fallback_key()
    keys = account.unpublished
    again = DeviceAccount.unpickle(account.pickle())
    assert again.unpublished == keys
    again.make_one_time_keys(1)
    with pytest.raises(ValueError, match="other keys"):
        again.mark_published(keys)
    assert len(again.unpublished.one_time) == 3
    again.mark_published(again.unpublished)
    assert again.unpublished == Unpublished((), None)


def test_no_more_one_time_keys_than_are_published() -> None:
    account = DeviceAccount.create()
    account.make_one_time_keys(ONE_TIME_KEYS)
    for count in (1, -1):
        with pytest.raises(ValueError, match="more one-time keys"):
            account.make_one_time_keys(count)


def test_a_fallback_key_waits_for_the_one_before() -> None:
    account = DeviceAccount.create()
    week = FALLBACK_LIFETIME
    assert account.may_make_fallback_key(drained=True, age=week)
    assert not account.may_make_fallback_key(drained=False, age=week)
    assert not account.may_make_fallback_key(drained=True, age=week - 1)
    account.make_fallback_key()
    assert not account.may_make_fallback_key(drained=True, age=week)
    before = account.unpublished
    with pytest.raises(RuntimeError, match="not published yet"):
        account.make_fallback_key()
    assert account.unpublished == before
    account.mark_published(before)
    account.make_fallback_key()
    after = account.unpublished.fallback
    assert after is not None
    assert after.key_id == 2


def test_the_fallback_key_before_the_present_one_still_works(alice: Phone, bob: Phone) -> None:
    ours = alice.olm.open_session(bob.bundle(fallback=True))
    first = prekey(ours.encrypt(b"late"))
    bob.olm.make_fallback_key()
    bob.olm.mark_published(bob.olm.unpublished)
    assert bob.olm.accept(first, remembered=NONE)[1].plaintext == b"late"
    bob.olm.make_fallback_key()
    assert refused(lambda: bob.olm.accept(first, remembered=NONE)) is EnvelopeFault.RATCHET


# --- sessions


def test_both_ways_and_through_pickles(alice: Phone, bob: Phone) -> None:
    ours, theirs = opened(alice, bob)
    for number in range(12):
        text = bytes([number]) * 30
        ours, theirs = Session.unpickle(ours.pickle()), Session.unpickle(theirs.pickle())
        assert theirs.decrypt(ours.encrypt(text)).plaintext == text
        answer = theirs.encrypt(text)
        assert isinstance(answer, NormalMessage)
        assert ours.decrypt(answer).plaintext == text
    assert ours.hash == theirs.hash
    assert (ours.their_key, theirs.their_key) == (bob.olm.dh_key, alice.olm.dh_key)
    for bad in (b"", ours.pickle()[:40], bytes(32) + ours.pickle()[32:], b"\xff" * 99):
        with pytest.raises(ValueError, match=r"."):
            Session.unpickle(bad)


def test_what_does_not_open_changes_nothing(alice: Phone, bob: Phone) -> None:
    ours, theirs = opened(alice, bob)
    message = ours.encrypt(b"hello")
    changed = bytearray(message.encoded)
    changed[-1] ^= 1
    before = theirs.pickle()
    bad = replace(message, encoded=bytes(changed))
    assert refused(lambda: theirs.decrypt(bad)) is EnvelopeFault.RATCHET
    assert len(before) == len(theirs.pickle())
    assert theirs.decrypt(message).plaintext == b"hello"
    assert refused(lambda: theirs.decrypt(message)) is EnvelopeFault.RATCHET


ONE, OTHER = Phone(ALICE), Phone(BOB)
OURS, THEIRS = opened(ONE, OTHER)
INSIDE = prekey(OURS.encrypt(bytes(257))).inside

indices = st.one_of(st.integers(0, 3), st.integers(0, 2**63 - 1), st.sampled_from([2**31, 2**32, 2**63 - 1]))

ratchet_keys = st.one_of(st.just(bytes(INSIDE.ratchet_key)), st.integers(2, P - 2).map(key_bytes))


def varint(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80]) + varint(number >> 7) if number >> 7 else bytes([number])


@given(
    indices, st.one_of(st.just(bytes(INSIDE.ratchet_key)), st.integers(2, P - 2).map(key_bytes)), st.data()
)
def test_whatever_can_be_read_is_opened_or_refused(index: int, key: bytes, data: st.DataObject) -> None:
    """The library sees only what was read strictly; whatever that is, it answers, and nothing is changed."""
    blocks = data.draw(st.integers(1, 20)) * 16
    head = b"\3\x0a\x20" + key + b"\x10" + varint(index) + b"\x22" + varint(blocks)
    try:
        message = NormalMessage.decode(head + data.draw(st.binary(min_size=blocks + 8, max_size=blocks + 8)))
    except ValueError:  # a key of low order
        return
    assert refused(lambda: THEIRS.decrypt(message)) is EnvelopeFault.RATCHET
    around = b"\3\x0a\x20" + ONE.one_time[0].key + b"\x12\x20" + OTHER.olm.dh_key + b"\x1a\x20"
    around += OTHER.olm.dh_key + b"\x22" + varint(len(message.encoded)) + message.encoded
    first = PrekeyMessage.decode(around)
    assert refused(lambda: ONE.olm.accept(first, remembered=NONE)) is EnvelopeFault.RATCHET


def test_messages_may_overtake_each_other(alice: Phone, bob: Phone) -> None:
    ours, theirs = opened(alice, bob)
    messages = [ours.encrypt(bytes([number])) for number in range(10)]
    for message in reversed(messages):
        theirs.decrypt(message)


def test_a_prekey_message_of_another_session_is_refused(alice: Phone, bob: Phone) -> None:
    ours, theirs = opened(alice, bob)
    other = alice.olm.open_session(bob.bundle())
    assert refused(lambda: theirs.decrypt(other.encrypt(b"x"))) is EnvelopeFault.WRONG_SESSION
    assert theirs.decrypt(ours.encrypt(b"x")).plaintext == b"x"


def test_a_one_time_key_opens_one_session(alice: Phone, bob: Phone) -> None:
    first = prekey(alice.olm.open_session(bob.bundle()).encrypt(b"x"))
    bob.olm.accept(first, remembered=NONE)
    assert refused(lambda: bob.olm.accept(first, remembered=NONE)) is EnvelopeFault.RATCHET


def test_a_repeat_on_a_fallback_key_is_refused(alice: Phone, bob: Phone) -> None:
    first = prekey(alice.olm.open_session(bob.bundle(fallback=True)).encrypt(b"x"))
    session, _ = bob.olm.accept(first, remembered=NONE)
    assert refused(lambda: bob.olm.accept(first, remembered={session.hash})) is EnvelopeFault.REPLAYED
    # Without the memory it would open again: this is what the rule is for.
    assert bob.olm.accept(first, remembered=NONE)[1].plaintext == b"x"


def test_a_changed_first_message_uses_no_key_up(alice: Phone, bob: Phone) -> None:
    first = prekey(alice.olm.open_session(bob.bundle()).encrypt(b"x"))
    changed = PrekeyMessage.decode(first.encoded[:-1] + bytes([first.encoded[-1] ^ 1]))
    mallory = replace(first, identity_key=Phone(MALLORY).olm.dh_key)
    assert refused(lambda: bob.olm.accept(changed, remembered=NONE)) is EnvelopeFault.RATCHET
    assert refused(lambda: bob.olm.accept(mallory, remembered=NONE)) is EnvelopeFault.RATCHET
    assert bob.olm.accept(first, remembered=NONE)[1].plaintext == b"x"


def test_both_may_open_a_session_at_once(alice: Phone, bob: Phone) -> None:
    ours, theirs = alice.olm.open_session(bob.bundle()), bob.olm.open_session(alice.bundle())
    at_bob, _ = bob.olm.accept(prekey(ours.encrypt(b"a")), remembered=NONE)
    at_alice, _ = alice.olm.accept(prekey(theirs.encrypt(b"b")), remembered=NONE)
    assert at_bob.hash == ours.hash != theirs.hash == at_alice.hash


def test_a_bundle_without_a_session_key_opens_none(alice: Phone, bob: Phone) -> None:
    with pytest.raises(ValueError, match="opens no session"):
        alice.olm.open_session(Bundle(bob.owner, bob.seal_key, None))


def test_nothing_secret_is_printed(alice: Phone, bob: Phone) -> None:
    ours, theirs = opened(alice, bob)
    assert "hello" not in repr(theirs.decrypt(ours.encrypt(b"hello")))
    assert isinstance(alice.device, Device)
    assert isinstance(alice.owner, Owner)
