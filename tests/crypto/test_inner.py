"""The inner record has one size and one spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.crypto.body import BodyDigest, BodyKey
from hushpost.crypto.identity import AccountFingerprint, ManifestHash
from hushpost.crypto.inner import Inner, Party
from hushpost.ids import DeviceId, MessageId


def some(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


parties = st.builds(
    Party, some(32).map(AccountFingerprint), some(16).map(DeviceId), some(32).map(ManifestHash)
)
numbers = st.integers(0, 2**63 - 1)
inners = st.builds(
    Inner,
    some(32).map(BodyKey),
    some(32).map(BodyDigest),
    parties,
    parties,
    some(16).map(MessageId),
    numbers,
    numbers,
)


@given(inners)
def test_it_reads_as_it_was_written(inner: Inner) -> None:
    assert len(inner.encode()) == Inner.SIZE
    assert Inner.decode(inner.encode()) == inner


@given(inners, st.integers(0, Inner.SIZE - 1))
def test_every_byte_means_something(inner: Inner, at: int) -> None:
    raw = bytearray(inner.encode())
    raw[at] ^= 1
    try:
        assert Inner.decode(bytes(raw)) != inner
    except ValueError:
        assert at == 0


@given(inners)
def test_other_sizes_versions_and_numbers_are_refused(inner: Inner) -> None:
    raw = inner.encode()
    for changed in (b"", raw[:-1], raw + b"\0", b"\2" + raw[1:], raw[:-1] + b"\x80"):
        with pytest.raises(ValueError, match=r"short|behind|version|2\^63"):
            Inner.decode(changed)


@given(inners)
def test_its_key_is_not_printed(inner: Inner) -> None:
    assert "key=BodyKey(redacted)" in repr(inner)
