"""`hush join`, `whoami`, `invite`, `recover`, `leave`, `usage` and `doctor`."""

from __future__ import annotations

import os
import secrets
import stat
import subprocess
from pathlib import Path

import pytest

from harness.process import HUSH
from hushpost.crypto.identity import ContactLink, InviteToken, JoinLink, parse_link
from tests.cli.members import Member, Place
from tests.cli.shells import Shell, apart


@pytest.fixture
def nobody(shell: Shell, tmp_path: Path) -> Member:
    """A machine on which nobody has joined yet."""
    return Member(shell, tmp_path / "nobody", f"nobody-{secrets.token_hex(4)}")


def test_joining_shows_the_link_and_the_phrase_once(nobody: Member, place: Place) -> None:
    joined = nobody("join", place.invitation, "--name", nobody.name)
    assert joined.code == 0, joined.err
    lines = joined.out.splitlines()
    assert lines[0] == f"joined {place.process.host_port} as {nobody.name}"
    link = parse_link(lines[2])
    assert isinstance(link, ContactLink)
    assert link.name == nobody.name
    groups = lines[4].strip().split("-")
    assert [len(group) for group in groups] == [5] * 8
    assert "write it down" in joined.err
    later = nobody("whoami").out + nobody("doctor").out
    assert lines[4].strip() not in later
    assert lines[2].strip() in later


def test_a_phrase_that_could_not_be_written_is_shown_again(nobody: Member, place: Place) -> None:
    command = [HUSH, "join", place.invitation, "--name", nobody.name]
    with Path("/dev/full").open("wb") as full:
        environment = {**os.environ, **nobody.environment}
        failed = subprocess.run(command, check=False, env=environment, stdout=full, timeout=60)
    assert failed.returncode == 1
    assert "your recovery phrase" in nobody(*command[1:]).out


def test_whoami_in_json(alice: Member) -> None:
    [me] = alice("whoami", "--json").lines
    assert sorted(me) == ["account", "device", "link", "name"]
    assert (me["name"], me["link"]) == (alice.name, alice.link)
    assert len(bytes.fromhex(me["account"])) == len(bytes.fromhex(me["device"])) == 16


def test_whoami_needs_no_server(shell: Shell, place: Place, tmp_path: Path) -> None:
    someone = place.member(shell, tmp_path / "someone")
    told = someone.apart("whoami")
    assert (told.code, told.out) == (0, f"{someone.name}\n    {someone.link}\n")


def test_the_phrase_into_a_file(nobody: Member, place: Place, tmp_path: Path) -> None:
    path = tmp_path / "phrase"
    [joined] = nobody(
        "join", place.invitation, "--name", nobody.name, "--recovery-file", str(path), "--json"
    ).lines
    assert "recovery_phrase" not in joined
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().strip()) == 47


@pytest.mark.parametrize("name", ["taken", "no-folder/phrase"])
def test_a_file_that_cannot_be_is_noticed_before_joining(
    nobody: Member, place: Place, tmp_path: Path, name: str
) -> None:
    (tmp_path / "taken").write_text("something else")
    command = ("join", place.invitation, "--name", nobody.name, "--recovery-file", str(tmp_path / name))
    refused = nobody(*command)
    assert (refused.code, refused.out) == (3, "")
    assert (tmp_path / "taken").read_text() == "something else"
    assert nobody("join", place.invitation, "--name", nobody.name).code == 0


def test_a_join_that_fails_leaves_no_file(nobody: Member, tmp_path: Path) -> None:
    path = tmp_path / "phrase"
    refused = nobody("join", "hush://nowhere", "--name", "nobody", "--recovery-file", str(path))
    assert refused.code == 2
    assert not path.exists()


@pytest.mark.parametrize(
    ("link", "code", "word"),
    [
        ("hush://127.0.0.1:1/join#nonsense", 2, "link"),
        ("https://example.org/", 2, "link"),
        ("", 2, "link"),
        ("hush://127.0.0.1:1/join\x1b[2J#a.b", 2, "link"),
    ],
)
def test_what_is_no_invitation(nobody: Member, link: str, code: int, word: str) -> None:
    refused = nobody("join", link, "--name", "nobody")
    assert (refused.code, refused.out) == (code, "")
    assert word in refused.err
    assert "Traceback" not in refused.err
    assert "\x1b" not in refused.err


def test_a_contact_is_no_invitation(nobody: Member, alice: Member) -> None:
    refused = nobody("join", alice.link, "--name", nobody.name)
    assert refused.code == 2
    assert "invitation" in refused.err


def test_an_invitation_that_is_not_good(nobody: Member, place: Place) -> None:
    link = parse_link(place.invitation)
    assert isinstance(link, JoinLink)
    forged = str(JoinLink(link.host, link.port, link.server, InviteToken.random()))
    refused = nobody("join", forged, "--name", nobody.name)
    assert (refused.code, refused.out) == (5, "")
    assert nobody("join", place.invitation, "--name", nobody.name).code == 0


def test_a_name_that_is_taken(nobody: Member, alice: Member, place: Place) -> None:
    refused = nobody("join", place.invitation, "--name", alice.name)
    assert (refused.code, refused.out) == (5, "")
    assert "taken" in refused.err
    assert nobody("join", place.invitation, "--name", nobody.name).code == 0


@pytest.mark.parametrize("name", ["", "x", "a\nb", "\u202egnp", "a" * 255, " lead"])
def test_names_that_nobody_may_have(nobody: Member, place: Place, name: str) -> None:
    refused = nobody("join", place.invitation, "--name", name)
    assert (refused.code, refused.out) == (2, "")
    assert "name" in refused.err


def test_another_server_than_the_link_names(nobody: Member, place: Place) -> None:
    link = parse_link(place.invitation)
    assert isinstance(link, JoinLink)
    other = str(JoinLink(link.host, link.port, type(link.server)(os.urandom(32)), link.token))
    refused = nobody("join", other, "--name", nobody.name)
    assert (refused.code, refused.out) == (11, "")


def test_joining_twice(alice: Member, place: Place) -> None:
    again = alice("join", place.invitation, "--name", "other")
    assert (again.code, again.out) == (2, "")
    assert "--profile" in again.err


def test_profiles_are_apart(alice: Member, place: Place) -> None:
    name = f"work-{secrets.token_hex(4)}"
    assert alice("--profile", "work", "join", place.invitation, "--name", name).code == 0
    assert alice("--profile", "work", "whoami").out.startswith(name)
    assert alice("whoami").out.startswith(alice.name)
    [one, other] = [
        alice("--profile", each, "contacts", "list", "--json").lines for each in ("default", "work")
    ]
    assert one == other == []


def test_the_home_may_be_an_option(alice: Member) -> None:
    told = apart("--home", str(alice.home), "whoami")
    assert told.out.startswith(alice.name), told.err


def test_invitations_that_name_the_inviter(alice: Member, nobody: Member, place: Place) -> None:
    [invitation] = alice("invite", place.invitation, "--json").lines
    nobody.join(invitation["link"])
    [contact] = nobody("contacts", "list", "--json").lines
    assert (contact["account"], contact["trust"]) == (alice.account, "verified")


def test_what_cannot_be_an_invitation_of_ours(alice: Member, bob: Member, place: Place) -> None:
    assert alice("invite", bob.link).code == 2
    link = parse_link(place.invitation)
    assert isinstance(link, JoinLink)
    elsewhere = JoinLink(link.host, link.port, type(link.server)(os.urandom(32)), link.token)
    assert alice("invite", str(elsewhere)).code == 2


def test_recovery_on_a_new_machine(friends: tuple[Member, Member], shell: Shell, tmp_path: Path) -> None:
    alice, bob = friends
    again = Member(shell, tmp_path / "new-machine", alice.name, alice.link)
    [me] = again("recover", alice.link, "--json", stdin=alice.phrase.lower().encode()).lines
    assert (me["name"], me["account"], me["link"]) == (alice.name, alice.account, alice.link)
    assert me["device"] != alice("whoami", "--json").lines[0]["device"]
    lost = bob("send", alice.account, "is it you?")
    [contact] = bob("contacts", "list", "--json").lines
    assert contact["trust"] == "changed", (lost.out, lost.err)
    assert lost.code == 2
    assert "then send it again" in lost.err
    alarmed = bob("read")
    assert alarmed.code == 11
    assert alarmed.err.startswith(f"ALARM: {alice.name}: a verified person's account key was replaced")
    refused = bob("send", alice.account, "still there?")
    assert (refused.code, refused.out) == (2, "")
    assert "replaced" in refused.err
    assert bob("contacts", "accept", alice.account).out == f"accepted: [unverified] {alice.name}\n"
    sent = bob("send", alice.account, "welcome back", "--json")
    assert sent.lines[0]["delivery"] == "accepted"
    assert [each["text"] for each in again("read", "--json").lines] == ["welcome back"]


def test_recovery_from_a_file(alice: Member, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "phrase").write_text(alice.phrase + "\n")
    again = Member(shell, tmp_path / "new-machine", alice.name)
    assert again("recover", alice.link, "--phrase-file", str(tmp_path / "phrase")).code == 0
    assert "ALARM" not in again("read").err


@pytest.mark.parametrize(
    "change", [str.lower, lambda phrase: phrase[:-1] + "A" + phrase[:0], lambda _: "A" * 40]
)
def test_a_slip_in_the_phrase(alice: Member, shell: Shell, tmp_path: Path, change: object) -> None:
    assert callable(change)
    phrase = str(change(alice.phrase))
    if phrase.upper() == alice.phrase:
        phrase = phrase[1:]
    again = Member(shell, tmp_path / "new-machine", alice.name)
    refused = again("recover", alice.link, stdin=phrase.encode())
    assert (refused.code, refused.out) == (2, "")
    assert phrase not in refused.err


def test_a_phrase_of_somebody_else(alice: Member, bob: Member, shell: Shell, tmp_path: Path) -> None:
    again = Member(shell, tmp_path / "new-machine", alice.name)
    refused = again("recover", alice.link, stdin=bob.phrase.encode())
    assert (refused.code, refused.out) == (2, "")
    assert "this phrase is not the one of this account" in refused.err
    assert again("recover", alice.link, stdin=alice.phrase.encode()).code == 0


def test_following_the_server_to_another_address(alice: Member, place: Place) -> None:
    assert alice("move", place.invitation, "--json").lines[0]["link"] == alice.link
    dead = place.invitation.replace(place.process.host_port, "127.0.0.1:1")
    assert alice("move", dead).code == 4
    assert alice("move", "nonsense").code == 2
    assert alice("whoami", "--json").lines[0]["link"] == alice.link


def test_leaving_is_for_ever(alice: Member, bob: Member, nobody: Member, place: Place) -> None:
    asked = alice("leave")
    assert (asked.code, asked.out) == (2, "")
    assert "--yes" in asked.err
    assert alice("leave", "--yes", "--json").lines == [{"name": alice.name}]
    assert bob("contacts", "add", alice.link).code == 5
    assert nobody("join", place.invitation, "--name", alice.name).code == 5
    for words in (("inbox",), ("usage",), ("join", place.invitation, "--name", "somebody-else")):
        afterwards = alice(*words)
        assert afterwards.code in {2, 3}
        assert "has left its server" in afterwards.err
        assert "another --profile" in afterwards.err


def test_usage_is_what_the_server_stores(alice: Member) -> None:
    [facts] = alice("usage", "--json").lines
    assert facts
    shown = alice("usage").out
    assert all(key in shown for key in facts)


def test_the_doctor_names_the_key_file(alice: Member) -> None:
    examined = alice("doctor")
    assert examined.code == 0, examined.err
    assert "profile.key" in examined.out
    assert alice("doctor", "--json").lines[0]
