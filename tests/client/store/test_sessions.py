"""Sessions: at most five with a device, the right one active; repeats and resets are counted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushpost.client.store import Store, StoredSession, sessions
from hushpost.crypto.olm import SessionHash
from hushpost.ids import DeviceId, MessageId

PHONE, OTHER = DeviceId(b"p" * 16), DeviceId(b"o" * 16)
DAY = 86_400


def called(number: int) -> SessionHash:
    return SessionHash(number.to_bytes(16, "big"))


class TestSessions:
    def test_the_one_that_last_decrypted_is_active(self, store: Store) -> None:
        with store.transaction() as t:
            assert t.sessions.active(PHONE) is None
            one, two = (t.sessions.add(PHONE, called(n), b"p", 1) for n in (1, 2))
            assert t.sessions.active(PHONE) == two
            t.sessions.decrypted(one, lambda: b"q", 5)
            assert t.sessions.active(PHONE) == StoredSession(PHONE, called(1), b"q", 1, 5, 0)
            t.sessions.encrypted(two, b"r")
            active = t.sessions.active(PHONE)
            assert active is not None
            assert active.hash == called(1)
            assert t.sessions.find(PHONE, called(2)) == StoredSession(PHONE, called(2), b"r", 1, 0, 1)
            assert t.sessions.find(OTHER, called(1)) is None

    @pytest.mark.parametrize(
        ("unheard", "heard_at", "now", "worn"),
        [
            (0, 0, 100 * DAY, False),
            (499, 50, 50, False),
            (500, 50, 50, True),
            (1, 50, 50 + 7 * DAY - 1, False),
            (1, 50, 50 + 7 * DAY, True),
            (1, 0, 10 + 7 * DAY, True),
        ],
    )
    def test_one_way_traffic_wears_it_out(self, unheard: int, heard_at: int, now: int, worn: bool) -> None:
        assert StoredSession(PHONE, called(1), b"", 10, heard_at, unheard).is_worn(now) is worn

    def test_any_course_of_events(self, store: Store) -> None:
        """Against a list in the order of use."""

        @settings(max_examples=60, deadline=None)
        @given(
            st.lists(
                st.tuples(st.sampled_from(["add", "decrypt", "encrypt"]), st.integers(0, 8)), max_size=40
            )
        )
        def course(steps: list[tuple[str, int]]) -> None:
            model: list[SessionHash] = []
            with store.transaction() as t:
                t.sessions.forget(PHONE)
                for step, number in steps:
                    known = t.sessions.find(PHONE, called(number))
                    assert (known is not None) == (called(number) in model)
                    if step == "add" and known is None:
                        t.sessions.add(PHONE, called(number), b"", 1)
                        model = [called(number), *model][: sessions.MAX_SESSIONS]
                    elif step == "decrypt" and known is not None:
                        t.sessions.decrypted(known, bytes, 2)
                        model.remove(called(number))
                        model.insert(0, called(number))
                    elif step == "encrypt" and known is not None:
                        t.sessions.encrypted(known, b"")
                    assert [each.hash for each in t.sessions.every(PHONE)] == model

        course()

    def test_pickles_are_not_printed(self) -> None:
        assert "secret" not in repr(StoredSession(PHONE, called(1), b"secret", 1, 1, 1))


class TestResets:
    def test_one_an_hour_for_each_device(self, store: Store) -> None:
        with store.transaction() as t:
            asked = [(PHONE, 0), (PHONE, 3_599), (OTHER, 3_599), (PHONE, 3_600), (PHONE, 3_601)]
            assert [t.sessions.may_reset(*each) for each in asked] == [True, False, True, True, False]

    def test_a_clock_that_was_put_back(self, store: Store) -> None:
        with store.transaction() as t:
            assert t.sessions.may_reset(PHONE, 10**9)
            assert t.sessions.may_reset(PHONE, 5)

    def test_invented_devices_fill_nothing(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sessions, "MAX_RESETS_NOTED", 3)
        with store.transaction() as t:
            assert [t.sessions.may_reset(DeviceId.random(), 7) for _ in range(5)] == [True] * 3 + [False] * 2
            assert t.sessions.may_reset(PHONE, 7 + 3_600)


class TestReceived:
    def test_a_repeat_is_known(self, store: Store) -> None:
        message, *traces = (MessageId.random() for _ in range(4))
        with store.transaction() as t:
            assert t.received.add(PHONE, message, traces[0], 1)
            assert not t.received.add(PHONE, message, traces[0], 1)
            assert not t.received.add(PHONE, message, traces[1], 1)
            assert t.received.add(OTHER, message, traces[2], 2)
            assert t.received.has(PHONE, message)
            assert [t.received.has(PHONE, trace) for trace in traces] == [True, True, False]
            t.received.trim(2 + sessions.REPEATS_REMEMBERED)
            assert [t.received.has(device, message) for device in (PHONE, OTHER)] == [False, True]
