"""Bytes of a part end up where they belong, whether they came there or elsewhere."""

from __future__ import annotations

import os

from hushpost.ids import BlobId
from hushpost.server.parts.buffers import BUFFER_SIZE
from hushpost.server.parts.incoming import Incoming
from hushpost.wire.messages import PutPart


class Lender:
    """Two halves of one object at a time, as the server has them."""

    def __init__(self) -> None:
        whole = memoryview(bytearray(2 * BUFFER_SIZE))
        self.lent = [whole[:BUFFER_SIZE], whole[BUFFER_SIZE:]]
        self._next = iter(self.lent)
        self.asked = 0

    def lend(self) -> memoryview:
        self.asked += 1
        return next(self._next)

    def give_back(self, buffer: memoryview) -> None:
        """Nobody asks for it again."""


def begun(lender: Lender) -> Incoming:
    return Incoming(lender, PutPart(1, bytes(BlobId.random()), 0, bytes(32)), 2 * BUFFER_SIZE)


async def test_what_came_into_its_place_stays_there() -> None:
    one = begun(lender := Lender())
    offered = one.offer(100)
    assert len(offered) == 100
    offered[:4] = b"here"
    one.take(memoryview(b"away"), offered)
    one.take(rest := memoryview(b" and there"), rest)
    assert bytes(lender.lent[0][:15]) == b"here and there\0"
    assert one.arrived == 14


async def test_what_came_with_the_request_waits_without_a_buffer() -> None:
    one = begun(lender := Lender())
    for some in (b"fir", b"st"):
        one.take(first := memoryview(some), first)
    assert (lender.asked, one.arrived) == (0, 5)
    offered = one.offer(100)
    offered[:4] = b"next"
    one.take(offered[:4], offered)
    assert (lender.asked, bytes(lender.lent[0][:10])) == (1, b"firstnext\0")


async def test_nor_does_it_need_one_when_it_is_given_up() -> None:
    one = begun(lender := Lender())
    one.take(first := memoryview(b"first"), first)
    one.give_up()
    assert lender.asked == 0


async def test_what_came_elsewhere_is_copied() -> None:
    """Into as many buffers as it needs; an offer that was not taken does not count."""
    one = begun(lender := Lender())
    one.offer(100)
    data = memoryview(os.urandom(BUFFER_SIZE + 10))
    one.take(data, data)
    assert bytes(lender.lent[0]) + bytes(lender.lent[1][:10]) == data


async def test_a_place_is_good_once() -> None:
    one = begun(lender := Lender())
    offered = one.offer(100)
    offered[:4] = b"once"
    one.take(offered[:4], offered)
    one.take(memoryview(b"more"), offered)
    assert bytes(lender.lent[0][:8]) == b"oncemore"


async def test_a_place_in_a_buffer_that_is_being_written_is_none() -> None:
    one = begun(lender := Lender())
    one.take(first := memoryview(b"first"), first)
    offered = one.offer(100)
    one.hurry()
    one.take(memoryview(b"late"), offered)
    assert (bytes(lender.lent[0][:9]), bytes(lender.lent[1][:4])) == (b"first\0\0\0\0", b"late")
