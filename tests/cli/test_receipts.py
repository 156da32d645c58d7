"""`hush receipts`: whether others learn that their messages have come."""

from __future__ import annotations

from tests.cli.members import Member


def test_they_are_sent_until_somebody_says_otherwise(alice: Member) -> None:
    assert alice("receipts", "--json").lines == [{"receipts": True}]
    assert alice("receipts", "off").out.startswith("off: ")
    assert alice("receipts").out.startswith("off: ")
    assert alice("receipts", "--json").lines == [{"receipts": False}]
    assert alice("receipts", "on", "--json").lines == [{"receipts": True}]
    assert alice("receipts").out.startswith("on: ")


def test_something_else_is_no_answer(alice: Member) -> None:
    assert alice("receipts", "maybe").code == 2
    assert alice("receipts", "--json").lines == [{"receipts": True}]


def test_every_command_that_receives_keeps_silent(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    assert bob("receipts", "off").code == 0
    assert alice("send", bob.name, "hello").code == 0
    for command in ("inbox", "read"):
        assert bob(command).code == 0
    assert alice("inbox").code == 0
    assert [each["delivery"] for each in alice("history", bob.name, "--json").lines] == ["accepted"]
    assert bob("receipts", "on").code == 0
    assert alice("send", bob.name, "hello again").code == 0
    assert bob("read").code == 0
    assert alice("inbox").code == 0
    assert [each["delivery"] for each in alice("history", bob.name, "--json").lines] == [
        "accepted",
        "delivered",
    ]
