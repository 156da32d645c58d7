"""Our prekeys and seal keys: no id twice, no replay, and secrets that go when they may, and not before."""

from __future__ import annotations

import pytest

from hushpost.client.store import Fallback, Store, Tables
from hushpost.client.store.prekeys import DAY, KEYS_A_DAY
from hushpost.client.store.seals import PATIENCE
from hushpost.crypto.olm import SessionHash
from hushpost.crypto.prekeys import SessionKey
from hushpost.crypto.primitives import SealSecret
from hushpost.crypto.ratchet import DeviceAccount

KEYS = [SessionKey(bytes([number]) * 31 + b"\1") for number in range(2, 6)]
SESSION = SessionHash(b"s" * 16)


class TestOneTimeKeys:
    def test_as_the_ratchet_counts_them(self, store: Store) -> None:
        account = DeviceAccount.create()
        account.make_one_time_keys(3)
        with store.transaction() as t:
            for _ in range(2):  # the second time is a retry
                for each in account.unpublished.one_time:
                    t.prekeys.made(each.key_id, each.key)
            assert t.prekeys.count() == 3
            used = account.unpublished.one_time[1].key
            assert t.prekeys.used(used)
            assert not t.prekeys.used(used)
            assert t.prekeys.count() == 2
            t.prekeys.forget_one_time()
            assert t.prekeys.count() == 0

    def test_so_many_in_a_day(self, store: Store) -> None:
        with store.transaction() as t:
            assert [t.prekeys.allow(KEYS_A_DAY - 10, DAY), t.prekeys.allow(0, DAY + 1)] == [
                KEYS_A_DAY - 10,
                0,
            ]
        with store.transaction() as t:
            assert [t.prekeys.allow(8, DAY + 5), t.prekeys.allow(8, 2 * DAY - 1)] == [8, 2]
            assert t.prekeys.allow(1, 2 * DAY - 1) == 0
            assert t.prekeys.allow(KEYS_A_DAY + 1, 2 * DAY) == KEYS_A_DAY
            t.me.forget_secrets()
            assert t.prekeys.allow(1, 2 * DAY) == 1

    def test_the_account(self, store: Store) -> None:
        account = DeviceAccount.create()
        with store.transaction() as t:
            t.olm.keep(account.pickle())
        with store.reading() as t:
            pickle = t.olm.pickle()
        assert pickle is not None
        assert DeviceAccount.unpickle(pickle).id == account.id


class TestFallback:
    def test_one_after_the_other(self, store: Store) -> None:
        with store.transaction() as t:
            assert t.prekeys.fallback() is None
            t.prekeys.made_fallback(1, 10)
            with pytest.raises(RuntimeError, match="unpublished"):
                t.prekeys.made_fallback(2, 11)
            t.prekeys.fallback_published(1, 12)
            t.prekeys.fallback_published(1, 13)
            assert t.prekeys.fallback() == Fallback(1, 10, 12)

    def rotate(self, t: Tables, key_id: int) -> None:
        t.prekeys.made_fallback(key_id, key_id)
        t.prekeys.fallback_published(key_id, key_id)

    def test_a_session_is_remembered_until_two_rotations_later(self, store: Store) -> None:
        with store.transaction() as t:
            self.rotate(t, 1)
            assert t.prekeys.remembered(SESSION) == frozenset()
            assert t.prekeys.opened(SESSION)
            assert not t.prekeys.opened(SESSION)
            self.rotate(t, 2)
            assert t.prekeys.remembered(SESSION) == {SESSION}
            self.rotate(t, 3)
            assert t.prekeys.remembered(SESSION) == frozenset()

    def test_no_replay_while_the_ratchet_would_take_it(self, store: Store) -> None:
        """However the rotations fall, what the account still opens is remembered."""
        account = DeviceAccount.create()
        with store.transaction() as t:
            for round in range(1, 6):
                account.make_fallback_key()
                fallback = account.unpublished.fallback
                assert fallback is not None
                t.prekeys.made_fallback(fallback.key_id, round)
                account.mark_published(account.unpublished)
                t.prekeys.fallback_published(fallback.key_id, round)
                t.prekeys.opened(SessionHash(bytes([round]) * 16))
                kept = [r for r in range(1, round + 1) if t.prekeys.remembered(SessionHash(bytes([r]) * 16))]
                assert kept == [r for r in (round - 1, round) if r >= 1]


class TestSealKeys:
    def rotated(self, t: Tables, count: int) -> None:
        for number in range(count):
            key = t.seals.add(SealSecret.random(), 100 + number, number)
            t.seals.published(key.key_id, number)

    def test_ids_only_grow(self, store: Store) -> None:
        with store.transaction() as t:
            first = t.seals.add(SealSecret.random(), 100, 1)
            assert t.seals.newest() == first == t.seals.find(first.key_id)
            assert first.published_at is None
            self.rotated(t, 2)
            t.me.forget_secrets()
            assert t.seals.add(SealSecret.random(), 100, 1).key_id == 4

    def test_a_retired_key_goes_when_its_mail_is_committed(self, store: Store) -> None:
        with store.transaction() as t:
            self.rotated(t, 3)
            t.seals.retired(1, 50)
            t.seals.retired(1, 60)  # what was confirmed first counts
            assert t.seals.delete_retired(49) == ()
            assert t.seals.find(1) is not None
            assert t.seals.delete_retired(50) == (1,)
            assert t.seals.find(1) is None
            assert [key.key_id for key in t.seals.every()] == [2, 3]
        assert store.purge_due()

    def test_a_restored_server_has_none_of_them(self, store: Store) -> None:
        """Sequences of its old store say nothing about the new one."""
        with store.transaction() as t:
            self.rotated(t, 2)
            t.seals.retired(1, 50)
            t.seals.unpublished()
            assert not t.seals.is_published()
            assert t.seals.delete_retired(10**9) == ()
            t.seals.published(2, 9)
            assert t.seals.is_published()
            t.seals.retired(1, 7)
            assert t.seals.delete_retired(7) == (1,)

    def test_the_present_key_is_not_retired_whatever_the_server_says(self, store: Store) -> None:
        with store.transaction() as t:
            self.rotated(t, 2)
            newer = t.seals.add(SealSecret.random(), 100, 9)  # made, and not published yet
            for key_id in (2, newer.key_id):
                t.seals.retired(key_id, 0)
            assert t.seals.delete_retired(10**9) == ()

    def test_no_clock_deletes_a_key_only_being_connected_does(self, store: Store) -> None:
        with store.transaction() as t:
            self.rotated(t, 2)
            t.seals.connected(PATIENCE - 1)
            assert t.seals.delete_overdue() == ()
            t.seals.connected(1)
            assert t.seals.delete_overdue() == (1,)
            assert [key.connected for key in t.seals.every()] == [0]
