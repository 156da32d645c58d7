"""Hostile names of files: wherever they are written, they stay where they were put, seen, and alone."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hushpost.filenames import safe_name
from tests.safety import check_name

SIGNS = "/\\.- :*?<>|\"'_~\0\n\t\x1b\x7f\x9b()23\u00b9Cc\u202e\u200b\u200d\u200c\ufeff\u00a0\u3000\u2028"
WORDS = [
    "CON",
    "nul",
    "com1",
    ".tar",
    ".gz",
    "e\u0301",
    "\u9b91",
    "\U0001f600",
    "\ud800",
    "\ue000",
    "long" * 60,
]
pieces = st.sampled_from([*SIGNS, *WORDS]) | st.characters()
nasty = st.lists(pieces, max_size=80).map("".join)


@pytest.mark.parametrize(
    ("hostile", "safe"),
    [
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\Users\\me\\notes.txt", "notes.txt"),
        ("C:notes.txt", "C_notes.txt"),
        ("folder/", "folder"),
        ("..", "file"),
        ("", "file"),
        ("///", "file"),
        (". . .", "file"),
        ("\u200d\u200c", "file"),
        (".bashrc", "bashrc"),
        ("\u200d.bashrc", "bashrc"),
        ("-rf", "rf"),
        ("- .-rf", "rf"),
        ("report.pdf. . ", "report.pdf"),
        ("report.pdf\u00a0", "report.pdf"),
        ("photo_gpj.\u202eexe", "photo_gpj._exe"),
        ("a\0b\nc\x1b[31m\x9b", "a_b_c_[31m_"),
        ("a<b>c:d\"e|f?g*h", "a_b_c_d_e_f_g_h"),
        ("notes.txt:stream", "notes.txt_stream"),
        ("\ud800.txt", "_.txt"),
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("Nul .tar.gz", "_Nul .tar.gz"),
        ("COM¹", "_COM¹"),
        ("LPT0.x.y", "_LPT0.x.y"),
        ("conin$", "_conin$"),
        ("..aux", "_aux"),
        ("CONSOLE.txt", "CONSOLE.txt"),
        ("COM10", "COM10"),
        ("e\u0301te\u0301.txt", "\u00e9t\u00e9.txt"),
        ("Screenshot at 1.00.00\u202fPM.png", "Screenshot at 1.00.00 PM.png"),
        ("CON" + " " * 300 + "x", "_CON"),
        ("CON." + "x" * 251, "_CON." + "x" * 250),
        ("CON" + " " * 300 + "x.txt", "_CON.txt"),
    ],
)  # fmt: skip
def test_hostile_names_are_made_safe(hostile: str, safe: str) -> None:
    assert safe_name(hostile) == safe


@pytest.mark.parametrize(
    "name",
    [
        "report.pdf",
        "backup.tar.gz",
        "no suffix",
        "Ünï-Cödé_1 (2).txt",
        "鮑勃.jpg",
        "\u062e\u0627\u0646\u0647\u200c\u0647\u0627.pdf",
        "\U0001f468\u200d\U0001f469.png",
        "a'b & c, d; $e #f %g ~h @i [j] {k}.md",
        "x" * 255,
        "é" * 125 + ".jpeg",
    ],
)
def test_good_names_stay(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("long", "fitted"),
    [
        ("x" * 256, "x" * 255),
        ("x" * 300 + ".jpeg", "x" * 250 + ".jpeg"),
        ("x" * 300 + ".tar.gz", "x" * 248 + ".tar.gz"),
        ("é" * 200 + ".jpg", "é" * 125 + ".jpg"),
        ("é" * 200 + ".jpeg", "é" * 125 + ".jpeg"),
        ("😀" * 100, "😀" * 63),
        ("x" * 240 + "." + "y" * 31, "x" * 223 + "." + "y" * 31),
        ("x" * 240 + "." + "y" * 32, "x" * 240 + "." + "y" * 14),
        ("x" * 240 + ". y" + "z" * 20, "x" * 240 + ". y" + "z" * 12),
        ("x" * 245 + " . . . . . . . y.pdf", "x" * 245 + ".pdf"),
        ("x" * 254 + ".y" + "z" * 40, "x" * 254),
    ],
)
def test_long_names_keep_their_suffix(long: str, fitted: str) -> None:
    assert safe_name(long) == fitted


def test_what_is_there_is_never_named_again() -> None:
    there: set[str] = set()
    for _ in range(12):
        name = safe_name("a.tar.gz", there.__contains__)
        assert name not in there
        there.add(name)
    assert {"a.tar.gz", "a (2).tar.gz", "a (12).tar.gz"} <= there
    long = "x" * 251 + ".pdf"
    assert safe_name(long, {long}.__contains__) == "x" * 247 + " (2).pdf"
    assert safe_name("none", {"none"}.__contains__) == "none (2)"


@example("CON" + " " * 300 + "x", 3)
@example("com1" + " " * 300 + ".txt", 1)
@given(nasty, st.integers(0, 12))
def test_no_name_does_harm(hostile: str, there: int) -> None:
    names: set[str] = set()
    for _ in range(there + 1):
        name = safe_name(hostile, names.__contains__)
        check_name(name)
        assert name not in names
        assert safe_name(name) == name, "a safe name is safe"
        names.add(name)


@given(st.text(max_size=300))
def test_any_text_becomes_a_name(hostile: str) -> None:
    check_name(safe_name(hostile))
