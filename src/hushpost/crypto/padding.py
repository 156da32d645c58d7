"""Padding of contents: what can be read off a body's size is one of few steps.

    content | 80 | 00 ... 00

up to 160 x 2^k bytes, k from 0 to 7, and above 20,480 bytes up to the next size that PADME allows, which adds
at most an eighth. Normative text: docs/spec/envelope.md, section "Padding".
"""

from __future__ import annotations

SMALLEST = 160
"""Bytes. Most texts that people write, and receipts, are one size."""

LAST_DOUBLED = SMALLEST * 2**7
"""20,480 bytes. From here on doubling would cost too much."""

MARK = b"\x80"


def padded_size(size: int) -> int:
    """What a content of so many bytes is padded to."""
    least = size + len(MARK)
    if least <= LAST_DOUBLED:
        step = SMALLEST
        while step < least:
            step *= 2
        return step
    return padme(least)


def padme(size: int) -> int:
    """The next size, of 1 and more, that has as few significant bits as it takes to write its exponent."""
    exponent = size.bit_length() - 1
    unit = 1 << (exponent - exponent.bit_length())
    return -(-size // unit) * unit


def pad(content: bytes) -> bytes:
    """The content with its padding."""
    return (content + MARK).ljust(padded_size(len(content)), b"\0")


def unpad(padded: bytes) -> bytes:
    """Undo `pad`. There is one padding for each content.

    Raises:
        ValueError: no mark, something behind it, or a size that `pad` does not give.
    """
    content, mark, zeros = padded.rpartition(MARK)
    if not mark or zeros.strip(b"\0") or padded_size(len(content)) != len(padded):
        raise ValueError("the padding is not as it should be")
    return content
