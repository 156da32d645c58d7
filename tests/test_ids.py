"""Ids are values of a type of their own, with one spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.ids import AccountId, BlobId, EnvelopeId, FixedBytes, MailboxId

KINDS = (AccountId, MailboxId, BlobId, EnvelopeId)
raw16 = st.binary(min_size=16, max_size=16)


@given(st.sampled_from(KINDS), raw16)
def test_text_and_bytes_go_both_ways(kind: type[FixedBytes], raw: bytes) -> None:
    value = kind(raw)
    assert bytes(value) == raw
    assert str(value) == raw.hex()
    assert repr(value) == f"{kind.__name__}({raw.hex()})"
    assert kind.parse(str(value)) == kind.parse(str(value).upper()) == value
    assert type(kind.parse(str(value))) is kind


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_another_length_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        AccountId(bytes(size))
    with pytest.raises(ValueError, match="16 bytes"):
        AccountId.parse("00" * size)


@pytest.mark.parametrize("text", ["", "zz" * 16, "0" * 31, "é" * 32])
def test_what_is_not_hexadecimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"hexadecimal|16 bytes"):
        BlobId.parse(text)


def test_random_ids_differ_and_have_their_type() -> None:
    ids = {MailboxId.random() for _ in range(100)}
    assert len(ids) == 100
    assert {type(value) for value in ids} == {MailboxId}


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_envelope_ids_carry_their_time_and_sort_by_it(first: int, second: int) -> None:
    one, other = EnvelopeId.at(first), EnvelopeId.at(second)
    assert (one.seconds, other.seconds) == (first, second)
    if first != second:
        assert (one < other) == (first < second)
    assert EnvelopeId.at(first) != one, "the other twelve bytes are random"
