"""Who we are, and whether this database is an old copy of itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hushpost.client.store import NO_EPOCH, DeliveryToken, Enrolment, Epoch, Home, Me, Position, Store
from hushpost.crypto.identity import Authority, InviteToken, LeafKeyDigest, ServerSecret, ServerStatement
from hushpost.crypto.primitives import SealSecret
from tests.crypto.people import ALICE, BOB

EPOCH, OTHER = Epoch(b"1" * 16), Epoch(b"2" * 16)
SERVER = ServerSecret(bytes([9]) * 32)


def me(pin: Authority | None = None) -> Me:
    home = Home("example.org", 4000, pin or SERVER.public.fingerprint)
    device = ALICE.first().devices[0].id
    return Me(
        ALICE.account,
        device,
        "alice",
        home,
        Enrolment.PENDING,
        ALICE.secret,
        InviteToken(b"i" * 16),
        BOB.account,
        7,
    )


class TestMe:
    @pytest.mark.parametrize("pin", [None, Authority.CA])
    def test_comes_back_as_it_was(self, store: Store, pin: Authority | None) -> None:
        with store.transaction() as t:
            assert t.me.get() is None
            t.me.found(me(pin))
            assert t.me.get() == me(pin)

    def test_enrolled(self, store: Store) -> None:
        """The invitation is a secret, and has served."""
        with store.transaction() as t:
            t.me.found(me())
            t.me.enrolled(Enrolment.ENROLLED)
            assert t.me.get() == replace(me(), enrolment=Enrolment.ENROLLED, invite=None)
            moved = Home("elsewhere.org", 1, SERVER.public.fingerprint)
            t.me.moved(moved)
            assert t.me.get() == replace(me(), enrolment=Enrolment.ENROLLED, invite=None, home=moved)

    def test_leaving_deletes_every_secret(self, store: Store) -> None:
        with store.transaction() as t:
            t.me.found(me())
            t.olm.keep(b"pickle")
            t.seals.add(SealSecret.random(), 1, 1)
            t.me.new_token(DeliveryToken.random())
            t.me.forget_secrets()
            found = t.me.get()
            assert found is not None
            assert found.account_secret is None
            assert (t.olm.pickle(), t.seals.every(), t.me.token()) == (None, (), None)
        assert store.purge_due()

    def test_nothing_secret_is_printed(self) -> None:
        text = repr(me())
        assert "alice" not in text
        assert text.count("redacted") == 2

    def test_the_servers_statement(self, store: Store) -> None:
        statement = ServerStatement.by(SERVER, LeafKeyDigest(bytes(32)), 1, 2, 3)
        with store.transaction() as t:
            assert t.me.statement() is None
            t.me.keep_statement(statement)
            assert t.me.statement() == statement

    def test_tokens(self, store: Store) -> None:
        with store.transaction() as t:
            assert t.me.token() is None
            first = t.me.new_token(DeliveryToken(b"1" * 32))
            second = t.me.new_token(DeliveryToken(b"2" * 32))
            assert second.generation > first.generation
            assert t.me.token() == second
            t.me.token_published(second.generation)
            assert t.me.token() == replace(second, published=True)


class TestPosition:
    def test_only_grows_within_an_epoch(self, store: Store) -> None:
        with store.transaction() as t:
            assert t.me.position() == Position(NO_EPOCH, 0)
            for epoch, sequence, expected in [
                (EPOCH, 5, 5), (EPOCH, 3, 5), (EPOCH, 6, 6), (OTHER, 2, 2), (OTHER, 1, 2),
            ]:  # fmt: skip
                t.me.committed(epoch, sequence)
                assert t.me.position() == Position(epoch, expected)

    @pytest.mark.parametrize(
        ("epoch", "acknowledged", "old"),
        [(EPOCH, 0, False), (EPOCH, 10, False), (EPOCH, 11, True), (OTHER, 11, False)],
    )
    def test_an_old_copy_is_noticed(self, epoch: Epoch, acknowledged: int, old: bool) -> None:
        assert Position(EPOCH, 10).is_old_copy(epoch, acknowledged) is old

    def test_a_position_that_was_rolled_back_with_its_transaction(self, store: Store) -> None:
        """What is acknowledged was committed: a crash in between is no old copy."""

        def half() -> None:
            with store.transaction() as t:
                t.me.committed(EPOCH, 5)
                raise KeyError

        with pytest.raises(KeyError):
            half()
        with store.reading() as t:
            assert t.me.position() == Position(NO_EPOCH, 0)
