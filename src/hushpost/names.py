"""Which names an account may have. One rule for the manifest, the wire and the server.

A name is 2 to 254 bytes of UTF-8 in normal form C. It holds no control or format character (they forge
lines, turn the reading direction, or cannot be seen), nothing else that is invisible, no surrogate or
private-use character, and of all the spaces only U+0020, never at an end: two names that look the same should
be the same bytes.
"""

from __future__ import annotations

import unicodedata

from hushpost.invisible import INVISIBLE

MIN_NAME_BYTES = 2
MAX_NAME_BYTES = 254
"""As many as a classic name field holds, so that a person can keep the same name in both worlds."""

FORBIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp", "Zs"})
"""Unicode categories. Unassigned characters (Cn) pass: whoever has older tables must not refuse a name
that is fine for everybody else."""


def check_name(name: str) -> None:
    """Accept what an account may be called.

    Raises:
        ValueError: the first rule that it breaks; the text does not repeat the name.
    """
    check_name_part(name)
    if len(name.encode()) < MIN_NAME_BYTES:
        raise ValueError(f"a name has at least {MIN_NAME_BYTES} bytes")
    if name[0] == " " or name[-1] == " ":
        raise ValueError("a name neither begins nor ends with a space")


def check_name_part(part: str) -> None:
    """Accept what a name may begin with, nothing included: what a directory is searched for.

    Raises:
        ValueError: no name begins like this.
    """
    if part.isascii():  # the common case needs no tables
        if not part.isprintable():
            raise ValueError("a name has no control characters")
    elif any(unicodedata.category(each) in FORBIDDEN for each in part if each != " "):
        raise ValueError("a name has no control or format characters, and no spaces but U+0020")
    elif not INVISIBLE.isdisjoint(part):
        raise ValueError("a name has no characters that cannot be seen")
    elif not unicodedata.is_normalized("NFC", part):
        raise ValueError("a name is in Unicode normal form C")
    if len(part.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"a name has at most {MAX_NAME_BYTES} bytes")
