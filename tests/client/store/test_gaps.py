"""What of others is missing: noted, filled by what comes late, told once."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hushpost.client.store import Store
from hushpost.client.store.gaps import MAX_GAPS, PATIENCE, Missing
from hushpost.ids import AccountId, DeviceId

ALICE, PHONE, OTHER = AccountId(bytes(16)), DeviceId(bytes(16)), DeviceId(b"o" * 16)


def test_told_once_and_not_too_early(store: Store) -> None:
    with store.transaction() as t:
        t.gaps.skipped(ALICE, PHONE, 3, 5, 100)
        t.gaps.skipped(ALICE, OTHER, 1, 1, 100)
        assert t.gaps.overdue(99 + PATIENCE) == ()
        assert t.gaps.overdue(100 + PATIENCE) == (Missing(ALICE, 4),)
        assert t.gaps.overdue(100 + PATIENCE) == ()
        assert not t.gaps.came(PHONE, 4)


def test_a_clock_that_was_put_back(store: Store) -> None:
    with store.transaction() as t:
        t.gaps.skipped(ALICE, PHONE, 1, 1, 10**9)
        assert t.gaps.overdue(50) == (Missing(ALICE, 1),)


def test_a_liar_fills_nothing(store: Store) -> None:
    with store.transaction() as t:
        for number in range(3 * MAX_GAPS):
            t.gaps.skipped(ALICE, PHONE, 10 * number, 10 * number + 1, 5)
        assert t.gaps.overdue(5 + PATIENCE) == (Missing(ALICE, 2 * MAX_GAPS),)
        t.gaps.skipped(ALICE, PHONE, 1, 2**63 - 2, 5)
        assert t.gaps.overdue(5 + PATIENCE) == (Missing(ALICE, 2**63 - 2),)


def test_whatever_comes_late_is_missing_no_more(store: Store) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.integers(1, 30), unique=True))
    def course(late: list[int]) -> None:
        missing = set(range(5, 25))
        with store.transaction() as t:
            t.gaps.skipped(ALICE, PHONE, 5, 24, 1)
            for counter in late:
                assert t.gaps.came(PHONE, counter) is (counter in missing)
                missing.discard(counter)
            # More pieces than are noted of one device are not made by what comes late.
            expected = (Missing(ALICE, len(missing)),) if missing else ()
            assert t.gaps.overdue(1 + PATIENCE) == expected

    course()
