"""Where there is no terminal, little is said; but what somebody has to know, at once and once."""

from __future__ import annotations

import pytest

from hushpost.cli.progress import QUIET_SECONDS, _NowAndThen
from hushpost.client.values import Progress
from hushpost.ids import MessageId

NAME = MessageId.random()
GONE, FULL = "no connection", "the server is full"


def at(carried: int, held_up: str = "", *, restarted: bool = False) -> Progress:
    return Progress(NAME, carried, 9, restarted, held_up)


@pytest.mark.parametrize(
    ("reported", "passed_on"),
    [
        ([at(1), at(2), at(3)], []),
        ([at(1), at(1, GONE), at(1), at(1, GONE), at(1, GONE)], [at(1, GONE)]),
        ([at(1, GONE), at(1, FULL)], [at(1, GONE), at(1, FULL)]),
        ([at(1, GONE), at(2), at(2, GONE)], [at(1, GONE), at(2, GONE)]),
        ([at(5), at(0, restarted=True), at(1, restarted=True)], [at(0, restarted=True)]),
    ],
)
def test_what_is_passed_on_before_its_time(reported: list[Progress], passed_on: list[Progress]) -> None:
    seen: list[Progress] = []
    now_and_then = _NowAndThen(3_600, seen.append)
    for each in reported:
        now_and_then(each)
    assert seen == passed_on


def test_the_rest_is_passed_on_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Progress] = []
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    now_and_then = _NowAndThen(QUIET_SECONDS, seen.append)
    for carried in range(5):
        now += QUIET_SECONDS / 2
        now_and_then(at(carried))
    assert seen == [at(1), at(3)]
