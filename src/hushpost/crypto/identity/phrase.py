"""The recovery phrase: 160 random bits on paper, as eight groups of five letters and digits.

Base32 instead of words: it needs no list that both ends must share for decades, in no language, and it is
shorter than a phrase of words that holds as much. Normative text: docs/spec/keys.md, "The recovery phrase".
"""

from __future__ import annotations

import base64
import binascii
from typing import ClassVar

from hushpost.crypto.identity.keys import RecoverySecret
from hushpost.crypto.primitives import Label, Secret, derive, digest, equal
from hushpost.errors import PhraseError

CHECK_SIZE = 5
"""40 bits: one slip in 10^12 passes."""

GROUP = 5
LOOKALIKES = str.maketrans({"0": "O", "1": "I", "8": "B", "-": "", " ": "", "\t": "", "\n": "", "\r": ""})
"""Base32 has none of these digits, so whoever writes one means the letter; separators do not count."""

MAX_TYPED = 200
"""Characters that are looked at: five times a phrase."""


class RecoverySeed(Secret):
    """What the phrase spells: 20 bytes, enough for 2^80 accounts to be attacked at once and none found."""

    __slots__ = ()
    SIZE: ClassVar[int] = 20

    @property
    def secret(self) -> RecoverySecret:
        """The signing key that it stands for."""
        return RecoverySecret(derive(Label.RECOVERY_KEY, self))


def format_phrase(seed: RecoverySeed) -> str:
    """Forty characters in eight groups, joined by hyphens. Shown once, kept nowhere."""
    text = base64.b32encode(seed + _check(seed)).decode()
    return "-".join(text[at : at + GROUP] for at in range(0, len(text), GROUP))


def parse_phrase(text: str) -> RecoverySeed:
    """Read what a person typed: either case, any spacing, 0 for O, 1 for I, 8 for B.

    Raises:
        PhraseError: the length or the check does not fit. It does not say where, nor repeat anything.
    """
    if len(text) > MAX_TYPED:
        raise PhraseError("the recovery phrase is too long")
    try:
        raw = base64.b32decode(text.upper().translate(LOOKALIKES).encode("ascii"))
    except (binascii.Error, UnicodeEncodeError):
        raise _slip() from None
    if len(raw) != RecoverySeed.SIZE + CHECK_SIZE:
        raise _slip()
    seed = RecoverySeed(raw[: RecoverySeed.SIZE])
    if not equal(raw[RecoverySeed.SIZE :], _check(seed)):
        raise _slip()
    return seed


def _check(seed: RecoverySeed) -> bytes:
    return digest(Label.RECOVERY_CHECK, seed)[:CHECK_SIZE]


def _slip() -> PhraseError:
    return PhraseError(
        "this is not a recovery phrase, or there is a slip in it",
        hint="it has eight groups of five letters and digits; compare each with the paper",
    )
