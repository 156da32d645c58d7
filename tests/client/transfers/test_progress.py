"""How far a transfer is: many threads count, and the event loop is told now and then, and at the end."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from hushpost.client.transfers.progress import Meter
from hushpost.client.values import Progress
from hushpost.ids import MessageId

NAME = MessageId(b"n" * 16)
SIZE = 1_000_000


async def test_nothing_that_moved_is_lost_and_few_reports_tell_it() -> None:
    told: list[Progress] = []
    meter = Meter(NAME, SIZE, told.append)
    meter.starts(SIZE // 2, SIZE)
    with ThreadPoolExecutor(4) as pool:
        moves = [pool.submit(meter.moved, 100) for _ in range(SIZE // 2 // 100)]
    await asyncio.gather(*map(asyncio.wrap_future, moves))
    meter.check()
    carried = [each.carried for each in told]
    assert carried[0] == SIZE // 2
    assert carried[-1] == SIZE
    assert carried == sorted(carried)
    assert len(told) < len(moves) / 10


async def test_a_part_that_failed_is_taken_off() -> None:
    told: list[Progress] = []
    meter = Meter(NAME, SIZE, told.append)
    meter.starts(0, SIZE)
    meter.moved(400)
    meter.moved(-300)
    meter.check()
    assert told[-1].carried == 100


async def test_what_moved_before_a_new_beginning_does_not_count() -> None:
    told: list[Progress] = []
    meter = Meter(NAME, SIZE, told.append)
    meter.moved(400)
    meter.starts(7, SIZE, restarted=True)
    meter.check()
    assert (told[-1].carried, told[-1].restarted) == (7, True)


async def test_what_the_report_raises_is_raised_at_the_end() -> None:
    def report(_: Progress) -> None:
        raise KeyError

    meter = Meter(NAME, SIZE, report)
    meter.moved(400)
    with pytest.raises(KeyError):
        meter.check()
