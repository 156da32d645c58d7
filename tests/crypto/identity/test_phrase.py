"""The recovery phrase survives paper and people, and a slip does not pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.crypto.identity import RecoverySeed, format_phrase, parse_phrase
from hushpost.errors import PhraseError

PHRASE = format_phrase(RecoverySeed(bytes(range(20))))
seeds = st.binary(min_size=20, max_size=20).map(RecoverySeed)


@given(seeds)
def test_a_phrase_gives_its_seed_back(seed: RecoverySeed) -> None:
    text = format_phrase(seed)
    assert parse_phrase(text) == seed
    assert [len(group) for group in text.split("-")] == [5] * 8


@given(seeds)
def test_what_people_do_to_it_does_not_matter(seed: RecoverySeed) -> None:
    text = format_phrase(seed)
    digits = text.replace("O", "0").replace("I", "1").replace("B", "8")
    for typed in (text.lower(), text.replace("-", ""), text.replace("-", " \n"), f"  {digits}\t"):
        assert parse_phrase(typed) == seed


@given(seeds, st.integers(0, 39), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_slip_is_noticed(seed: RecoverySeed, place: int, letter: str) -> None:
    text = format_phrase(seed).replace("-", "")
    if text[place] != letter:
        with pytest.raises(PhraseError):
            parse_phrase(text[:place] + letter + text[place + 1 :])


@pytest.mark.parametrize(
    "text",
    ["", "A", PHRASE[:-1], PHRASE + "A", PHRASE * 2, "=" * 40, "9" * 40, "é" * 40, " " * 201, "A" * 40],
)
def test_what_is_no_phrase(text: str) -> None:
    with pytest.raises(PhraseError) as caught:
        parse_phrase(text)
    assert PHRASE[:5] not in str(caught.value) + caught.value.hint


def test_the_key_depends_on_the_whole_seed() -> None:
    one, other = RecoverySeed(bytes(20)), RecoverySeed(bytes(19) + b"\1")
    assert one.secret.public != other.secret.public
    assert one.secret == RecoverySeed(bytes(20)).secret
    assert "redacted" in repr(one)
    assert "redacted" in repr(one.secret)
