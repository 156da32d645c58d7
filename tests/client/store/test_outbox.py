"""The outbox: first in, first out for each account; the same bytes at every attempt; no step back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hushpost.client.store import Draft, Part, Queued, State, Store, Tables, outbox
from hushpost.ids import AccountId, DeviceId, EnvelopeId, MessageId

BOB, CAROL = AccountId(b"b" * 16), AccountId(b"c" * 16)
PHONE, LAPTOP = DeviceId(b"l" * 16), DeviceId(b"p" * 16)
PARTS = (Part(PHONE, b"for the phone"), Part(LAPTOP, b"for the laptop"))


def message(number: int) -> MessageId:
    return MessageId(number.to_bytes(16, "big"))


def queue(t: Tables, number: int, account: AccountId = BOB) -> int:
    draft = t.outbox.add(message(number), account, b"content", 1)
    t.outbox.encrypted(draft.number, EnvelopeId.at(1), b"body", PARTS)
    return draft.number


class TestOrder:
    def test_the_next_waits_for_the_one_before(self, store: Store) -> None:
        with store.transaction() as t:
            drafts = [
                t.outbox.add(message(n), account, b"content", 1)
                for n, account in enumerate([BOB, BOB, CAROL])
            ]
            assert t.outbox.heads(1) == (drafts[0], drafts[2])
            t.outbox.encrypted(drafts[0].number, EnvelopeId.at(1), b"body", PARTS)
            assert [type(head) for head in t.outbox.heads(1)] == [Queued, Draft]
            t.outbox.put_off(drafts[0].number, 100, "no network")
            assert t.outbox.heads(99) == (drafts[2],), "nothing overtakes what was put off"
            assert t.outbox.next_time() == 100
            assert t.outbox.heads(100)[0].number == drafts[0].number
            t.outbox.accepted(drafts[0].number, 101)
            assert t.outbox.head(BOB) == drafts[1]
            t.outbox.failed(drafts[1].number, 102, "given up")
            assert t.outbox.head(BOB) is None
            assert (t.outbox.count(), t.outbox.next_time()) == (1, None)

    def test_a_token_ends_the_wait_for_it(self, store: Store) -> None:
        with store.transaction() as t:
            bob, carol = queue(t, 0), queue(t, 1, CAROL)
            t.outbox.put_off(bob, 100, "no room for strangers", wants_token=True)
            t.outbox.put_off(carol, 100, "no room for strangers", wants_token=True)
            t.outbox.let_in(BOB)
            assert [each.number for each in t.outbox.heads(1)] == [bob]
            t.outbox.put_off(bob, 100, "no network")
            t.outbox.let_in(BOB)
            assert t.outbox.heads(1) == ()

    def test_any_course(self, store: Store) -> None:
        """What leaves the outbox for one account leaves in the order in which it came."""

        @settings(max_examples=50, deadline=None)
        @given(st.lists(st.tuples(st.sampled_from(["add", "encrypt", "accept", "fail"]), st.integers(0, 2))))
        def course(steps: list[tuple[str, int]]) -> None:
            accounts = [AccountId(bytes([n]) * 16) for n in range(3)]
            added: dict[AccountId, list[int]] = {account: [] for account in accounts}
            left: dict[AccountId, list[int]] = {account: [] for account in accounts}
            with store.transaction() as t:
                for account in accounts:
                    t.people.forget(account)
                for step, which in steps:
                    account = accounts[which]
                    head = t.outbox.head(account)
                    if step == "add":
                        added[account].append(t.outbox.add(MessageId.random(), account, b"", 1).number)
                    elif head is None:
                        continue
                    elif step == "encrypt" and isinstance(head, Draft):
                        t.outbox.encrypted(head.number, EnvelopeId.at(1), b"b", PARTS)
                    elif step == "accept" and isinstance(head, Queued):
                        t.outbox.accepted(head.number, 1)
                        left[account].append(head.number)
                    elif step == "fail":
                        t.outbox.failed(head.number, 1, "no")
                        left[account].append(head.number)
                for account in accounts:
                    assert left[account] == added[account][: len(left[account])]
                assert t.outbox.count() == sum(len(added[a]) - len(left[a]) for a in accounts)

        course()


class TestBytes:
    def test_every_attempt_has_the_same(self, store: Store) -> None:
        with store.transaction() as t:
            number = queue(t, 1)
            first = t.outbox.waiting(number)
        with store.transaction() as t:
            t.outbox.put_off(number, 0, "no network")
            t.outbox.renew(number, EnvelopeId.at(2))
            again = t.outbox.waiting(number)
        assert isinstance(first, Queued)
        assert isinstance(again, Queued)
        assert (again.body, again.parts, again.attempts) == (first.body, first.parts, 1)
        assert again.envelope != first.envelope
        assert {part.device: part.inner for part in first.parts} == {
            part.device: part.inner for part in PARTS
        }

    def test_other_devices(self, store: Store) -> None:
        with store.transaction() as t:
            number = queue(t, 1)
            t.outbox.set_parts(number, PARTS[:1])
            queued = t.outbox.waiting(number)
            assert isinstance(queued, Queued)
            assert queued.parts == PARTS[:1]
            assert not t.outbox.was_addressed(message(1), BOB, LAPTOP)

    def test_what_is_done_is_not_kept(self, store: Store) -> None:
        with store.transaction() as t:
            number = queue(t, 1)
            t.outbox.accepted(number, 2)
            assert t.outbox.waiting(number) is None
            assert t.outbox.was_addressed(message(1), BOB, PHONE)
            assert not t.outbox.was_addressed(message(1), CAROL, PHONE)
            t.outbox.trim(2 + outbox.FINISHED_KEPT)
            assert t.outbox.was_addressed(message(1), BOB, PHONE)
            t.outbox.trim(3 + outbox.FINISHED_KEPT)
            assert not t.outbox.was_addressed(message(1), BOB, PHONE)

    def test_no_content_is_printed(self, store: Store) -> None:
        with store.transaction() as t:
            draft = t.outbox.add(message(1), BOB, b"content", 1)
        assert "content=" not in repr(draft)


class TestDelivery:
    def states(self, t: Tables) -> list[State]:
        return [sent.state for sent in t.outbox.of(message(1))]

    def test_by_the_first_device_that_says_so(self, store: Store) -> None:
        with store.transaction() as t:
            number = queue(t, 1)
            t.outbox.accepted(number, 2)
            assert not t.outbox.delivered(message(1), CAROL, PHONE, 3), "somebody else cannot say it"
            assert not t.outbox.delivered(message(1), BOB, DeviceId.random(), 3)
            assert self.states(t) == [State.ACCEPTED]
            assert t.outbox.delivered(message(1), BOB, PHONE, 3)
            assert not t.outbox.delivered(message(1), BOB, PHONE, 3)
            assert not t.outbox.delivered(message(1), BOB, LAPTOP, 3)
            assert self.states(t) == [State.DELIVERED]

    def test_a_receipt_that_overtakes_the_servers_answer(self, store: Store) -> None:
        with store.transaction() as t:
            number = queue(t, 1)
            assert t.outbox.delivered(message(1), BOB, PHONE, 2)
            assert t.outbox.head(BOB) is None
            t.outbox.accepted(number, 3)
            assert self.states(t) == [State.DELIVERED]

    def test_what_failed_says_why(self, store: Store) -> None:
        with store.transaction() as t:
            t.outbox.failed(queue(t, 1), 2, "no such account")
            (sent,) = t.outbox.of(message(1))
            assert (sent.state, sent.reason) == (State.FAILED, "no such account")


class TestReceipts:
    def test_go_together_when_the_first_is_due(self, store: Store) -> None:
        with store.transaction() as t:
            for number, due in enumerate([30, 10, 20]):
                t.outbox.owe_receipt(BOB, message(number), due)
                t.outbox.owe_receipt(BOB, message(number), due)
            t.outbox.owe_receipt(CAROL, message(9), 50)
            assert t.outbox.next_receipt() == 10
            assert t.outbox.receipts_due(9) == ()
            assert t.outbox.receipts_due(10) == (BOB,)
            assert t.outbox.take_receipts(BOB, 2) == (message(1), message(2))
            assert t.outbox.take_receipts(BOB, 2) == (message(0),)
            assert t.outbox.next_receipt() == 50
