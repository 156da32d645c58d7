"""Messages from end to end, and everything that is not what it says."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushpost.crypto.body import Body, BodyKey
from hushpost.crypto.content import Content, Introduction, Text
from hushpost.crypto.envelope import (
    Arrived,
    Peer,
    Route,
    open_letter,
    seal,
    write,
)
from hushpost.crypto.faults import EnvelopeFault
from hushpost.crypto.identity import next_manifest, verify_chain
from hushpost.crypto.inner import Inner
from hushpost.crypto.olm import PrekeyMessage, SessionHash
from hushpost.crypto.prekeys import PrekeyCheck
from hushpost.crypto.seal import Header
from hushpost.errors import EnvelopeError
from hushpost.ids import DeviceId, EnvelopeId, MessageId
from tests.crypto.pair import NOW, Line, Phone, Reader, lying
from tests.crypto.people import ALICE, BOB, MALLORY, Hand

NONE: frozenset[SessionHash] = frozenset()


def refused(call: Callable[[], object]) -> EnvelopeFault:
    with pytest.raises(EnvelopeError) as caught:
        call()
    assert isinstance(caught.value.reason, EnvelopeFault)
    return caught.value.reason


@pytest.fixture
def alice() -> Phone:
    return Phone(ALICE)


@pytest.fixture
def bob() -> Phone:
    return Phone(BOB)


@pytest.fixture
def line(alice: Phone, bob: Phone) -> Line:
    return Line.open(alice, bob)


@pytest.fixture
def reader(bob: Phone) -> Reader:
    return Reader(bob, {})


def test_a_conversation(alice: Phone, bob: Phone, line: Line, reader: Reader) -> None:
    first = reader.read(line.send(Text("hello")), alice)
    assert first.content.get(Text) == Text("hello")
    assert (first.sender, first.device) == (alice.party, alice.device)
    assert (first.counter, first.sent_at, first.is_removed) == (1, NOW, False)
    assert (first.their_manifest_differs, first.our_manifest_differs) == (False, False)
    back = Line(bob, alice, reader.sessions[line.session.hash])
    at_alice = Reader(alice, {line.session.hash: line.session})
    for number in range(5):
        assert at_alice.read(back.send(Text(f"{number}")), bob).content.get(Text) == Text(f"{number}")
        there = reader.read(line.send(), alice)
        assert there.content == Content()
        assert there.counter == number + 2


def test_one_body_serves_several_devices(alice: Phone) -> None:
    tablet, phone = Phone(BOB), Phone(BOB)
    body = Body.of(MessageId.random(), Content.of(Text("to all")).encode())
    for device in (tablet, phone):
        arrived = Line.open(alice, device).send(body=body)
        assert arrived.body == body.encrypted
        assert Reader(device, {}).read(arrived, alice).content.get(Text) == Text("to all")


def test_the_outbox_seals_the_same_message_again(alice: Phone, line: Line, reader: Reader) -> None:
    body = line.body(Text("once"))
    header = write(line.session, body, Route(alice.party, reader.phone.peer), counter=1, sent_at=NOW)
    kept = Header.decode(header.encode())
    assert kept == header
    for envelope in (EnvelopeId.at(NOW), EnvelopeId.at(NOW + 1)):
        sealed = seal(
            kept,
            recipient=reader.phone.device.id,
            to=reader.phone.seal_key,
            envelope=envelope,
            body=body.digest,
        )
        claim = reader.claim(Arrived(envelope, reader.phone.seal_key.key_id, sealed, body.encrypted))
        assert claim.message == header.message


def test_a_stranger_introduces_itself(alice: Phone, bob: Phone, line: Line, reader: Reader) -> None:
    card = Introduction(alice.seal_key.encode(), (alice.manifest.encode(),))
    unplaced = reader.unplaced(line.send(Text("hello"), card))
    assert unplaced.introduction == card
    manifest = verify_chain(unplaced.claimed.account, unplaced.introduction.manifests).newest
    opened = unplaced.place(manifest)
    assert opened.content.get(Text) == Text("hello")
    assert PrekeyCheck(alice.owner, NOW).seal(card.seal) == alice.seal_key


def test_a_session_with_another_device_is_not_used(alice: Phone, bob: Phone, line: Line) -> None:
    other = Phone(MALLORY).peer
    with pytest.raises(ValueError, match="another device"):
        write(line.session, line.body(), Route(alice.party, other), counter=1, sent_at=NOW)
    message = line.session.encrypt(b"")
    assert isinstance(message, PrekeyMessage)
    assert message.inside.index == 0, "the session has moved"


# --- refused at the seal


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_flipped_bit_anywhere_is_refused(data: st.DataObject) -> None:
    line = Line.open(*PHONES, fallback=True)
    sent = line.send(Text("hello"))
    raw = bytearray(sent.envelope + sent.header + sent.body)
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    at = len(sent.header) + 16
    changed = Arrived(EnvelopeId(bytes(raw[:16])), sent.seal_key_id, bytes(raw[16:at]), bytes(raw[at:]))
    assert refused(lambda: Reader(line.recipient, {}).claim(changed)) is EnvelopeFault.SEAL


PHONES = Phone(ALICE), Phone(BOB)


def test_bodies_cannot_be_swapped(line: Line, reader: Reader) -> None:
    one, other = line.send(Text("one")), line.send(Text("two"))
    assert refused(lambda: reader.claim(replace(one, body=other.body))) is EnvelopeFault.SEAL
    assert refused(lambda: reader.claim(replace(one, envelope=other.envelope))) is EnvelopeFault.SEAL
    assert refused(lambda: reader.claim(replace(one, seal_key_id=8))) is EnvelopeFault.SEAL


def test_another_device_cannot_open_it(alice: Phone, line: Line) -> None:
    arrived = line.send(Text("hello"))
    assert refused(lambda: Reader(alice, {}).claim(arrived)) is EnvelopeFault.SEAL


# --- refused at the ratchet


def test_a_repeat_is_refused(alice: Phone, line: Line, reader: Reader) -> None:
    first = line.send(Text("hello"))
    reader.read(first, alice)
    assert refused(lambda: reader.read(first, alice)) is EnvelopeFault.RATCHET


def test_a_normal_message_needs_its_session(alice: Phone, bob: Phone, line: Line, reader: Reader) -> None:
    reader.read(line.send(), alice)
    answer = Line(bob, alice, reader.sessions[line.session.hash]).send(Text("answer"))
    assert refused(lambda: Reader(alice, {}).read(answer, bob)) is EnvelopeFault.NO_SESSION


def test_a_message_of_another_session_is_not_taken_for_this_one(
    alice: Phone, line: Line, reader: Reader
) -> None:
    other = Line.open(alice, reader.phone)
    proof = reader.decrypt(reader.claim(other.send(Text("other"))))
    claim = reader.claim(line.send(Text("this")))
    assert refused(lambda: open_letter(claim, proof, reader.phone.party)) is EnvelopeFault.WRONG_SESSION


# --- refused inside: a writer with a session of its own who lies in one field


def party(inner: Inner, side: str, **changes: object) -> bytes:
    return replace(inner, **{side: replace(getattr(inner, side), **changes)}).encode()


LIES: dict[str, tuple[Callable[[Inner], bytes], EnvelopeFault]] = {
    "another version": (lambda inner: b"\2" + inner.encode()[1:], EnvelopeFault.INNER),
    "a byte less": (lambda inner: inner.encode()[:-1], EnvelopeFault.INNER),
    "a byte more": (lambda inner: inner.encode() + b"\0", EnvelopeFault.INNER),
    "a time of 2^63": (lambda inner: inner.encode()[:-1] + b"\x80", EnvelopeFault.INNER),
    "another recipient's account": (
        lambda inner: party(inner, "recipient", account=MALLORY.account),
        EnvelopeFault.WRONG_RECIPIENT,
    ),
    "another recipient's device": (
        lambda inner: party(inner, "recipient", device=DeviceId(bytes(16))),
        EnvelopeFault.WRONG_RECIPIENT,
    ),
    "another sender's account": (
        lambda inner: party(inner, "sender", account=MALLORY.account),
        EnvelopeFault.WRONG_SENDER,
    ),
    "another sender's device": (
        lambda inner: party(inner, "sender", device=DeviceId(bytes(16))),
        EnvelopeFault.WRONG_SENDER,
    ),
    "another body": (
        lambda inner: replace(inner, body=Body.of(inner.message, b"").digest).encode(),
        EnvelopeFault.WRONG_BODY,
    ),
    "another body key": (
        lambda inner: replace(inner, key=BodyKey(bytes(32))).encode(),
        EnvelopeFault.BODY_KEY,
    ),
    "another message id": (
        lambda inner: replace(inner, message=MessageId(bytes(16))).encode(),
        EnvelopeFault.BODY,
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_every_field_is_compared(lie: str, line: Line, reader: Reader) -> None:
    change, fault = LIES[lie]
    assert refused(lambda: reader.unplaced(lying(line, change))) is fault


def test_the_truth_passes(alice: Phone, line: Line, reader: Reader) -> None:
    assert reader.read(lying(line, Inner.encode), alice).content.get(Text) == Text("hello")


def test_nobody_can_write_in_anothers_name(alice: Phone, bob: Phone, reader: Reader) -> None:
    """Mallory has a session with Bob like anybody, and says in header and record that she is Alice."""
    mallory = Line.open(Phone(MALLORY), bob)
    as_alice = lying(mallory, lambda inner: replace(inner, sender=alice.party).encode(), claimed=alice.party)
    unplaced = reader.unplaced(as_alice)
    assert unplaced.claimed == alice.party
    assert refused(lambda: unplaced.place(alice.manifest)) is EnvelopeFault.WRONG_DEVICE
    assert refused(lambda: unplaced.place(mallory.sender.manifest)) is EnvelopeFault.WRONG_ACCOUNT


def test_a_header_that_claims_another_is_refused(alice: Phone, bob: Phone, reader: Reader) -> None:
    mallory = Line.open(Phone(MALLORY), bob)
    arrived = lying(mallory, Inner.encode, claimed=alice.party)
    assert refused(lambda: reader.unplaced(arrived)) is EnvelopeFault.WRONG_SENDER


def test_two_contents_in_one_body_are_refused(line: Line, reader: Reader) -> None:
    body = Body.of(MessageId.random(), b"\2nonsense")
    assert refused(lambda: reader.unplaced(line.send(body=body))) is EnvelopeFault.CONTENT


# --- manifests


def test_a_device_of_an_older_manifest_is_marked(alice: Phone, line: Line, reader: Reader) -> None:
    unplaced = reader.unplaced(line.send(Text("on its way")))
    other = Hand(9).joins(ALICE.account)
    newer = next_manifest(alice.manifest, ALICE.secret, [other])
    assert refused(lambda: unplaced.place(newer)) is EnvelopeFault.WRONG_DEVICE
    opened = unplaced.place(newer, [alice.device])
    assert opened.is_removed
    assert opened.their_manifest_differs


def test_a_writer_who_knows_an_old_manifest_of_ours(line: Line, reader: Reader, alice: Phone) -> None:
    arrived = line.send(Text("hello"))
    phone = reader.phone
    phone.manifest = next_manifest(phone.manifest, BOB.secret, [phone.device, Hand(9).joins(BOB.account)])
    opened = reader.read(arrived, alice)
    assert opened.our_manifest_differs
    assert not opened.their_manifest_differs


def test_id_and_key_must_be_of_one_listed_device(alice: Phone, bob: Phone, reader: Reader) -> None:
    unplaced = reader.unplaced(Line.open(alice, bob).send(Text("hello")))
    impostor = Phone(ALICE).device
    for swapped in (
        replace(alice.device, dh_key=impostor.dh_key),
        replace(alice.device, signing_key=impostor.signing_key),
    ):
        other = replace(alice.manifest, devices=(swapped,))
        assert refused(functools.partial(unplaced.place, other)) is EnvelopeFault.WRONG_DEVICE


def test_nothing_private_is_printed(alice: Phone, line: Line, reader: Reader) -> None:
    arrived = line.send(Text("a secret"))
    claim = reader.claim(arrived)
    unplaced = open_letter(claim, reader.decrypt(claim), reader.phone.party)
    for value in (arrived, claim, unplaced, unplaced.place(alice.manifest)):
        assert "a secret" not in repr(value)
    assert isinstance(Peer.of(alice.manifest, alice.device), Peer)
