"""What strangers send, made harmless: names become file names, texts become lines of a terminal."""

from __future__ import annotations

MAX_STEM_BYTES = 120
"""Leaves room in a file name's 255 bytes for the message id, a counter and the suffix."""

JOINERS = "\u200c\u200d"
"""Invisible, but part of how Persian and some emoji are written, and harmless."""


def file_stem(name: str, fallback: str) -> str:
    """A name as the beginning of a file name: letters, digits, `-` and `_`; the rest becomes `_`.

    So there is nothing left of separators, dots, control characters, quotes, or the names and
    characters that some systems reserve. `fallback` stands in where nothing is left.
    """
    stem = "".join(char if char.isalnum() or char in "-_" else "_" for char in name).strip("-_")
    return stem.encode(errors="ignore")[:MAX_STEM_BYTES].decode(errors="ignore") or fallback


def printable(text: str) -> str:
    """One line for a terminal: control characters, escapes and text direction marks are shown as codes.

    Otherwise a name could move the cursor, colour what follows, or pretend to be another line.
    """
    return "".join(char if char.isprintable() or char in JOINERS else _code(char) for char in text)


def printable_lines(text: str, indent: str = "    ") -> str:
    """A text of several lines, each escaped and indented: none can pass for a line of ours."""
    return "\n".join(indent + printable(line) for line in text.replace("\r\n", "\n").split("\n"))


def _code(char: str) -> str:
    number = ord(char)
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
