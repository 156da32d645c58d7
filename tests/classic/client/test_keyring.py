"""The rules that keep a pair in agreement: with ours, with the original's, crossed and repeated."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.classic import crypto
from hushpost.classic.client import keyring
from hushpost.classic.client.keyring import RECEIVED_KEYS_KEPT, PairKeys
from hushpost.classic.crypto import PairKey
from hushpost.errors import Undecryptable

KEYS = [PairKey(bytes([number]) * 16) for number in range(6)]


def content(key: PairKey, plain: bytes) -> bytes:
    return b"".join(bytes(piece) for piece in crypto.seal_pieces(key, [plain]))


def fitting_by_chance(plain: bytes, wrong: PairKey) -> tuple[PairKey, bytes]:
    """A content under some key that opens with a valid padding under the wrong one as well."""
    for number in range(100_000):
        key = PairKey(number.to_bytes(16, "big"))
        sealed = content(key, plain)
        if crypto.padding_under(wrong, sealed[-32:-16].rjust(16, b"\0"), sealed[-16:]) == 1:
            return key, sealed
    raise AssertionError("one key in 256 should fit")


def test_without_a_key_there_is_nothing_to_send_with() -> None:
    assert PairKeys().to_send_with is None
    assert PairKeys().to_open_with == []


def test_our_key_counts_once_the_server_has_accepted_it() -> None:
    pair = PairKeys()
    key = pair.offer()
    assert pair.to_send_with is None
    assert pair.to_open_with == [key]
    pair.accepted(key)
    assert pair.to_send_with == key


def test_an_unclear_send_is_repeated_with_the_same_key() -> None:
    pair = PairKeys()
    assert pair.offer() == pair.offer()


def test_the_newest_received_key_wins_over_ours() -> None:
    pair = PairKeys()
    pair.accepted(pair.offer())
    for key in KEYS[:2]:
        pair.receive(key)
        assert pair.to_send_with == key
    assert pair.to_open_with == [KEYS[1], KEYS[0], PairKey(pair.ours)]


def test_a_key_that_comes_again_is_the_newest_and_stored_once() -> None:
    pair = PairKeys()
    for key in (KEYS[0], KEYS[1], KEYS[0]):
        pair.receive(key)
    assert pair.to_open_with == [KEYS[0], KEYS[1]]


def test_the_key_in_use_is_what_we_offer_again() -> None:
    """An original client that has it ignores it; one that has lost it takes it: both agree."""
    pair = PairKeys()
    pair.receive(KEYS[0])
    key = pair.offer()
    pair.accepted(key)
    assert key == pair.to_send_with == KEYS[0]
    assert not pair.ours


def test_the_number_of_keys_is_bounded_and_ours_stays() -> None:
    pair = PairKeys()
    ours = pair.offer()
    for key in KEYS:
        pair.receive(key)
    assert pair.to_open_with == [*reversed(KEYS[-RECEIVED_KEYS_KEPT:]), ours]


@pytest.mark.parametrize("stored", [b'{"ours":"AA=="}', b'{"received":["AA=="]}'])
def test_a_stored_key_of_another_size_is_refused(stored: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(stored, type=PairKeys)


@dataclass
class Ours:
    """One of our clients, and the key messages on their way to it."""

    pair: PairKeys = field(default_factory=PairKeys)
    inbox: list[PairKey] = field(default_factory=list)

    def send_key(self, peer: Ours | Original) -> None:
        key = self.pair.offer()
        peer.inbox.append(key)
        self.pair.accepted(key)

    def fetch(self) -> None:
        for key in self.inbox:
            self.pair.receive(key)
        self.inbox.clear()

    def sends_with(self) -> PairKey | None:
        return self.pair.to_send_with

    def opens(self, key: PairKey) -> bool:
        return key in self.pair.to_open_with


@dataclass
class Original:
    """The original's client as it was observed: the first key stays, in memory."""

    key: PairKey | None = None
    inbox: list[PairKey] = field(default_factory=list)

    def send_key(self, peer: Ours | Original) -> None:
        self.key = self.key or crypto.new_pair_key()
        peer.inbox.append(self.key)

    def fetch(self) -> None:
        for key in self.inbox:
            self.key = self.key or key
        self.inbox.clear()

    def sends_with(self) -> PairKey | None:
        return self.key

    def opens(self, key: PairKey) -> bool:
        return key == self.key


@pytest.mark.parametrize("peer_type", [Ours, Original])
@given(steps=st.lists(st.sampled_from(["our key", "their key", "we fetch", "they fetch"]), min_size=1))
def test_whatever_crosses_both_sides_understand_each_other(
    peer_type: type[Ours | Original], steps: list[str]
) -> None:
    us, them = Ours(), peer_type()
    for step in [*steps, "we fetch", "they fetch"]:
        match step:
            case "our key":
                us.send_key(them)
            case "their key":
                them.send_key(us)
            case "we fetch":
                us.fetch()
            case "they fetch":
                them.fetch()
    for sender, reader in ((us, them), (them, us)):
        key = sender.sends_with()
        assert key is None or reader.opens(key)
    if any(step.endswith("key") for step in steps):
        assert us.sends_with()
        assert them.sends_with()


def test_an_original_that_restarted_gets_the_pair_going_again_by_our_key() -> None:
    us, them = Ours(), Original()
    them.send_key(us)
    us.fetch()
    restarted = Original()
    us.send_key(restarted)
    restarted.fetch()
    key = us.sends_with()
    assert key
    assert restarted.opens(key)


def test_an_original_that_restarted_gets_the_pair_going_again_by_its_key() -> None:
    us, them = Ours(), Original()
    them.send_key(us)
    us.fetch()
    restarted = Original()
    restarted.send_key(us)
    us.fetch()
    assert us.sends_with() == restarted.key != them.key


def test_a_text_opens_with_whichever_key_fits() -> None:
    for key in KEYS:
        assert keyring.open_text(KEYS, content(key, b"hello\0")).text == "hello"


def test_a_strict_text_beats_a_padding_that_fits_by_chance() -> None:
    right, sealed = fitting_by_chance(b"hello\0", KEYS[0])
    assert keyring.open_text([KEYS[0], right], sealed).text == "hello"


def test_the_longest_padding_tells_the_key_of_a_file() -> None:
    right, sealed = fitting_by_chance(b"0123456789", KEYS[0])
    assert keyring.key_for([KEYS[0], right], sealed) == right


@given(size=st.integers(0, 64))
def test_the_key_of_a_file_of_any_size_is_found(size: int) -> None:
    sealed = content(KEYS[2], bytes(size))
    assert keyring.key_for([KEYS[2], KEYS[1]], sealed[-32:]) == KEYS[2]


@pytest.mark.parametrize("keys", [[], [KEYS[1]]])
def test_without_the_right_key_nothing_opens(keys: list[PairKey]) -> None:
    sealed = content(KEYS[0], b"text\0")
    with pytest.raises(Undecryptable, match="key"):
        keyring.open_text(keys, sealed)
    with pytest.raises(Undecryptable, match="key"):
        keyring.key_for(keys, sealed)


@pytest.mark.parametrize("sealed", [b"", b"x", b"x" * 17])
def test_what_is_no_whole_block_does_not_open(sealed: bytes) -> None:
    with pytest.raises(Undecryptable):
        keyring.open_text(KEYS, sealed)
    with pytest.raises(Undecryptable):
        keyring.key_for(KEYS, sealed)
