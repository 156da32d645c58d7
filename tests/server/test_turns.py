"""Turns: few at once, in order, and nobody who is silent keeps one."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.server.parts.turns import LEAST, REVIEW_SECONDS, Turns


class Peer:
    """Notes what it is told. Between two looks so many bytes of its have arrived."""

    def __init__(self, turns: Turns, speed: int = LEAST) -> None:
        self.turns = turns
        self.speed = speed
        self._arrived = 0
        self.reading = False
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    def ask(self) -> bool:
        self.reading = self.turns.ask(self)
        return self.reading

    def leave(self) -> None:
        self.turns.leave(self)
        self.reading = False

    @property
    def arrived(self) -> int:
        self._arrived += self.speed
        return self._arrived

    def begin_turn(self) -> None:
        self.reading = True
        self.begun.set()

    def end_turn(self) -> None:
        self.reading = False
        self.ended.set()
        self.turns.ask(self)


async def test_none_begins_without_room() -> None:
    room = True
    turns = Turns(1, may_begin=lambda: room)
    peers = [Peer(turns) for _ in range(3)]
    assert [each.ask() for each in peers] == [True, False, False]
    room = False
    assert peers[0].ask(), "whoever has a turn keeps it"
    peers[0].leave()
    assert not any(each.reading for each in peers)
    assert not peers[0].ask()
    room = True
    turns.go()
    assert [each.reading for each in peers] == [False, True, False]
    for each in peers:
        each.leave()


async def test_in_the_order_of_asking() -> None:
    turns = Turns(2)
    peers = [Peer(turns) for _ in range(5)]
    assert [each.ask() for each in peers] == [True, True, False, False, False]
    assert peers[0].ask(), "whoever has a turn keeps it"
    assert not peers[4].ask()
    peers[1].leave()
    assert [each.reading for each in peers] == [True, False, True, False, False]
    peers[3].leave()
    peers[0].leave()
    assert [each.reading for each in peers] == [False, False, True, False, True]
    peers[0].leave()


@pytest.mark.parametrize("speed", [0, 1, LEAST - 1])
async def test_the_silent_and_the_slow_make_way_and_come_again(speed: int) -> None:
    turns = Turns(1)
    slow, other = Peer(turns, speed), Peer(turns)
    assert slow.ask()
    assert not other.ask()
    async with asyncio.timeout(20 * REVIEW_SECONDS):
        await other.begun.wait()
    assert slow.ended.is_set()
    other.leave()
    assert slow.begun.is_set(), "it waits like everybody"


async def test_the_quick_keep_their_turn() -> None:
    turns = Turns(1)
    quick, other, slow = Peer(turns), Peer(turns), Peer(turns, 0)
    assert quick.ask()
    assert not other.ask()
    assert not slow.ask()
    looks = asyncio.get_running_loop().time() + 5 * REVIEW_SECONDS
    while asyncio.get_running_loop().time() < looks:
        await asyncio.sleep(REVIEW_SECONDS)
    assert quick.reading
    quick.leave()
    assert other.reading


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=60), st.integers(1, 3))
def test_never_more_than_so_many_and_nobody_is_forgotten(steps: list[tuple[int, bool]], count: int) -> None:
    async def run() -> None:
        turns = Turns(count)
        peers = [Peer(turns) for _ in range(7)]
        wanting: set[int] = set()
        for k, wants in steps:
            if wants:
                wanting.add(k)
                peers[k].ask()
            else:
                wanting.discard(k)
                peers[k].leave()
            reading = {k for k, each in enumerate(peers) if each.reading}
            assert len(reading) == min(count, len(wanting))
            assert reading <= wanting

    asyncio.run(run())
