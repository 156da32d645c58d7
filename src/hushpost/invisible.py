"""Characters that leave no mark, whatever kind Unicode takes them for.

Whoever reads a name does not see that they are there, so two names that look the same would be two names, and
a name could be made of nothing.
"""

from __future__ import annotations

_RANGES = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)
"""Unicode's property Default_Ignorable_Code_Point, which the standard library does not know."""

BRAILLE_BLANK = "\u2800"
"""A symbol with nothing on it."""

INVISIBLE = frozenset(chr(code) for first, last in _RANGES for code in range(first, last + 1)) | {
    BRAILLE_BLANK
}
