"""History: found again by any words, whatever stands in them; bounded where strangers write."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushpost.client.store import Store, Undecryptable, history
from hushpost.client.values import Delivery, Message
from hushpost.ids import AccountId, DeviceId, EnvelopeId, MessageId
from tests.client.store.conftest import KEY

ALICE, BOB = AccountId(b"a" * 16), AccountId(b"b" * 16)
PHONE = DeviceId(b"p" * 16)


def text(name: bytes, words: str, *, contact: AccountId = BOB, ours: bool = False) -> Message:
    delivery = Delivery.QUEUED if ours else Delivery.DELIVERED
    return Message(MessageId(name.rjust(16)), contact, ours, words, 1, 2, delivery)


def search(store: Store, words: str, contact: AccountId | None = None) -> list[str]:
    with store.reading() as t:
        return [message.text for message in t.history.search(words, contact=contact)]


@pytest.fixture
def talk(store: Store) -> Store:
    said = [
        "Hello Bob",
        "the café is closed",
        "hello again, bob",
        "a OR b",
        'say "quoted" words',
        "NEAR(x y)",
    ]
    with store.transaction() as t:
        for number, words in enumerate(said):
            t.history.add(text(b"%d" % number, words), PHONE, words.encode())
        t.history.add(text(b"x", "hello from alice", contact=ALICE), PHONE, b"")
    return store


class TestSearch:
    @pytest.mark.parametrize(
        ("words", "found"),
        [
            ("hello bob", ["hello again, bob", "Hello Bob"]),
            ("HEL", ["hello from alice", "hello again, bob", "Hello Bob"]),
            ("cafe", ["the café is closed"]),
            ("hello nobody", []),
            ("OR", ["a OR b"]),
            ("hello OR closed", []),
            ('"quoted', ['say "quoted" words']),
            ("near(x", ["NEAR(x y)"]),
            ("text:hello", []),
            ("hello *", ["hello from alice", "hello again, bob", "Hello Bob"]),
            ("-hello", ["hello from alice", "hello again, bob", "Hello Bob"]),
            ("' OR 1=1 --", []),
            ("", []),
            ("... !", []),
        ],
    )
    def test_words_are_words(self, talk: Store, words: str, found: list[str]) -> None:
        assert search(talk, words) == found

    def test_with_one_contact(self, talk: Store) -> None:
        assert search(talk, "hello", ALICE) == ["hello from alice"]

    def test_no_text_is_a_question_that_fails(self, talk: Store) -> None:
        @settings(max_examples=150, deadline=None)
        @given(
            st.text(alphabet=st.characters(), max_size=60)
            | st.text(alphabet='"*():^-+{} ANDORT\0', max_size=40)
        )
        def ask(words: str) -> None:
            search(talk, words)

        ask()

    def test_every_message_is_found_by_its_own_words(self, tmp_path: Path) -> None:
        @settings(max_examples=60, deadline=None)
        @given(st.lists(st.text(alphabet='abcXYZé1"*-() ', min_size=1, max_size=30), min_size=1, max_size=5))
        def find(texts: list[str]) -> None:
            with Store.open(tmp_path / "profile.db", KEY) as store:
                with store.transaction() as t:
                    t.history.forget(BOB)
                    for number, words in enumerate(texts):
                        t.history.add(text(b"%d" % number, words), PHONE, b"")
                for words in texts:
                    if any(c.isalnum() for c in words):
                        assert words in search(store, words)

        find()

    def test_a_very_long_question(self, talk: Store) -> None:
        assert search(talk, "hello " * 100_000) == search(talk, "hello")


class TestMessages:
    def test_an_id_is_taken_once_for_each_side_and_contact(self, store: Store) -> None:
        """Ids come from others: one that repeats another's must neither hide it nor change it."""
        with store.transaction() as t:
            assert t.history.add(text(b"1", "theirs"), PHONE, b"theirs")
            assert not t.history.add(text(b"1", "again"), PHONE, b"again")
            assert t.history.add(text(b"1", "ours", ours=True), PHONE, b"ours")
            assert t.history.add(text(b"1", "alice's", contact=ALICE), PHONE, b"alice's")
            message = MessageId(b"1".rjust(16))
            assert t.history.content(BOB, message, ours=False) == b"theirs"
            assert t.history.content(BOB, message, ours=True) == b"ours"
            assert t.history.content(ALICE, message, ours=True) is None
            assert len(t.history.called(message)) == 3

    def test_pages(self, store: Store) -> None:
        with store.transaction() as t:
            for number in range(10):
                t.history.add(text(b"%d" % number, str(number)), PHONE, b"")
                t.history.add(text(b"%d" % number, "other", contact=ALICE), PHONE, b"")
            newest = t.history.page(BOB, limit=3)
            assert [message.text for message in newest] == ["7", "8", "9"]
            older = t.history.page(BOB, before=newest[0].id, limit=3)
            assert [message.text for message in older] == ["4", "5", "6"]
            assert t.history.page(BOB, before=MessageId.random()) == ()

    def test_progress_goes_forward_only(self, store: Store) -> None:
        message = text(b"1", "ours", ours=True)
        with store.transaction() as t:
            t.history.add(message, PHONE, b"")
            assert t.history.progress(BOB, message.id, Delivery.ACCEPTED)
            assert not t.history.progress(BOB, message.id, Delivery.ACCEPTED)
            assert t.history.progress(BOB, message.id, Delivery.DELIVERED)
            assert not t.history.progress(BOB, message.id, Delivery.ACCEPTED)
            assert not t.history.progress(ALICE, message.id, Delivery.FAILED)
            found = t.history.get(BOB, message.id, ours=True)
            assert found is not None
            assert found.delivery is Delivery.DELIVERED


class TestUndecryptable:
    def item(self, number: int, size: int = 10) -> Undecryptable:
        return Undecryptable(EnvelopeId(b"%16d" % number), number, "why", None, PHONE, b"h", bytes(size))

    def test_the_oldest_of_too_many_go(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(history, "MAX_UNDECRYPTABLE", 3)
        monkeypatch.setattr(history, "MAX_UNDECRYPTABLE_BYTES", 100)
        with store.transaction() as t:
            for number in range(5):
                t.undecryptable.add(self.item(number))
            assert [item.at for item in t.undecryptable.every()] == [2, 3, 4]
            t.undecryptable.add(self.item(5, 80))
            assert [item.at for item in t.undecryptable.every()] == [4, 5]
            t.undecryptable.remove(t.undecryptable.every()[0].number)
            assert [item.claimed_device for item in t.undecryptable.every()] == [PHONE]


class TestStory:
    def test_is_told_in_order_and_found_by_the_beginning_of_an_id(self, store: Store) -> None:
        one, two = MessageId(b"\x12\x34" + bytes(14)), EnvelopeId(b"\x12\x35" + bytes(14))
        with store.transaction() as t:
            t.story.tell(one, "queued", 1)
            t.story.tell(two, "did not open", 2)
            t.story.tell(one, "accepted", 3)
            assert t.story.of(one) == ((1, "queued"), (3, "accepted"))
            assert t.story.called("1234") == (one,)
            assert set(t.story.called("123")) == {one, two}
            assert t.story.called(str(one)) == (one,)
            assert [t.story.called(other) for other in ("", "xyz", "1236", "%", str(one) + "0")] == [()] * 5

    def test_ends_somewhere(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(history, "MAX_STORIES", 10)
        monkeypatch.setattr(history, "TRIM_EVERY", 5)
        subject = MessageId(bytes(16))
        with store.transaction() as t:
            for number in range(25):
                t.story.tell(subject, "x", number)
            assert [at for at, _ in t.story.of(subject)] == list(range(15, 25))
