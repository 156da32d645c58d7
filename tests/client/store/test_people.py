"""People: strangers are bounded, and nobody is confused with anybody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hushpost.client.store import DeliveryToken, How, Person, Store, people
from hushpost.client.values import Standing, Trust
from hushpost.crypto.identity import AccountFingerprint, next_manifest
from hushpost.ids import AccountId, DeviceId, MessageId
from tests.client.store.test_history import text
from tests.crypto.people import ALICE, BOB
from tests.crypto.people import Person as Human

BOBBY = Person(BOB.account, BOB.name, "", Standing.CONTACT, Trust.VERIFIED, How.LINK, 7)


def fingerprint(number: int) -> AccountFingerprint:
    return AccountFingerprint(number.to_bytes(2, "big") * 16)


class TestContacts:
    def test_come_back_as_they_were(self, store: Store) -> None:
        whole = replace(
            BOBBY,
            alias="Bobby",
            token=DeliveryToken.random(),
            told=3,
            knows=ALICE.first().hash,
            asked=1,
            held=1,
        )
        with store.transaction() as t:
            assert t.people.get(BOB.account.id) is None
            t.people.add(whole)
            assert t.people.get(BOB.account.id) == whole
        assert whole.name not in repr(whole)

    def test_changes(self, store: Store) -> None:
        bob, token = BOBBY.account, DeliveryToken.random()
        with store.transaction() as t:
            t.people.add(BOBBY)
            t.people.rename(bob, "B")
            t.people.stands(bob, Standing.BLOCKED)
            t.people.trusts(bob, Trust.CHANGED, How.SAFETY_NUMBER)
            t.people.gave_token(bob, token)
            t.people.knows(bob, ALICE.first().hash)
            expected = replace(
                BOBBY, alias="B", standing=Standing.BLOCKED, trust=Trust.CHANGED, how=How.SAFETY_NUMBER,
                token=token, knows=ALICE.first().hash,
            )  # fmt: skip
            assert t.people.get(bob) == expected

    def test_an_alias_and_a_name_may_be_the_same(self, store: Store) -> None:
        """A stranger who takes the name that we call a friend by: whoever asks is told of both."""
        with store.transaction() as t:
            t.people.add(replace(BOBBY, alias="mum"))
            t.people.ask(ALICE.account, "mum", 1)
            both = {person.account for person in t.people.called("mum")}
            assert both == {BOB.account.id, ALICE.account.id}
            assert [person.account for person in t.people.called(BOB.name)] == [BOB.account.id]
            assert t.people.called("") == ()
            t.people.rename(BOB.account.id, "")
            assert t.people.called("") == ()
            assert [person.account for person in t.people.called("mum")] == [ALICE.account.id]

    def test_who_lacks_our_token(self, store: Store) -> None:
        with store.transaction() as t:
            t.people.add(BOBBY)
            t.people.ask(ALICE.account, ALICE.name, 1)
            assert t.people.untold(2) == (BOBBY.account,), "strangers get none"
            t.people.told(BOBBY.account, 2)
            assert t.people.untold(2) == ()
            t.people.told(BOBBY.account, 1)
            assert t.people.untold(2) == (), "an older message does not take the newer token away"
            assert t.people.untold(3) == (BOBBY.account,)

    def test_in_the_order_of_what_they_are_called(self, store: Store) -> None:
        with store.transaction() as t:
            for number, (name, alias) in enumerate([("zoe", "a"), ("bea", ""), ("carl", "")]):
                t.people.add(replace(BOBBY, fingerprint=fingerprint(number), name=name, alias=alias))
            t.people.stands(fingerprint(2).id, Standing.BLOCKED)
            assert [person.name for person in t.people.every()] == ["zoe", "bea", "carl"]
            assert [person.name for person in t.people.every(Standing.BLOCKED)] == ["carl"]

    def test_nothing_is_left_of_somebody_forgotten(self, store: Store) -> None:
        device = DeviceId(b"d" * 16)
        with store.transaction() as t:
            t.people.add(BOBBY)
            t.manifests.append(BOB.first())
            t.history.add(text(b"1", "hello", contact=BOBBY.account), device, b"")
            t.outbox.add(MessageId.random(), BOBBY.account, b"", 1)
            t.outbox.owe_receipt(BOBBY.account, MessageId.random(), 1)
            t.people.forget(BOBBY.account)
            assert t.people.every() == ()
            assert t.manifests.newest(BOBBY.account) is None
            assert t.devices.listed(BOBBY.account) == ()
            assert t.history.page(BOBBY.account) == ()
            assert (t.outbox.count(), t.outbox.next_receipt()) == (0, None)


class TestStrangers:
    def test_each_may_fill_so_much(self, store: Store) -> None:
        with store.transaction() as t:
            kept = [t.people.ask(ALICE.account, ALICE.name, number) for number in range(people.MAX_HELD + 3)]
            assert kept == [True] * people.MAX_HELD + [False] * 3
            person = t.people.get(ALICE.account.id)
            assert person is not None
            assert (person.asked, person.held, person.since) == (people.MAX_HELD + 3, people.MAX_HELD, 0)
            assert (person.standing, person.trust, person.how) == (
                Standing.REQUEST, Trust.UNVERIFIED, How.WROTE,
            )  # fmt: skip

    def test_the_limits_are_for_strangers_only(self, store: Store) -> None:
        with store.transaction() as t:
            t.people.add(BOBBY)
            assert all(t.people.ask(BOB.account, BOB.name, n) for n in range(people.MAX_HELD + 3))
            assert t.people.get(BOBBY.account) == BOBBY
            t.people.stands(BOBBY.account, Standing.BLOCKED)
            assert not t.people.ask(BOB.account, BOB.name, 1)

    def test_who_floods_does_not_push_out_who_asked_before(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(people, "MAX_REQUESTS", 3)
        with store.transaction() as t:
            asked = [t.people.ask(fingerprint(number), "x", number) for number in range(5)]
            assert asked == [True] * 3 + [False] * 2
            assert t.people.turned_away() == 2
            assert len(t.people.every(Standing.REQUEST)) == 3
            assert t.people.ask(fingerprint(0), "x", 9), "who is waiting may go on"
            t.people.stands(fingerprint(1).id, Standing.CONTACT)
            assert t.people.ask(fingerprint(4), "x", 9), "a decision makes room"


class TestManifests:
    def chain(self) -> tuple[Human, list[Human]]:
        return BOB, [Human(number, f"hand {number}") for number in (20, 21)]

    def test_of_others_the_newest_and_what_the_older_ones_were_called(self, store: Store) -> None:
        bob, (second, _) = self.chain()
        first = bob.first()
        later = next_manifest(first, bob.secret, [*first.devices, second.hand.joins(bob.account)])
        with store.transaction() as t:
            t.manifests.append(first)
            t.manifests.append(later)
            account = bob.account.id
            assert t.manifests.newest(account) == later
            assert [t.manifests.version_of(account, each.hash) for each in (first, later)] == [1, 2]
            assert t.manifests.version_of(account, ALICE.first().hash) is None
            assert t.manifests.chain(account) == (later.encode(),)
            assert t.manifests.newest(AccountId(bytes(16))) is None

    def test_of_our_own_the_whole_chain(self, store: Store) -> None:
        bob, (second, _) = self.chain()
        first = bob.first()
        later = next_manifest(first, bob.secret, [*first.devices, second.hand.joins(bob.account)])
        with store.transaction() as t:
            t.manifests.append(first, own=True)
            t.manifests.append(later, own=True)
            assert t.manifests.chain(bob.account.id) == (first.encode(), later.encode())
            assert t.manifests.chain(bob.account.id, after=1) == (later.encode(),)

    def test_a_removed_device_is_still_known(self, store: Store) -> None:
        bob, (second, _) = self.chain()
        first = bob.first(bob.hand, second.hand)
        later = next_manifest(first, bob.secret, bob.first().devices)
        gone = second.hand.joins(bob.account).id
        with store.transaction() as t:
            t.manifests.append(first)
            assert len(t.devices.listed(bob.account.id)) == 2
            t.devices.heard(bob.account.id, gone, 5, 7)
            t.manifests.append(later)
            assert [device.id for device in t.devices.listed(bob.account.id)] == [bob.first().devices[0].id]
            removed = t.devices.get(bob.account.id, gone)
            assert removed is not None
            assert (removed.listed, removed.received, removed.heard_at) == (False, 5, 7)


class TestDevices:
    def test_counters_and_answers(self, store: Store) -> None:
        account, device = BOB.account.id, BOB.first().devices[0].id
        with store.transaction() as t:
            assert t.devices.get(account, device) is None
            t.manifests.append(BOB.first())
            assert [t.devices.next_counter(account, device, now) for now in (10, 11)] == [1, 2]
            assert t.devices.unanswered(100) == ()
            t.devices.heard(account, device, 9, 12)
            t.devices.heard(account, device, 4, 13)
            found = t.devices.get(account, device)
            assert found is not None
            assert (found.sent, found.received, found.sent_at, found.heard_at) == (2, 9, 11, 12)
            assert t.devices.unanswered(12) == (found,)
            assert t.devices.unanswered(11) == ()
            t.devices.next_counter(account, device, 14)
            assert t.devices.unanswered(100) == ()
            t.devices.heard(account, device, 10, 15, speaks=False)
            assert t.devices.unanswered(100) == ()
