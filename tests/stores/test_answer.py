"""An answer tells one callback at once, and is a future like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from hushpost.stores.base import Answer

Told = list[asyncio.Future[int]]

ENDS: list[Callable[[Answer[int]], object]] = [
    lambda answer: answer.set_result(7),
    lambda answer: answer.set_exception(KeyError("no")),
    lambda answer: answer.cancel(),
]


def made() -> Answer[int]:
    return Answer(loop=asyncio.get_running_loop())


@pytest.mark.parametrize("end", ENDS)
async def test_it_is_told_before_anybody_else(end: Callable[[Answer[int]], object]) -> None:
    answer, told = made(), Told()
    later = Told()
    answer.add_done_callback(later.append)
    answer.tell(told.append)
    end(answer)
    assert (told, later) == ([answer], [])
    with suppress(KeyError, asyncio.CancelledError):
        assert await answer == 7
    await asyncio.sleep(0)
    assert (told, later) == ([answer], [answer])


async def test_of_one_that_is_done_it_is_told_in_the_next_round() -> None:
    answer, told = made(), Told()
    answer.set_result(7)
    answer.tell(told.append)
    assert not told
    await asyncio.sleep(0)
    assert told == [answer]


async def test_it_is_told_once() -> None:
    answer, told = made(), Told()
    answer.tell(told.append)
    answer.set_result(7)
    assert not answer.cancel()
    with pytest.raises(asyncio.InvalidStateError):
        answer.set_result(8)
    assert told == [answer]


async def test_a_callback_that_fails_does_not_hold_up_whoever_settles() -> None:
    """The store settles many, one after the other."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    answer = made()

    def fail(_: object) -> None:
        raise ZeroDivisionError

    answer.tell(fail)
    answer.set_result(7)
    assert await answer == 7
    assert [type(each["exception"]) for each in reported] == [ZeroDivisionError]
