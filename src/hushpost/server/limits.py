"""Token buckets: how often each account, address or pair may ask for each kind of thing.

The numbers and their reasons stand in `settings.Rates`; a server tells them in `hello`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from hushpost.server.refusals import BUSY_SECONDS, Refusal
from hushpost.settings import ListenLimits, PostLimits, Rate, Rates
from hushpost.stores.base import REQUESTS_BYTES, REQUESTS_COUNT, StoreLimits
from hushpost.wire.messages import ErrorCode

BUCKETS_KEPT = 50_000
"""Of each kind, some 10 MB. Only full ones are forgotten: else whoever can make many would empty their own
into oblivion. Where none is full, who has none must wait.
"""

ROUNDING = 1.000001
"""Times are added up as floats: a millionth of a span is not worth a refusal."""


class Buckets:
    """All buckets of one kind.

    A bucket is one number: the time at which it will be full again. Nothing has to be refilled by a timer,
    and one that is full need not exist.
    """

    __slots__ = ("_clock", "_each", "_full_at", "_kept", "_span", "_swept")

    def __init__(self, rate: Rate, clock: Callable[[], float], kept: int = BUCKETS_KEPT) -> None:
        self._each = rate.seconds / rate.count
        self._span = rate.seconds
        self._clock = clock
        self._kept = kept
        self._full_at: dict[bytes, float] = {}
        self._swept = -math.inf

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: bytes) -> None:
        """Take one token out of the bucket of this key.

        Raises:
            Refusal: RATE_LIMITED, with the seconds until there is one; UNAVAILABLE, where it has no
                bucket and there is no room for another.
        """
        now = self._clock()
        full_at = self._full_at.get(key, 0.0)
        emptied = max(full_at, now) + self._each
        missing = emptied - now - self._span * ROUNDING
        if missing > 0:
            raise Refusal(ErrorCode.RATE_LIMITED, retry_after=math.ceil(missing))
        if not full_at and not self._has_room(now):
            raise Refusal(ErrorCode.UNAVAILABLE, retry_after=BUSY_SECONDS)
        self._full_at[key] = emptied

    def _has_room(self, now: float) -> bool:
        """For one more, perhaps without those that are full; that is 3 ms of work, so not at each request."""
        if len(self._full_at) >= self._kept and now >= self._swept + BUSY_SECONDS:
            self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
            self._swept = now
        return len(self._full_at) < self._kept


class Budgets:
    """The buckets of a server, one attribute for each rate of the settings."""

    def __init__(self, rates: Rates, clock: Callable[[], float]) -> None:
        self.connections = Buckets(rates.connections, clock)
        self.entering = Buckets(rates.entering, clock)
        self.registrations = Buckets(rates.registrations, clock)
        self.sends = Buckets(rates.sends, clock)
        self.introductions = Buckets(rates.introductions, clock)
        self.fetches = Buckets(rates.fetches, clock)
        self.acknowledgements = Buckets(rates.acknowledgements, clock)
        self.subscriptions = Buckets(rates.subscriptions, clock)
        self.prekeys = Buckets(rates.prekeys, clock)
        self.prekeys_of_one = Buckets(rates.prekeys_of_one, clock)
        self.lookups = Buckets(rates.lookups, clock)
        self.listings = Buckets(rates.listings, clock)
        self.publications = Buckets(rates.publications, clock)
        self.manifests = Buckets(rates.manifests, clock)
        self.questions = Buckets(rates.questions, clock)
        self.files = Buckets(rates.files, clock)
        self.parts = Buckets(rates.parts, clock)
        self.file_questions = Buckets(rates.file_questions, clock)


def told(rates: Rates, limits: PostLimits, listening: ListenLimits, store: StoreLimits) -> dict[str, int]:
    """This server's numbers, as `hello` tells them: each rate as count and seconds."""
    numbers: dict[str, int] = {
        "entry-seconds": math.ceil(limits.entry_deadline),
        "request-seconds": math.ceil(listening.request_deadline),
        "connections-per-address": listening.per_address,
        "connections-per-device": limits.per_device,
        "push-window": limits.window,
        "in-hand-bytes": limits.in_hand,
        "mailbox-envelopes": store.mailbox_count,
        "mailbox-bytes": store.mailbox_bytes,
        "request-lane-envelopes": REQUESTS_COUNT,
        "request-lane-bytes": REQUESTS_BYTES,
        "file-seconds": store.blob_seconds,
        "file-quota": store.blob_quota,
        "part-rate": listening.min_rate,
    }
    for name, rate in msgspec.structs.asdict(rates).items():
        word = name.replace("_", "-")
        numbers[word] = rate.count
        numbers[f"{word}-seconds"] = math.ceil(rate.seconds)
    return numbers
