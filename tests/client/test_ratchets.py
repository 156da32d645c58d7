"""Sessions of one transaction: opened once, stored once, and moved by nothing that was refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hushpost.client.ratchets import Ratchets
from hushpost.client.store import Store, StoreKey
from hushpost.crypto.body import BodyDigest
from hushpost.crypto.envelope import Claim
from hushpost.crypto.faults import EnvelopeFault
from hushpost.crypto.olm import OlmMessage
from hushpost.crypto.ratchet import Session
from hushpost.errors import EnvelopeError
from tests.crypto.pair import Phone
from tests.crypto.people import ALICE, BOB


@pytest.fixture(name="store")
def of_bob(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("bob") / "profile.db", StoreKey(bytes(32))) as opened:
        yield opened


class Line:
    """Alice writes to Bob, whose keys are in the store."""

    def __init__(self, store: Store) -> None:
        self.alice, self.bob = Phone(ALICE), Phone(BOB)
        self.session = self.alice.olm.open_session(self.bob.bundle())
        with store.transaction() as t:
            t.olm.keep(self.bob.olm.pickle())
        self.device = self.alice.device.id

    def says(self, text: bytes) -> Claim:
        return self.claim(self.session.encrypt(text))

    def claim(self, message: OlmMessage) -> Claim:
        sender = self.alice.manifest.account, self.device
        return Claim(*sender, self.session.hash, message, b"", BodyDigest.of(b""))

    def is_answered(self, store: Store) -> None:
        """From now on its messages open no session any more."""
        with store.transaction() as t:
            stored = t.sessions.active(self.device)
            assert stored is not None
            session = Session.unpickle(stored.pickle)
            self.session.decrypt(session.encrypt(b"I am here"))
            t.sessions.encrypted(stored, session.pickle())


def read(store: Store, line: Line, *claims: tuple[Claim, bool]) -> list[bytes | EnvelopeFault]:
    """What one transaction makes of these; each is kept or refused."""
    found: list[bytes | EnvelopeFault] = []
    with store.transaction() as t:
        ratchets = Ratchets(t)
        for claim, kept in claims:
            try:
                ratchet = ratchets.decrypt(claim)
            except EnvelopeError as error:
                found.append(EnvelopeFault(error.reason))
                continue
            found.append(ratchet.proof.plaintext)
            if kept:
                ratchets.keep(ratchet, claim, line.device, 1)
            else:
                ratchets.refuse(ratchet)
    return found


def test_many_in_one_transaction_and_on_in_the_next(store: Store) -> None:
    line = Line(store)
    claims = [line.says(b"%d" % number) for number in range(6)]
    assert read(store, line, *((each, True) for each in claims[:3])) == [b"0", b"1", b"2"]
    assert read(store, line, *((each, True) for each in claims[3:])) == [b"3", b"4", b"5"]
    assert read(store, line, *((each, True) for each in claims)) == [EnvelopeFault.RATCHET] * 6


@pytest.mark.parametrize("answered", [False, True])
def test_what_is_refused_moves_nothing_and_takes_nothing_along(store: Store, *, answered: bool) -> None:
    line = Line(store)
    assert read(store, line, (line.says(b"first"), True)) == [b"first"]
    if answered:
        line.is_answered(store)
    one, two, three = (line.says(text) for text in (b"one", b"two", b"three"))
    course = [(one, True), (two, False), (three, True), (two, False), (two, True)]
    assert read(store, line, *course) == [b"one", b"two", b"three", b"two", b"two"]
    assert read(store, line, (two, True), (one, True), (three, True)) == [EnvelopeFault.RATCHET] * 3
    assert read(store, line, (line.says(b"more"), True)) == [b"more"]


def test_a_first_message_that_is_refused_uses_up_no_key(store: Store) -> None:
    line = Line(store)
    first = line.says(b"first")
    assert read(store, line, (first, False), (first, False), (first, True)) == [b"first"] * 3
    assert read(store, line, (first, True)) == [EnvelopeFault.RATCHET]
    with store.reading() as t:
        assert len(t.sessions.every(line.device)) == 1


def test_a_transaction_that_fails_leaves_every_ratchet_where_it_was(store: Store) -> None:
    line = Line(store)
    read(store, line, (line.says(b"first"), True))
    claim = line.says(b"second")

    def fail() -> None:
        with store.transaction() as t:
            ratchets = Ratchets(t)
            ratchets.keep(ratchets.decrypt(claim), claim, line.device, 1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert read(store, line, (claim, True)) == [b"second"]
