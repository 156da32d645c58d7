"""`hush contacts directory`: who is on a server that is open for that question."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.process import ServerProcess, post_server
from tests.cli.members import Member, Place, invitation
from tests.cli.shells import Shell

NAMES = ["ann", "anna", "anne lise", "ben", "Ünal"]


@pytest.fixture(scope="module")
def open_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server whose members may list each other."""
    data = tmp_path_factory.mktemp("open-office")
    with ServerProcess(post_server(data, "--directory", "open")) as process:
        yield Place(process, data, invitation(data))


@pytest.fixture
def asker(shell: Shell, open_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Member:
    """One of all who are there."""
    homes = tmp_path_factory.getbasetemp() / "listed"
    members = [Member(shell, homes / str(number), name) for number, name in enumerate(NAMES)]
    if not homes.exists():
        for each in members:
            each.join(open_place.invitation)
    return members[0]


def names(member: Member, *arguments: str) -> list[str]:
    return [each["name"] for each in member("contacts", "directory", *arguments, "--json").lines]


def test_pages_of_a_directory(asker: Member) -> None:
    assert names(asker) == NAMES
    assert names(asker, "ann") == ["ann", "anna", "anne lise"]
    assert names(asker, "--after", "anna", "--limit", "2") == ["anne lise", "ben"]
    some = asker("contacts", "directory", "ann", "--limit", "2")
    assert some.err == "there are more: --after anna\n"
    assert [line.partition("  ")[2] for line in some.out.splitlines()] == ["[unknown] ann", "[unknown] anna"]
    nobody = asker("contacts", "directory", "zoe")
    assert (nobody.code, nobody.out) == (0, "")


def test_who_is_known_is_marked(asker: Member) -> None:
    assert asker("contacts", "add", "ben").code == 0
    marked = {each["name"]: each["known"] for each in asker("contacts", "directory", "--json").lines}
    assert marked == {name: name == "ben" for name in NAMES}


def test_what_no_name_is_like(asker: Member) -> None:
    refused = asker("contacts", "directory", "a\x1b[2J")
    assert (refused.code, refused.out) == (2, "")


def test_a_closed_directory(alice: Member) -> None:
    refused = alice("contacts", "directory")
    assert (refused.code, refused.out) == (5, "")
    assert "cannot be listed" in refused.err
    assert "links" in refused.err
