"""A body opens with its key and message id alone, and to one content only."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.crypto.body import MAX_BODY, MAX_CONTENT, Body, BodyDigest, BodyKey, encrypted_size, open_body
from hushpost.crypto.content import MANIFEST_BOUND
from hushpost.crypto.faults import EnvelopeFault
from hushpost.crypto.primitives import Label, seal, transcript
from hushpost.crypto.seal import HEADER_SIZE
from hushpost.errors import EnvelopeError
from hushpost.ids import MessageId
from hushpost.wire import limits

KEY, MESSAGE = BodyKey(bytes(range(32))), MessageId(bytes(range(16)))
OTHER_KEY, OTHER_MESSAGE = BodyKey(bytes(32)), MessageId(bytes(16))


def refused(call: Callable[[], object]) -> EnvelopeFault:
    with pytest.raises(EnvelopeError) as caught:
        call()
    assert isinstance(caught.value.reason, EnvelopeFault)
    return caught.value.reason


@given(st.binary(max_size=2_000))
def test_what_was_encrypted_comes_back(content: bytes) -> None:
    made = Body.of(MESSAGE, content)
    assert open_body(made.key, MESSAGE, made.encrypted) == content
    assert len(made.encrypted) == encrypted_size(len(content))
    assert made.digest == BodyDigest.of(made.encrypted)
    assert Body.of(MESSAGE, content).encrypted != made.encrypted


@given(st.integers(0, 8 * 208 - 1))
def test_every_flipped_bit_is_noticed(bit: int) -> None:
    raw = bytearray(Body.under(KEY, MESSAGE, b"hello").encrypted)
    raw[bit // 8] ^= 1 << bit % 8
    fault = EnvelopeFault.BODY_KEY if bit < 256 else EnvelopeFault.BODY
    assert refused(lambda: open_body(KEY, MESSAGE, bytes(raw))) is fault


def test_the_key_and_the_message_are_bound() -> None:
    raw = Body.under(KEY, MESSAGE, b"hello").encrypted
    assert refused(lambda: open_body(OTHER_KEY, MESSAGE, raw)) is EnvelopeFault.BODY_KEY
    assert refused(lambda: open_body(KEY, OTHER_MESSAGE, raw)) is EnvelopeFault.BODY


@pytest.mark.parametrize("size", [0, 31, 32, 47, 48, 207, 209])
def test_other_sizes_are_refused(size: int) -> None:
    raw = Body.under(KEY, MESSAGE, b"hello").encrypted.ljust(size, b"\0")[:size]
    fault = EnvelopeFault.BODY_KEY if size < 32 else EnvelopeFault.BODY
    assert refused(lambda: open_body(KEY, MESSAGE, raw)) is fault


def test_a_body_without_proper_padding_is_refused() -> None:
    about = transcript(Label.BODY, MESSAGE)
    raw = Body.under(KEY, MESSAGE, b"").encrypted[:32] + seal(KEY, bytes(12), bytes(160), about)
    assert refused(lambda: open_body(KEY, MESSAGE, raw)) is EnvelopeFault.PADDING


def test_the_largest_content_fits_exactly_into_an_envelope() -> None:
    made = Body.of(MESSAGE, bytes(MAX_CONTENT))
    assert len(made.encrypted) <= MAX_BODY < encrypted_size(MAX_CONTENT + 1)
    with pytest.raises(ValueError, match="larger than"):
        Body.of(MESSAGE, bytes(MAX_CONTENT + 1))


def test_the_sizes_are_those_of_the_wire() -> None:
    assert MAX_BODY == limits.MAX_BODY
    assert HEADER_SIZE == limits.HEADER_SIZE
    assert MANIFEST_BOUND == limits.MAX_MANIFEST


def test_nothing_secret_is_printed() -> None:
    made = Body.under(KEY, MESSAGE, b"hello")
    assert KEY.hex() not in repr(made)
    assert made.encrypted.hex() not in repr(made)
    assert "encrypted" not in repr(made)
