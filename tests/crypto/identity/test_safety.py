"""The safety number is Signal's algorithm, and the same on both sides."""

from __future__ import annotations

import pytest

from hushpost.crypto.identity import AccountSecret, safety_number
from hushpost.crypto.identity.safety import half, joined
from tests.crypto.people import ALICE, BOB

SIGNAL_A = bytes.fromhex("0506863bc66d02b40d27b8d49ca7c09e9239236f9d7d25d6fcca5ce13c7064d868")
SIGNAL_B = bytes.fromhex("05f781b6fb32fed9ba1cf2de978d4d5da28dc34046ae814402b5c0dbd96fda907b")
PUBLISHED = "300354477692869396892869876765458257569162576843440918079131"
"""Keys, ids and number of the numeric fingerprint test in libsignal's Java and Rust test suites."""


def test_the_published_vector() -> None:
    assert joined(half(SIGNAL_A, b"+14152222222"), half(SIGNAL_B, b"+14153333333")) == PUBLISHED
    assert joined(half(SIGNAL_B, b"+14153333333"), half(SIGNAL_A, b"+14152222222")) == PUBLISHED
    assert half(SIGNAL_A, b"+14152222222") == PUBLISHED[:30]


@pytest.mark.parametrize("changed", ["key", "account"])
def test_both_sides_see_the_same_and_a_change_shows(changed: str) -> None:
    alice, bob = (ALICE.secret.public, ALICE.account), (BOB.secret.public, BOB.account)
    number = safety_number(*alice, *bob)
    assert number == safety_number(*bob, *alice)
    assert len(number) == 60
    assert number.isdecimal()
    key = AccountSecret(bytes(32)).public if changed == "key" else bob[0]
    account = ALICE.account if changed == "account" else bob[1]
    assert safety_number(*alice, key, account) != number
