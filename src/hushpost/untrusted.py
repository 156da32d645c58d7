"""What strangers send, made harmless: names become file names, texts become lines of a terminal."""

from __future__ import annotations

import unicodedata

from hushpost.invisible import INVISIBLE

MAX_STEM_BYTES = 120
"""Leaves room in a file name's 255 bytes for the message id, a counter and the suffix."""

JOINERS = "\u200c\u200d"
"""Invisible, but part of how Persian and some emoji are written, and harmless."""


EMOJI_STYLE = "\ufe0f"
"""Asks for the symbol before it in colours, and stands in most texts that have one."""

KEYCAP = "\u20e3"
"""A frame around the character before it, with `EMOJI_STYLE` in between."""


def file_stem(name: str, fallback: str) -> str:
    """A name as the beginning of a file name: letters, digits, `-` and `_`; the rest becomes `_`.

    So there is nothing left of separators, dots, control characters, quotes, or the names and
    characters that some systems reserve. `fallback` stands in where nothing is left.
    """
    stem = "".join(char if char.isalnum() or char in "-_" else "_" for char in name).strip("-_")
    return stem.encode(errors="ignore")[:MAX_STEM_BYTES].decode(errors="ignore") or fallback


def printable(text: str) -> str:
    """One line for a terminal: control characters, escapes, text direction marks and whatever else cannot be
    seen are shown as codes.

    Otherwise a name could move the cursor, colour what follows, pretend to be another line, or look like
    another name.
    """
    if text.isascii() and text.isprintable():  # the common case
        return text
    return "".join(char if _is_seen(text, place) else _code(char) for place, char in enumerate(text))


def printable_lines(text: str, indent: str = "    ") -> str:
    """A text of several lines, each escaped and indented: none can pass for a line of ours."""
    return "\n".join(indent + printable(line) for line in text.replace("\r\n", "\n").split("\n"))


def _code(char: str) -> str:
    number = ord(char)
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def _is_seen(text: str, place: int) -> bool:
    """Whether this character leaves a mark, or belongs to one that does."""
    char = text[place]
    if char == EMOJI_STYLE:
        before, after = text[max(place - 1, 0) : place], text[place + 1 : place + 2]
        return after == KEYCAP or (before != "" and unicodedata.category(before).startswith("S"))
    return char in JOINERS or (char.isprintable() and char not in INVISIBLE)
