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


def test_a_bucket_that_is_not_full_is_never_forgotten() -> None:
    """Else whoever can make others makes the server forget their own. New ones have to wait instead."""
    clock = Clock()
    buckets = Buckets(Rate(2, 60), clock, kept=10)
    assert taken(buckets, b"busy", 10) == 2
    clock.now += 1
    for number in range(9):
        buckets.take(b"%d" % number)
    for number in range(1_000):
        with pytest.raises(Refusal) as caught:
            buckets.take(b"new %d" % number)
        assert caught.value.code is ErrorCode.UNAVAILABLE
        assert caught.value.retry_after is not None
    assert len(buckets) == 10
    assert taken(buckets, b"busy", 10) == 0
    assert taken(buckets, b"3", 10) == 1, "those that are there go on"
    clock.now += 30
    assert taken(buckets, b"busy", 10) == 1, "what it had, and no more"
    assert taken(buckets, b"new", 10) == 2, "full ones make room"
    assert len(buckets) <= 10


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 20)), max_size=200))
def test_nobody_gets_more_where_there_is_no_room(steps: list[tuple[int, float]]) -> None:
    """The same as with room for all, but for those that are told to come back."""
    clock = Clock()
    rate = Rate(2, 60)
    small, large = Buckets(rate, clock, kept=5), Buckets(rate, clock)
    for key, pause in steps:
        clock.now += pause
        name = b"%d" % key
        try:
            small.take(name)
        except Refusal as refused:
            if refused.code is ErrorCode.RATE_LIMITED:
                assert taken(large, name, 1) == 0
        else:
            assert taken(large, name, 1) == 1
        assert len(small) <= 5


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
