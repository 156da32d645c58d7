"""`hush contacts` and `hush verify`, and what the shell completes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.members import Member, Place
from tests.cli.shells import Shell, apart


def test_adding_by_link_is_verified_and_by_name_is_not(alice: Member, bob: Member) -> None:
    by_link = alice("contacts", "add", bob.link)
    assert (by_link.code, by_link.out, by_link.err) == (0, f"added: [verified] {bob.name}\n", "")
    by_name = bob("contacts", "add", alice.name)
    assert (by_name.code, by_name.out) == (0, f"added: [unverified] {alice.name}\n")
    assert "hush verify" in by_name.err


def test_the_list(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    [listed] = alice("contacts", "list", "--json").lines
    assert {**listed, "since": 0} == {
        "account": bob.account,
        "name": bob.name,
        "alias": "",
        "standing": "contact",
        "trust": "verified",
        "devices": 1,
        "since": 0,
    }
    assert alice("contacts", "list").out == f"{bob.account}  [verified] {bob.name}\n"


def test_an_empty_list(alice: Member) -> None:
    listed = alice("contacts", "list")
    assert (listed.code, listed.out) == (0, "")
    assert "contacts add" in listed.err


def test_adding_whom_there_is_not(alice: Member) -> None:
    for who in ("nobody-has-this-name", alice.link.replace("/u/", "/x/")):
        refused = alice("contacts", "add", who)
        assert refused.code in {2, 5}
        assert refused.out == ""


@pytest.mark.parametrize(
    "slip",
    [
        lambda link: link[:-1],
        lambda link: link.removeprefix("hush:"),
        lambda link: link.replace("hush://", "HUSH:/"),
        lambda _: "http://example.org",
        lambda _: "two\nlines",
        lambda _: "x",
    ],
)
def test_a_link_with_a_slip_is_told_to_nobody(alice: Member, bob: Member, slip: Callable[[str], str]) -> None:
    """As a name it would go to the server, fingerprint and all: which answers with another code."""
    refused = alice("contacts", "add", slip(bob.link))
    assert (refused.code, refused.out) == (2, "")


def test_an_alias_is_a_hostile_name_too(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    for alias in ("Bo\x1b[2Jb", "b" * 255, " bob", alice.account, "bob\u202e"):
        assert alice("contacts", "rename", bob.name, alias).code == 2
    assert [each["alias"] for each in alice("contacts", "list", "--json").lines] == [""]


def test_what_is_done_about_a_stranger_is_not_done_to_a_contact(
    friends: tuple[Member, Member], shell: Shell, place: Place, tmp_path: Path
) -> None:
    """Bob is called like somebody who writes afterwards."""
    alice, bob = friends
    mallory = place.member(shell, tmp_path / "mallory")
    assert alice("contacts", "rename", bob.name, mallory.name).code == 0
    assert mallory("contacts", "add", alice.link).code == 0
    assert mallory("send", alice.name, "I am bob").code == 0
    assert alice("read").code == 0
    for change in (("block", mallory.name), ("accept", mallory.name), ("rename", mallory.name, "x")):
        refused = alice("contacts", *change)
        assert (refused.code, refused.out) == (2, "")
        assert f"{bob.account} (contact)" in refused.err
        assert f"{mallory.account} (request)" in refused.err
    assert alice("contacts", "block", mallory.account).out == f"blocked: [blocked] {mallory.name}\n"


def test_renaming_and_back(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    assert alice("contacts", "rename", bob.name, "Bobby").out == "renamed: [verified] Bobby\n"
    assert alice("contacts", "list").out.endswith(f"[verified] Bobby, who calls themselves {bob.name}\n")
    assert alice("send", "Bobby", "hello").code == 0
    assert alice("contacts", "rename", "Bobby", "").out == f"renamed: [verified] {bob.name}\n"


def test_safety_numbers_are_equal_and_make_verified(alice: Member, bob: Member) -> None:
    assert alice("contacts", "add", bob.name).code == 0
    assert bob("contacts", "add", alice.name).code == 0
    [hers], [his] = alice("verify", bob.name, "--json").lines, bob("verify", alice.name, "--json").lines
    assert hers["safety_number"] == his["safety_number"]
    assert (len(hers["safety_number"]), hers["trust"]) == (60, "unverified")
    shown = alice("verify", bob.name)
    assert "".join(shown.out.split("\n\n")[1].split()) == hers["safety_number"]
    assert "--confirm" in shown.err
    assert alice("verify", bob.name, "--confirm").out.endswith(f"verified: [verified] {bob.name}\n")
    assert alice("verify", bob.name, "--json").lines[0]["trust"] == "verified"
    assert bob("verify", alice.name, "--confirm", "--json").lines[0]["trust"] == "verified"


def test_a_name_never_stands_for_an_account(
    friends: tuple[Member, Member], shell: Shell, place: Place, tmp_path: Path
) -> None:
    """Whoever calls himself like bob's account is not bob: not in what alice reads, nor where she writes."""
    alice, bob = friends
    mallory = Member(shell, tmp_path / "mallory", bob.account)
    mallory.join(place.invitation)
    assert alice("contacts", "add", mallory.link).code == 0
    assert alice("send", bob.account, "for bob only", "--json").lines[0]["to"] == bob.name
    assert mallory("read", "--json").out == ""
    assert bob("send", alice.name, "from bob").code == 0
    assert alice("read", "--json").lines[0]["from"] == bob.name


def test_a_stranger_does_not_take_the_place_of_a_contact(
    friends: tuple[Member, Member], shell: Shell, place: Place, tmp_path: Path
) -> None:
    alice, bob = friends
    mallory = place.member(shell, tmp_path / "mallory")
    assert alice("contacts", "rename", bob.name, mallory.name).code == 0
    assert mallory("contacts", "add", alice.link).code == 0
    assert mallory("send", alice.name, "I am bob").code == 0
    assert f"[stranger] {mallory.name}" in alice("read").out
    assert alice("send", mallory.name, "for bob only", "--json").lines[0]["account"] == bob.account


def test_names_are_completed(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    completed = apart(
        environment={
            **alice.environment,
            "_HUSH_COMPLETE": "complete_bash",
            "COMP_WORDS": f"hush send {bob.name[:5]}",
            "COMP_CWORD": "2",
        }
    )
    assert completed.out.split() == [bob.name]


def test_completion_of_nothing_is_quiet() -> None:
    completed = apart(
        environment={
            "HUSH_HOME": "/nowhere",
            "_HUSH_COMPLETE": "complete_bash",
            "COMP_WORDS": "hush send ",
            "COMP_CWORD": "2",
        }
    )
    assert (completed.out.strip(), completed.err) == ("", "")


def test_json_of_people_stays_one_line_each(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    alice("contacts", "rename", bob.name, "two words")
    out = alice("contacts", "list", "--json").out
    assert json.loads(out)["alias"] == "two words"
    assert out.isascii()
