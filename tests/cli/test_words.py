"""How people, messages and alarms read: marks that nobody can imitate, and no control characters."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.cli import words
from hushpost.client.values import Alarm, Alarmed, Contact, Delivery, Message, Standing, Trust
from hushpost.errors import ExitCode
from hushpost.ids import AccountId, DeviceId, MessageId

HOSTILE = st.text(max_size=30) | st.sampled_from(
    ["\x1b[2J", "a\rb", "\u202egnp.exe", "\x9b31m", "x\n[verified] bob", "\u2028", "\udc80"]
)


def contact(
    name: str = "alice",
    *,
    alias: str = "",
    trust: Trust = Trust.VERIFIED,
    standing: Standing = Standing.CONTACT,
) -> Contact:
    return Contact(AccountId(bytes(16)), name, alias, standing, trust, (DeviceId(bytes(16)),), 5)


def message(text: str = "hello", *, ours: bool = False, sent_at: int = 0, remark: str = "") -> Message:
    ids = MessageId(bytes(16)), AccountId(bytes(16))
    return Message(*ids, ours, text, sent_at, 0, Delivery.ACCEPTED, remark)


def is_harmless(shown: str) -> bool:
    """Nothing but printable characters, joiners and line breaks of ours."""
    return all(each.isprintable() or each in "\n\u200c\u200d" for each in shown)


@given(HOSTILE, HOSTILE, HOSTILE, st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1))
def test_nothing_of_others_reaches_the_terminal_unescaped(
    name: str, text: str, remark: str, ours: bool, sent_at: int
) -> None:
    shown = words.describe(message(text, ours=ours, sent_at=sent_at, remark=remark), contact(name))
    assert is_harmless(shown)
    assert is_harmless(words.alarm(Alarmed(1, 2, Alarm.FORK, detail=remark), name))
    assert all(line.startswith("  ") for line in shown.split("\n")[1:])


@given(HOSTILE)
def test_a_mark_stands_before_whatever_name(name: str) -> None:
    for trust in Trust:
        assert words.who(contact(name, trust=trust)).startswith(words.MARKS[trust] + " ")


def test_a_stranger_is_never_shown_verified() -> None:
    stranger = contact(trust=Trust.VERIFIED, standing=Standing.REQUEST)
    assert words.who(stranger) == "[stranger] alice"


def test_every_combination_has_a_mark() -> None:
    for trust, standing in itertools.product(Trust, Standing):
        assert words.mark(contact(trust=trust, standing=standing))


def test_an_alias_is_what_is_shown() -> None:
    assert words.who(contact(alias="Al")) == "[verified] Al"
    assert words.person(contact(alias="Al"))["name"] == "alice"


def test_messages_of_both_sides() -> None:
    theirs = words.describe(message("one\ntwo", remark="late"), contact(trust=Trust.UNVERIFIED))
    assert theirs.splitlines()[0].startswith("[unverified] alice, ")
    assert theirs.splitlines()[1:] == ["  ! late", "    one", "    two"]
    assert words.describe(message(ours=True), contact()).startswith("to alice, ")
    assert ", accepted:" in words.describe(message(ours=True), contact())


@pytest.mark.parametrize("alarm", Alarm)
def test_alarms_are_loud_and_decide_the_exit_code(alarm: Alarm) -> None:
    line = words.alarm(Alarmed(1, 2, alarm), "bob")
    assert line.endswith(f"bob: {alarm}")
    assert line.startswith("note: " if alarm in words.QUIET else "ALARM: ")
    assert (words.alarm_code([alarm]) is ExitCode.OK) == (alarm in words.QUIET)


def test_what_waits_is_as_loud_as_it_will_be_shown() -> None:
    assert words.waiting([]) == []
    assert words.waiting([Alarm.KEY_REPLACED]) == ["note: 1 to be shown: hush read"]
    assert words.waiting([Alarm.FORK, Alarm.KEY_REPLACED, Alarm.FORK]) == [
        "ALARM: 2 to be shown: hush read",
        "note: 1 to be shown: hush read",
    ]


def test_the_gravest_alarm_decides() -> None:
    assert words.alarm_code([]) is ExitCode.OK
    assert words.alarm_code([Alarm.UNDECRYPTABLE]) is ExitCode.UNDECRYPTABLE
    assert words.alarm_code([Alarm.UNDECRYPTABLE, Alarm.FORK]) is ExitCode.UNTRUSTED
    assert words.alarm_code([Alarm.FORK, Alarm.OLD_COPY]) is ExitCode.OLD_COPY


def test_safety_numbers_are_groups_of_five() -> None:
    rows = words.groups("".join(map(str, range(10))) * 6).splitlines()
    assert [row.split() for row in rows] == [["01234", "56789"] * 2] * 3


def test_every_delivery_has_a_word_first() -> None:
    for delivery in Delivery:
        assert words.sent(delivery).startswith(delivery)
