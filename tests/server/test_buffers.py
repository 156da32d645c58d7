"""The first buffers are there from the start, and stay; the others come and go."""

from __future__ import annotations

import ctypes
import re
import weakref
from pathlib import Path

from hushpost.directio import LARGE_PAGE
from hushpost.server.parts.buffers import BUFFER_SIZE, BUFFERS_KEPT, PartBuffers


def address(buffer: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def resident(begin: int) -> int:
    """Bytes that are in memory of what was mapped there."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-", line):
            first, end = (int(each, 16) for each in line.split()[0].split("-"))
            inside = first <= begin < end
        elif inside and line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("there is no such memory")


def test_the_first_are_touched_before_they_are_lent() -> None:
    buffers = PartBuffers()
    some = [buffers.take() for _ in range(BUFFERS_KEPT)]
    assert {len(each) for each in some} == {BUFFER_SIZE}
    assert all(resident(address(each)) >= LARGE_PAGE for each in some)
    assert buffers.lent == BUFFERS_KEPT


def test_they_stay() -> None:
    buffers = PartBuffers()
    some = [buffers.take() for _ in range(BUFFERS_KEPT)]
    places = {address(each) for each in some}
    assert len(places) == BUFFERS_KEPT
    while some:
        buffers.give(some.pop())
    assert {address(buffers.take()) for _ in range(BUFFERS_KEPT)} == places


def test_more_are_gone_when_they_are_given_back() -> None:
    buffers = PartBuffers()
    for _ in range(BUFFERS_KEPT):
        buffers.take()
    one = buffers.take()
    assert (len(one), resident(address(one))) == (BUFFER_SIZE, 0)
    memory = weakref.ref(one.obj)
    buffers.give(one)
    del one
    assert memory() is None
    assert buffers.lent == BUFFERS_KEPT
