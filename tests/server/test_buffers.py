"""The first buffers are there from the start, and stay; the others come and go."""

from __future__ import annotations

import ctypes
import mmap
import weakref
from collections.abc import Iterator
from pathlib import Path

from hushpost.server.parts.buffers import BUFFER_SIZE, BUFFERS_KEPT, PartBuffers


def address(buffer: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def resident(buffer: memoryview) -> int:
    """How many of its bytes are in memory: bit 63 of the kernel's word on each of its pages."""
    with Path("/proc/self/pagemap").open("rb") as words:
        words.seek(address(buffer) // mmap.PAGESIZE * 8)
        found = words.read(len(buffer) // mmap.PAGESIZE * 8)
    return sum(bool(word[7] & 0x80) for word in batched(found)) * mmap.PAGESIZE


def batched(words: bytes) -> Iterator[bytes]:
    """Of eight bytes each."""
    return (words[at : at + 8] for at in range(0, len(words), 8))


def test_the_first_are_touched_before_they_are_lent() -> None:
    buffers = PartBuffers()
    some = [buffers.take() for _ in range(BUFFERS_KEPT)]
    assert {(len(each), resident(each)) for each in some} == {(BUFFER_SIZE, BUFFER_SIZE)}
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
    assert (len(one), resident(one)) == (BUFFER_SIZE, 0)
    memory = weakref.ref(one.obj)
    buffers.give(one)
    del one
    assert memory() is None
    assert buffers.lent == BUFFERS_KEPT
