"""Token buckets: how much fits, when there is more, and that nobody can make us keep many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.server.limits import Buckets, Budgets, told
from hushpost.server.refusals import Refusal
from hushpost.settings import ListenLimits, PostLimits, Rate, Rates
from hushpost.stores.base import StoreLimits
from hushpost.wire.limits import MAX_TOLD
from hushpost.wire.messages import ErrorCode


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def taken(buckets: Buckets, key: bytes, at_most: int) -> int:
    """How many tokens there are."""
    for count in range(at_most):
        try:
            buckets.take(key)
        except Refusal:
            return count
    return at_most


def test_all_at_once_then_evenly() -> None:
    clock = Clock()
    buckets = Buckets(Rate(6, 600), clock)
    assert taken(buckets, b"a", 100) == 6
    with pytest.raises(Refusal) as caught:
        buckets.take(b"a")
    assert caught.value.code is ErrorCode.RATE_LIMITED
    assert caught.value.retry_after == 100
    assert taken(buckets, b"b", 100) == 6, "another one's bucket"
    clock.now += 99
    assert taken(buckets, b"a", 100) == 0
    clock.now += 1
    assert taken(buckets, b"a", 100) == 1
    clock.now += 10_000
    assert taken(buckets, b"a", 100) == 6, "a bucket holds no more than it holds"


@given(st.integers(1, 50), st.integers(1, 1_000), st.lists(st.floats(0, 100), max_size=200))
def test_never_more_than_the_rate(count: int, seconds: int, pauses: list[float]) -> None:
    clock = Clock()
    buckets = Buckets(Rate(count, seconds), clock)
    begun, tokens = clock.now, 0
    for pause in pauses:
        clock.now += pause
        tokens += taken(buckets, b"a", count + 1)
    assert tokens <= count + (clock.now - begun) * count / seconds + 1e-3 * count + 1


@given(st.integers(1, 30), st.integers(1, 1_000))
def test_retry_after_is_enough(count: int, seconds: int) -> None:
    clock = Clock()
    buckets = Buckets(Rate(count, seconds), clock)
    taken(buckets, b"a", count)
    with pytest.raises(Refusal) as caught:
        buckets.take(b"a")
    assert caught.value.retry_after is not None
    clock.now += caught.value.retry_after
    buckets.take(b"a")


def test_only_so_many_are_kept_and_the_busy_ones_stay() -> None:
    buckets = Buckets(Rate(2, 60), Clock(), kept=10)
    assert taken(buckets, b"busy", 10) == 2
    for number in range(1_000):
        buckets.take(b"%d" % number)
        assert taken(buckets, b"busy", 1) == 0
    assert len(buckets) == 10


def test_every_rate_is_enforced_by_its_name_and_told() -> None:
    rates = Rates()
    budgets = Budgets(rates, Clock())
    numbers = told(rates, PostLimits(), ListenLimits(), StoreLimits())
    assert len(numbers) <= MAX_TOLD
    for name in Rates.__struct_fields__:
        rate: Rate = getattr(rates, name)
        assert taken(getattr(budgets, name), b"a", rate.count + 1) == rate.count
        word = name.replace("_", "-")
        assert (numbers[word], numbers[f"{word}-seconds"]) == (rate.count, rate.seconds)
