"""Turns: few at once, in order, and nobody who is silent keeps one."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from hushpost.server.turns import STALLED, Turns


class Peer:
    """Notes what it is told."""

    def __init__(self, turns: Turns, *, silent: bool = False) -> None:
        self.turns = turns
        self.silent = silent
        self.reading = False
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    def ask(self) -> bool:
        self.reading = self.turns.ask(self)
        return self.reading

    def leave(self) -> None:
        self.turns.leave(self)
        self.reading = False

    def is_stalled(self, since: float) -> bool:
        return self.silent

    def begin_turn(self) -> None:
        self.reading = True
        self.begun.set()

    def end_turn(self) -> None:
        self.reading = False
        self.ended.set()
        self.turns.ask(self)


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


async def test_the_silent_make_way_and_come_again() -> None:
    turns = Turns(1)
    silent, other = Peer(turns, silent=True), Peer(turns)
    assert silent.ask()
    assert not other.ask()
    async with asyncio.timeout(20 * STALLED):
        await other.begun.wait()
    assert silent.ended.is_set()
    other.leave()
    assert silent.begun.is_set(), "it waits like everybody"


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
