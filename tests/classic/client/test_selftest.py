"""The self-test passes on a right server, and each of its steps fails on a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from hushpost.classic.client.link import Address
from hushpost.classic.client.requests import ClassicClient
from hushpost.classic.client.selftest import Failed, Result, SelfTest
from hushpost.errors import HushpostError, Unreachable
from tests.classic.client.peers import OriginalServer, serving


def results(address: Address) -> list[Result]:
    return list(SelfTest(ClassicClient(address, timeout=20)).run())


def test_all_steps_pass_twice_on_the_same_server() -> None:
    with serving(OriginalServer()) as address:
        for _ in range(2):
            assert [result for result in results(address) if result.failure] == []


FAULTS = {
    "one id for all": "registration gives different ids, and me.info reads back",
    "allows a name twice": "a taken name is refused",
    "hides all": "the list shows the others by name, not oneself",
    "shows oneself": "the list shows the others by name, not oneself",
    "gives a wrong key": "public keys are those that were registered",
    "knows everybody": "unknown clients are refused",
    "gives old messages": "an empty inbox is empty",
    "loses type 1": "a key request arrives",
    "loses type 2": "a key arrives and both sides use it",
    "alters type 2": "keys sent at the same time do not break the pair",
    "alters type 3": "texts arrive as they were sent, both ways",
    "turns the order": "messages arrive in order, with rising ids",
    "counts no ids": "messages arrive in order, with rising ids",
    "alters type 4": "files arrive byte for byte, both ways",
    "loses type 4": "files arrive byte for byte, both ways",
    "loses type 3": "a message to oneself arrives",
    "drops what is damaged": "a damaged message costs no other",
    "never forgets": "what was fetched is gone",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_step_can_fail(fault: str, tmp_path: Path) -> None:
    with serving(OriginalServer(fault)) as address:
        steps = dict(SelfTest(ClassicClient(address, timeout=20)).steps)
        with pytest.raises((Failed, HushpostError)):
            steps[FAULTS[fault]](tmp_path)


def test_every_step_is_seen_to_fail() -> None:
    steps = {step for step, _ in SelfTest(ClassicClient(Address("127.0.0.1", 1))).steps}
    assert steps == set(FAULTS.values())


def test_without_a_server_nothing_is_tried() -> None:
    with serving(OriginalServer()) as address:
        pass
    with pytest.raises(Unreachable, match="no connection"):
        next(SelfTest(ClassicClient(address, timeout=20)).run())


def test_a_server_that_goes_away_fails_one_step() -> None:
    with serving(OriginalServer()) as address:
        run = SelfTest(ClassicClient(address, timeout=20)).run()
        assert not next(run).failure
    assert "no connection" in next(run).failure
    with pytest.raises(Unreachable):
        next(run)
