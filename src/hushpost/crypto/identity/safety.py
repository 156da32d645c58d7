"""The safety number: sixty digits that two people compare to know that nobody stands between them.

The algorithm is Signal's numeric fingerprint, version 0, so that it can be checked against a published
vector. Normative text: docs/spec/keys.md, section "Safety number".
"""

from __future__ import annotations

import hashlib

from hushpost.crypto.identity.keys import AccountFingerprint, AccountKey

ROUNDS = 5200
"""Each attempt at a key whose digits look alike costs an attacker as many hashes."""


def safety_number(
    our_key: AccountKey,
    our_account: AccountFingerprint,
    their_key: AccountKey,
    their_account: AccountFingerprint,
) -> str:
    """Sixty digits, the same on both sides. They change when an account key is replaced."""
    return joined(half(our_key, our_account), half(their_key, their_account))


def joined(one: str, other: str) -> str:
    """Two halves in the order that both sides agree on without asking."""
    return "".join(sorted((one, other)))


def half(key: bytes, name: bytes) -> str:
    """Thirty digits for one party: 30 bytes of an iterated SHA-512, each five of them modulo 100,000."""
    state = b"\x00\x00" + key + name
    for _ in range(ROUNDS):
        state = hashlib.sha512(state + key).digest()
    groups = (int.from_bytes(state[at : at + 5], "big") % 100_000 for at in range(0, 30, 5))
    return "".join(f"{group:05}" for group in groups)
