"""An Olm message has one spelling, and the library's own messages have it."""

from __future__ import annotations

from base64 import b64decode

import pytest
import vodozemac
from hypothesis import given
from hypothesis import strategies as st

from hushpost.crypto.olm import NormalMessage, OlmType, PrekeyMessage, SessionHash, decode_olm
from hushpost.crypto.primitives import LOW_ORDER_X25519, P
from tests.crypto.pair import Line, Phone
from tests.crypto.people import ALICE, BOB

SENDER, RECIPIENT = Phone(ALICE), Phone(BOB)
LINE = Line.open(SENDER, RECIPIENT)
FIRST = PrekeyMessage.decode(LINE.session.encrypt(bytes(257)).encoded)
RAW = FIRST.encoded
INSIDE = FIRST.inside.encoded

KEYS = {"one-time": 3, "base": 37, "identity": 71}
"""Where the keys of a prekey message begin."""


def put(raw: bytes, at: int, new: bytes) -> bytes:
    return raw[:at] + new + raw[at + len(new) :]


def around(inside: bytes, size: bytes | None = None) -> bytes:
    """The prekey message with another message inside."""
    if size is None:
        size = bytes([len(inside) & 0x7F | 0x80, len(inside) >> 7])
    return RAW[:103] + b"\x22" + size + inside


PREKEY_CHANGES: dict[str, bytes] = {
    "empty": b"",
    "another version": b"\4" + RAW[1:],
    "an extra field in front": b"\3\x28\1" + RAW[1:],
    "an extra field behind": RAW + b"\x28\1",
    "a byte behind the end": RAW + b"\0",
    "cut short": RAW[:-1],
    "the keys in another order": RAW[:1] + RAW[35:69] + RAW[1:35] + RAW[69:],
    "the first key twice": RAW[:35] + RAW[1:35] + RAW[35:],
    "a key of 31 bytes": RAW[:2] + b"\x1f" + RAW[3:34] + RAW[35:],
    "a size in more bytes than it takes": put(RAW, 2, b"\xa0\x00")[:4] + RAW[3:],
    "the message's size in more bytes": around(INSIDE, b"\xc0\x82\x00"),
    "the message's size too large": around(INSIDE, b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
    "another version inside": around(b"\4" + INSIDE[1:]),
    "an extra field inside": around(INSIDE[:1] + b"\x28\1" + INSIDE[1:]),
    "nothing inside": around(b"", b"\0"),
}

NORMAL_CHANGES: dict[str, bytes] = {
    "empty": b"",
    "another version": b"\4" + INSIDE[1:],
    "an index in more bytes than it takes": INSIDE[:36] + b"\x80\x00" + INSIDE[37:],
    "an index of 2^63": INSIDE[:36] + b"\x80" * 9 + b"\x01" + INSIDE[37:],
    "bytes behind the MAC": INSIDE + b"\0",
    "cut short": INSIDE[:-1],
    "no ciphertext": INSIDE[:37] + b"\x22\0" + bytes(8),
    "half a block": INSIDE[:37] + b"\x22\x08" + bytes(16),
    "fields in another order": INSIDE[:1] + INSIDE[35:37] + INSIDE[1:35] + INSIDE[37:],
    "a ratchet key with bit 255": put(INSIDE, 34, bytes([INSIDE[34] | 0x80])),
}


def test_the_librarys_own_messages_are_strict() -> None:
    assert decode_olm(OlmType.PREKEY, RAW) == FIRST
    assert (len(RAW), len(INSIDE)) == (426, 320)
    RECIPIENT.olm.accept(FIRST, remembered=frozenset())
    for _ in range(300):
        message = LINE.session.encrypt(bytes(257))
        assert decode_olm(OlmType.PREKEY, message.encoded) == message


def test_a_session_is_called_what_the_library_calls_it() -> None:
    assert FIRST.session == LINE.session.hash
    theirs = vodozemac.AnyOlmMessage.from_parts(0, RAW).to_pre_key()
    assert theirs is not None
    assert FIRST.session == SessionHash.of(b64decode(theirs.session_id() + "="))


@pytest.mark.parametrize("change", PREKEY_CHANGES)
def test_another_spelling_of_a_prekey_message_is_refused(change: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        PrekeyMessage.decode(PREKEY_CHANGES[change])


@pytest.mark.parametrize("change", NORMAL_CHANGES)
def test_another_spelling_of_a_normal_message_is_refused(change: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        NormalMessage.decode(NORMAL_CHANGES[change])
    with pytest.raises(ValueError, match=r"."):
        PrekeyMessage.decode(around(NORMAL_CHANGES[change]))


def test_the_library_takes_spellings_that_we_refuse() -> None:
    """Why there is a reader of our own. Should this fail one day, the library has become strict."""
    for name in ("an extra field behind", "the keys in another order", "the first key twice"):
        vodozemac.AnyOlmMessage.from_parts(0, PREKEY_CHANGES[name])


@pytest.mark.parametrize("which", KEYS)
def test_keys_have_one_spelling_and_a_large_order(which: str) -> None:
    at = KEYS[which]
    key = int.from_bytes(RAW[at : at + 32], "little")
    bad = [key | 2**255, *LOW_ORDER_X25519, P, P + 1, 2**256 - 1]
    for number in bad:
        with pytest.raises(ValueError, match="not a usable"):
            PrekeyMessage.decode(put(RAW, at, number.to_bytes(32, "little")))


@given(st.integers(0, 8 * 426 - 1))
def test_a_flipped_bit_is_refused_or_another_message(bit: int) -> None:
    raw = bytearray(RAW)
    raw[bit // 8] ^= 1 << bit % 8
    try:
        assert PrekeyMessage.decode(bytes(raw)) != FIRST
    except ValueError:
        return


@given(st.binary(max_size=60))
def test_whatever_comes_is_a_message_or_a_value_error(tail: bytes) -> None:
    for kind, head in ((OlmType.PREKEY, RAW[:103]), (OlmType.NORMAL, INSIDE[:35])):
        try:
            decode_olm(kind, head + tail)
        except ValueError:
            continue
