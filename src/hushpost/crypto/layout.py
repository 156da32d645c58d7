"""Reading the fixed layouts of the specification: every byte is asked for, and none may be left over."""

from __future__ import annotations

MAX_NUMBER = 2**63 - 1
"""Counts, versions, ids and times stay below 2^63: databases know signed numbers only."""


def u8(number: int) -> bytes:
    return number.to_bytes(1, "little")


def u16(number: int) -> bytes:
    return number.to_bytes(2, "little")


def u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def u64(number: int) -> bytes:
    """8 bytes.

    Raises:
        ValueError: negative, or not below 2^63.
    """
    if not 0 <= number <= MAX_NUMBER:
        raise ValueError("a number outside of 0 to 2^63 - 1")
    return number.to_bytes(8, "little")


class Reader:
    """Takes a structure apart from the front. Every method raises ValueError where it does not fit."""

    __slots__ = ("_at", "_raw")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self._at + count
        if end > len(self._raw):
            raise ValueError("the structure is cut short")
        piece = self._raw[self._at : end]
        self._at = end
        return piece

    def u8(self) -> int:
        at = self._at
        if at >= len(self._raw):
            raise ValueError("the structure is cut short")
        self._at = at + 1
        return self._raw[at]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "little")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        number = int.from_bytes(self.take(8), "little")
        if number > MAX_NUMBER:
            raise ValueError("a number of 2^63 or more")
        return number

    def constant(self, expected: int) -> None:
        """A u8 that has one meaning only, such as a version."""
        if self.u8() != expected:
            raise ValueError("a version, suite or kind that we do not know")

    @property
    def left(self) -> int:
        """Bytes that were not taken yet."""
        return len(self._raw) - self._at

    def rest(self) -> bytes:
        """Whatever is left."""
        return self.take(len(self._raw) - self._at)

    def end(self) -> None:
        """There must be nothing more."""
        if self._at != len(self._raw):
            raise ValueError("bytes behind the end of the structure")
