"""Hostile names and texts: nothing of them may act on a file system or a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.untrusted import MAX_STEM_BYTES, file_stem, printable, printable_lines


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("alice", "alice"),
        ("Ünï-Cödé_1", "Ünï-Cödé_1"),
        ("../../etc/passwd", "etc_passwd"),
        ("/root", "root"),
        ("a\\b", "a_b"),
        ("..", "fallback"),
        ("", "fallback"),
        ("-rf", "rf"),
        (".bashrc", "bashrc"),
        ("CON.txt", "CON_txt"),
        ("a\0b\nc\x1b[31m", "a_b_c__31m"),
        ("gnp\u202eexe", "gnp_exe"),
        ("a:b*c?", "a_b_c"),
    ],
)
def test_names_become_plain_file_names(name: str, stem: str) -> None:
    assert file_stem(name, "fallback") == stem


@given(st.text())
def test_no_name_leads_anywhere(name: str) -> None:
    stem = file_stem(name, "fallback")
    assert stem
    assert len(stem.encode()) <= MAX_STEM_BYTES
    assert all(char.isalnum() or char in "-_" for char in stem)
    assert stem[0] != "-"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_nothing_printed_controls_the_terminal(text: str) -> None:
    shown = printable(text)
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)
    assert not set(shown) & set("\u2028\u2029\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def test_controls_are_shown_as_codes() -> None:
    assert printable("\x1b[2J\r\x9b\u202e\U000e0001") == "\\x1b[2J\\x0d\\x9b\\u202e\\U000e0001"


@pytest.mark.parametrize("char", ["\u034f", "\u3164", "\u115f", "\u2800", "\ufe0f", "\U000e0100", "\uffa0"])
def test_what_cannot_be_seen_is_shown_as_a_code(char: str) -> None:
    """Else two names that differ look the same, and a blank can be made of something."""
    assert printable(f"alice{char}") == f"alice{printable(char)}"
    assert printable(char).startswith("\\")


def test_an_emoji_keeps_what_makes_it_one() -> None:
    for emoji in ("\u2764\ufe0f", "1\ufe0f\u20e3", "\u2764\ufe0f\u200d\U0001f525", "\u270c\U0001f3fd"):
        assert printable(emoji) == emoji
    assert printable("\u2764\ufe0f\ufe0f") == "\u2764\ufe0f\\ufe0f"


def test_ordinary_writing_is_left_alone() -> None:
    text = "h\u00e9llo \u05e9\u05dc\u05d5\u05dd \U0001f468\u200d\U0001f469 [red]not markup[/red] \\n"
    assert printable(text) == text


def test_every_line_of_a_text_is_indented() -> None:
    assert printable_lines("one\ntwo\r\nthree\rfour") == "    one\n    two\n    three\\x0dfour"
