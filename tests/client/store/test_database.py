"""What is kept and what waits within a transaction: nobody inside sees a difference."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushpost.client.store.database import Database
from hushpost.client.store.store import Store
from hushpost.ids import AccountId, DeviceId, MessageId

ACCOUNT, PHONE = AccountId(bytes(16)), DeviceId(bytes(16))


@pytest.fixture(name="db")
def database(store: Store) -> Database:
    """The store's own."""
    return store._db


def position(db: Database) -> int | None:
    row = db.row("SELECT position FROM handler WHERE name = 'x'")
    return row[0] if row else None


def put(db: Database, number: int) -> None:
    db.run("INSERT OR REPLACE INTO handler VALUES ('x', ?)", number)


class TestKeep:
    def test_read_once_until_the_table_is_written(self, store: Store, db: Database) -> None:
        with store.transaction():
            assert db.keep("handler", "x", lambda: position(db)) is None
            assert db.keep("handler", "x", lambda: 7) is None
            put(db, 1)
            assert db.keep("handler", "x", lambda: position(db)) == 1
            db.run("UPDATE upkeep SET dropped = 1")
            assert db.keep("handler", "x", lambda: 7) == 1

    def test_it_ends_with_the_transaction(self, store: Store, db: Database) -> None:
        with store.transaction():
            assert db.keep("handler", "x", lambda: 7) == 7
        with store.transaction():
            assert db.keep("handler", "x", lambda: position(db)) is None


class TestLater:
    def test_the_last_is_written_and_only_that(self, store: Store, db: Database) -> None:
        asked: list[int] = []

        def costly(number: int) -> bytes:
            asked.append(number)
            return bytes([number])

        with store.transaction() as t:
            put(db, 0)
            for number in range(3):
                statement = "UPDATE handler SET position = length(?) + 40 WHERE name = 'x'"
                db.later("handler", "x", statement, lambda number=number: costly(number))
            assert asked == []
        with store.reading() as t:
            assert t.handlers.position("x") == 41
        assert asked == [2]

    def test_an_error_takes_it_along(self, store: Store, db: Database) -> None:
        def fail() -> None:
            with store.transaction():
                db.later("handler", "x", "INSERT INTO handler VALUES ('x', 1)")
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        with store.transaction():
            assert position(db) is None

    def test_not_while_reading(self, store: Store, db: Database) -> None:
        with store.reading(), pytest.raises(RuntimeError):
            db.later("handler", "x", "INSERT INTO handler VALUES ('x', 1)")

    def test_nobody_sees_a_difference(self, store: Store, db: Database) -> None:
        @settings(max_examples=60, deadline=None)
        @given(
            st.lists(st.tuples(st.sampled_from(["later", "now", "read", "kept", "end"]), st.integers(0, 9)))
        )
        def course(steps: list[tuple[str, int]]) -> None:
            with store.transaction():
                put(db, 0)
            model = 0
            transaction = store.transaction()
            transaction.__enter__()
            for step, number in steps:
                if step == "later":
                    db.instead("handler", "x", number)
                    db.later("handler", "x", "UPDATE handler SET position = ? WHERE name = 'x'", number)
                    model = number
                elif step == "now":
                    put(db, number)
                    model = number
                elif step == "read":
                    assert position(db) == model
                elif step == "kept":
                    assert db.keep("handler", "x", lambda: position(db)) == model
                else:
                    transaction.__exit__(None, None, None)
                    transaction = store.transaction()
                    transaction.__enter__()
            transaction.__exit__(None, None, None)
            with store.reading():
                assert position(db) == model

        course()


def test_receipts_and_repeats_of_one_transaction(store: Store) -> None:
    """Tables that keep and wait, seen through their own verbs."""
    with store.transaction() as t:
        t.outbox.owe_receipt(ACCOUNT, MessageId.random(), 5)
        t.outbox.owe_receipt(ACCOUNT, MessageId.random(), 4)
        assert t.outbox.next_receipt() == 4
        assert len(t.outbox.take_receipts(ACCOUNT, 10)) == 2
