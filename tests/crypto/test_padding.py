"""Few sizes, one padding for each content, and nothing else is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.crypto.padding import LAST_DOUBLED, SMALLEST, pad, padded_size, padme, unpad

contents = st.one_of(
    st.binary(max_size=700),
    st.integers(0, 60_000).map(bytes),
    st.binary(max_size=9).map(lambda tail: bytes(20_470) + tail),
)


@given(contents)
def test_what_was_padded_comes_back(content: bytes) -> None:
    padded = pad(content)
    assert len(padded) == padded_size(len(content)) > len(content)
    assert unpad(padded) == content


@given(st.integers(0, 2**40))
def test_sizes_never_shrink_and_cost_little(size: int) -> None:
    padded = padded_size(size)
    assert padded_size(size + 1) >= padded > size
    assert padded_size(padded - 1) == padded, "the largest content of a step has the step's size"
    if padded > LAST_DOUBLED:
        assert padded <= (size + 1) * 1.125
    elif padded > SMALLEST:
        assert padded < 2 * (size + 1)


@pytest.mark.parametrize(
    ("size", "padded"),
    [
        (0, 160),
        (159, 160),
        (160, 320),
        (20_479, 20_480),
        (20_480, 21_504),
        (21_503, 21_504),
        (21_504, 22_528),
        (32_767, 32_768),
        (32_768, 34_816),
        (258_047, 258_048),
    ],
)
def test_the_steps(size: int, padded: int) -> None:
    assert padded_size(size) == padded


@pytest.mark.parametrize(
    ("size", "padded"),
    [(1, 1), (2, 2), (9, 10), (255, 256), (257, 272), (65_537, 67_584), (2**40 + 1, 2**40 + 2**34)],
)
def test_the_steps_of_padme(size: int, padded: int) -> None:
    assert padme(size) == padded == padme(padded)


@pytest.mark.parametrize(
    "padded",
    [
        b"",
        bytes(160),
        b"\x80",
        b"x\x80" + bytes(157),
        b"x\x80" + bytes(159),
        b"x\x80" + bytes(157) + b"\1",
        b"x\x80" + bytes(318),
        b"x" * 160,
        b"x" * 320 + b"\x80" + bytes(1_000),
    ],
)
def test_anything_else_is_refused(padded: bytes) -> None:
    with pytest.raises(ValueError, match="padding"):
        unpad(padded)


@given(contents, st.data())
def test_no_other_bytes_unpad_to_the_same_content(content: bytes, data: st.DataObject) -> None:
    changed = bytearray(pad(content))
    at = data.draw(st.integers(len(content), len(changed) - 1))
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        assert unpad(bytes(changed)) != content
    except ValueError:
        return
