"""A header opens with the right key, for the right device, envelope and body, and in one spelling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushpost.crypto.body import BodyDigest
from hushpost.crypto.faults import EnvelopeFault
from hushpost.crypto.olm import NormalMessage, PrekeyMessage, SessionHash
from hushpost.crypto.primitives import HPKE_OVERHEAD, LOW_ORDER_X25519, P, SealKey, SealOpener, SealSecret
from hushpost.crypto.seal import HEADER_SIZE, PLAIN_SIZE, Binding, Header, open_header, seal_header
from hushpost.errors import EnvelopeError
from hushpost.ids import DeviceId, EnvelopeId
from tests.crypto import hpke
from tests.crypto.pair import Line, Phone
from tests.crypto.people import ALICE, BOB

SENDER, RECIPIENT = Phone(ALICE), Phone(BOB)
SESSION = Line.open(SENDER, RECIPIENT).session
MESSAGE = PrekeyMessage.decode(SESSION.encrypt(bytes(257)).encoded)
HEADER = Header(ALICE.account, SENDER.device.id, SESSION.hash, MESSAGE)
PLAIN = HEADER.encode()
BINDING = Binding(RECIPIENT.device.id, 7, EnvelopeId(bytes(range(16))), BodyDigest(bytes(range(32))))
SEALED = seal_header(HEADER, RECIPIENT.seal_key.key, BINDING)


def refused(call: Callable[[], object]) -> EnvelopeFault:
    with pytest.raises(EnvelopeError) as caught:
        call()
    assert isinstance(caught.value.reason, EnvelopeFault)
    return caught.value.reason


def opened(sealed: bytes = SEALED, binding: Binding = BINDING) -> Header:
    return open_header(sealed, RECIPIENT.opener, binding)


def test_it_opens_and_has_one_size() -> None:
    assert opened() == HEADER
    assert len(SEALED) == HEADER_SIZE == 1_648
    assert len(PLAIN) == PLAIN_SIZE == 512
    assert seal_header(HEADER, RECIPIENT.seal_key.key, BINDING) != SEALED
    normal = Header(ALICE.account, SENDER.device.id, SESSION.hash, MESSAGE.inside)
    assert len(seal_header(normal, RECIPIENT.seal_key.key, BINDING)) == HEADER_SIZE


@pytest.mark.parametrize(
    "binding",
    [
        replace(BINDING, recipient=DeviceId(bytes(16))),
        replace(BINDING, seal_key_id=8),
        replace(BINDING, envelope=EnvelopeId(bytes(16))),
        replace(BINDING, body=BodyDigest(bytes(32))),
    ],
    ids=["device", "seal key id", "envelope", "body"],
)
def test_it_opens_nowhere_else(binding: Binding) -> None:
    assert refused(lambda: opened(binding=binding)) is EnvelopeFault.SEAL


def test_it_opens_for_nobody_else() -> None:
    other = SealOpener(SealSecret(bytes(96)))
    assert refused(lambda: open_header(SEALED, other, BINDING)) is EnvelopeFault.SEAL


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 8 * HEADER_SIZE - 1))
def test_every_flipped_bit_is_noticed(bit: int) -> None:
    raw = bytearray(SEALED)
    raw[bit // 8] ^= 1 << bit % 8
    assert refused(lambda: opened(bytes(raw))) is EnvelopeFault.SEAL


@pytest.mark.parametrize("sealed", [b"", SEALED[:-1], SEALED + b"\0", SEALED[: HPKE_OVERHEAD - 1]])
def test_other_sizes_are_refused(sealed: bytes) -> None:
    assert refused(lambda: opened(sealed)) is EnvelopeFault.SEAL


def test_the_suite_is_the_one_of_the_specification() -> None:
    assert opened(hpke.honest(RECIPIENT.seal_key.key, BINDING.info, PLAIN)) == HEADER


@pytest.mark.parametrize("make", [hpke.with_bit_255, hpke.of_low_order])
def test_a_seal_whose_x25519_half_is_not_a_usable_key_is_refused(
    make: Callable[[SealKey, bytes, bytes], bytes],
) -> None:
    """The first of them opens in the library: the secret was made of the key as it was sent."""
    bad = make(RECIPIENT.seal_key.key, BINDING.info, PLAIN)
    assert refused(lambda: opened(bad)) is EnvelopeFault.SEAL


@pytest.mark.parametrize("number", [*LOW_ORDER_X25519, P, P + 9, 2**255 + 9, 2**256 - 1])
def test_a_bad_x25519_half_is_refused(number: int) -> None:
    bad = SEALED[:1_088] + number.to_bytes(32, "little") + SEALED[1_120:]
    assert refused(lambda: opened(bad)) is EnvelopeFault.SEAL


def put(at: int, new: bytes) -> bytes:
    return PLAIN[:at] + new + PLAIN[at + len(new) :]


FILLED = 68 + len(MESSAGE.encoded)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", EnvelopeFault.HEADER),
        (PLAIN[:-1], EnvelopeFault.HEADER),
        (PLAIN + b"\0", EnvelopeFault.HEADER),
        (put(0, b"\2"), EnvelopeFault.HEADER),
        (put(65, b"\2"), EnvelopeFault.HEADER),
        (put(66, b"\xbd\1"), EnvelopeFault.HEADER),
        (put(FILLED, b"\1"), EnvelopeFault.HEADER),
        (put(511, b"\1"), EnvelopeFault.HEADER),
        (put(65, b"\1"), EnvelopeFault.OLM_MESSAGE),
        (put(66, b"\xab\1"), EnvelopeFault.OLM_MESSAGE),
        (put(66, b"\0\0"), EnvelopeFault.HEADER),
        (put(68 + 34, b"\x80"), EnvelopeFault.OLM_MESSAGE),
        (put(49, bytes(16)), EnvelopeFault.WRONG_SESSION),
    ],
)
def test_what_was_sealed_is_read_strictly(raw: bytes, fault: EnvelopeFault) -> None:
    assert refused(lambda: Header.decode(raw)) is fault
    assert refused(lambda: opened(RECIPIENT.seal_key.key.seal(BINDING.info, raw))) is fault


@given(st.integers(0, 8 * 512 - 1))
def test_a_changed_plaintext_is_refused_or_another_header(bit: int) -> None:
    raw = bytearray(PLAIN)
    raw[bit // 8] ^= 1 << bit % 8
    try:
        assert Header.decode(bytes(raw)) != HEADER
    except EnvelopeError:
        return


def test_the_hash_of_a_normal_message_is_whatever_it_says() -> None:
    """Only the session that opens it can tell; `open_letter` compares."""
    header = Header(ALICE.account, SENDER.device.id, SessionHash(bytes(16)), MESSAGE.inside)
    assert Header.decode(header.encode()) == header


def test_the_longest_olm_message_fits_and_one_more_byte_does_not() -> None:
    room = PLAIN_SIZE - 68
    for size, fits in ((room, True), (room + 1, False)):
        message = NormalMessage(MESSAGE.inside.ratchet_key, 0, bytes(size))
        header = Header(ALICE.account, SENDER.device.id, SESSION.hash, message)
        if fits:
            assert len(header.encode()) == PLAIN_SIZE
            continue
        with pytest.raises(ValueError, match="does not fit"):
            header.encode()
