"""Events: numbers only grow; a handler that lags keeps what it has not seen, within bounds."""

from __future__ import annotations

import pytest

from hushpost.client.store import Store, StoredEvent, Tables, events


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_EVENTS", 10)
    monkeypatch.setattr(events, "MAX_EVENTS", 50)
    monkeypatch.setattr(events, "TRIM_EVERY", 5)


def add(t: Tables, count: int) -> None:
    for number in range(count):
        t.events.add(b"%d" % number, number)


def test_in_order_in_pieces(store: Store) -> None:
    with store.transaction() as t:
        add(t, 5)
        assert t.events.after(0, 2) == (StoredEvent(1, 0, b"0"), StoredEvent(2, 1, b"1"))
        assert [event.number for event in t.events.after(3)] == [4, 5]
        assert t.events.newest() == 5


def test_without_handlers_a_few_are_kept(store: Store) -> None:
    with store.transaction() as t:
        add(t, 30)
        assert [event.number for event in t.events.after(0)] == list(range(21, 31))
        assert t.events.newest() == 30


def test_for_the_slowest_handler_more_are_kept(store: Store) -> None:
    with store.transaction() as t:
        t.handlers.advance("slow", 3)
        t.handlers.advance("quick", 3)
        add(t, 30)
        t.handlers.advance("quick", 30)
        assert [event.number for event in t.events.after(0)] == list(range(4, 31))


def test_one_that_was_given_up_does_not_fill_the_disk(store: Store) -> None:
    with store.transaction() as t:
        t.handlers.advance("gone", 0)
        add(t, 200)
        assert [event.number for event in t.events.after(0)] == list(range(151, 201))
        t.handlers.forget("gone")
        add(t, 5)
        assert len(t.events.after(0)) == 10


def test_no_number_comes_twice(store: Store) -> None:
    with store.transaction() as t:
        t.handlers.advance("all", 0)
        add(t, 3)
        t.handlers.advance("all", 3)
        assert t.events.add(b"", 0) == 4


def test_cursors_do_not_go_back(store: Store) -> None:
    with store.transaction() as t:
        assert t.handlers.position("bot") is None
        t.handlers.advance("bot", 7)
        t.handlers.advance("bot", 5)
        assert t.handlers.position("bot") == 7
        assert t.handlers.every() == {"bot": 7}


def test_handlers_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_HANDLERS", 2)
    with store.transaction() as t:
        t.handlers.advance("a", 1)
        t.handlers.advance("b", 1)
        with pytest.raises(ValueError, match="at most"):
            t.handlers.advance("c", 1)
        t.handlers.advance("a", 2)
