"""The rules of `base.Parts` that need no storage, shared by every implementation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hmac import compare_digest

from hushpost.errors import QuotaFull, StoreFull, UnknownBlob
from hushpost.ids import TokenHash
from hushpost.stores.base import LEAST_CHARGE, StoreLimits

DAY = 86_400


def charge(size: int) -> int:
    """What a blob of so many bytes counts against quotas."""
    return max(size, LEAST_CHARGE)


def last_day(limits: StoreLimits, seconds: int) -> int:
    """The day, counted by the time that the store was open, at whose beginning a blob of now goes."""
    return (seconds + limits.blob_seconds) // DAY + 1


def check_quota(limits: StoreLimits, used: int, adding: int, seconds: int) -> None:
    """An account's blobs must stay within its quota.

    Raises:
        QuotaFull: until the next day, on which some may go.
    """
    if used + adding > limits.blob_quota:
        raise QuotaFull(
            "your files at this server are as many bytes as they may be",
            retry_after=DAY - seconds % DAY,
            hint="wait until some expire",
        )


def check_room(limits: StoreLimits, total: int, promised: int, adding: int, free: int) -> None:
    """A blob of `adding` bytes must fit under the high-water mark, and on the disk beside what was promised.

    Raises:
        StoreFull.
    """
    if total + adding > limits.blob_bytes:
        raise StoreFull("the server holds as many files as it may", hint="raise the storage limit")
    if free - promised - adding < limits.blob_free_bytes:
        raise StoreFull("the server's disk is nearly full", hint="make room on the server's disk")


def check_token(expected: bytes, shown: TokenHash) -> None:
    """Compare in constant time.

    Raises:
        UnknownBlob: nobody is told that there is one.
    """
    if not compare_digest(expected, shown):
        raise UnknownBlob("there is no such blob")


def matching(known: Iterable[bytes], shown: Sequence[TokenHash]) -> set[bytes]:
    """Those of the known hashes that were shown; each is compared with each, in constant time.

    Raises:
        UnknownBlob: one that was shown is none of them.
    """
    hashes = list(known)
    found: set[bytes] = set()
    for each in shown:
        same = [raw for raw in hashes if compare_digest(raw, each)]
        if not same:
            raise UnknownBlob("there is no such blob")
        found.update(same)
    return found
