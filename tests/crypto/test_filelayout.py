"""Where bytes stand follows from the size alone, both ways, and nothing is left over or covered twice."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hushpost.crypto.filelayout import (
    CHUNK,
    MAX_SIZE,
    NONCE_SIZE,
    PART,
    PART_CHUNKS,
    SEALED_CHUNK,
    SEALED_PART,
    FileLayout,
    Part,
)

sizes = st.integers(0, 2**34) | st.integers(0, 40 * PART)


@example(0)
@example(PART)
@example(PART + 1)
@example(2**28 + 1)
@given(sizes)
def test_the_parts_cover_the_padded_file_once(size: int) -> None:
    layout = FileLayout(size)
    if layout.count > 400:
        return
    parts = list(layout.parts())
    assert [part.index for part in parts] == list(range(layout.count))
    assert [part.offset for part in parts] == [index * PART for index in range(layout.count)]
    assert {part.chunks for part in parts[:-1]} <= {PART_CHUNKS}
    assert 1 <= parts[-1].chunks <= PART_CHUNKS
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert sum(part.chunks for part in parts) * CHUNK == layout.padded_size
    assert sum(part.true for part in parts) == size
    assert sum(part.sealed_size for part in parts) == layout.sealed_size
    for part in parts:
        true = [part.true_in(chunk) for chunk in range(part.chunks)]
        assert sum(true) == part.true
        assert sorted(true, reverse=True) == true


@given(sizes)
def test_padding_hides_sizes_and_costs_little(size: int) -> None:
    padded = FileLayout(size).padded_size
    assert padded % CHUNK == 0
    assert max(size, 1) <= padded <= size + size // 32 + CHUNK
    assert FileLayout(padded).padded_size == padded, "the largest file of a step has the step's size"
    assert FileLayout(size + 1).padded_size >= padded


@given(sizes.filter(bool), st.data())
def test_every_byte_has_its_place(size: int, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, size - 1))
    layout = FileLayout(size)
    place = layout.place(offset)
    part = layout.part(place.part)
    assert part.offset + place.chunk * CHUNK + place.offset == offset
    assert 0 <= place.offset < part.true_in(place.chunk)


def test_the_sizes_of_the_specification() -> None:
    assert (PART, SEALED_PART, SEALED_CHUNK) == (4_128_768, 4_129_792, 65_552)
    assert FileLayout(PART).part(0).sealed_size == SEALED_PART == NONCE_SIZE + PART_CHUNKS * SEALED_CHUNK
    assert FileLayout(0).part(0) == Part(0, 1, 0, last=True)
    assert SEALED_PART < 4 * 2**20


def test_a_full_inner_part_needs_no_size() -> None:
    assert Part.inner(3) == FileLayout(5 * PART).part(3)


def test_there_are_parts_of_padding_alone() -> None:
    layout = FileLayout(2**28 + 1)
    assert layout.part(layout.count - 1).true == 0
    assert layout.part(layout.count - 1).chunks == 3


@pytest.mark.parametrize("size", [-1, MAX_SIZE + 1])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="possible are"):
        FileLayout(size)


def test_what_is_not_there_is_not_found() -> None:
    layout = FileLayout(PART)
    for index in (-1, 1):
        with pytest.raises(IndexError):
            layout.part(index)
    for offset in (-1, PART):
        with pytest.raises(IndexError):
            layout.place(offset)


def test_the_number_of_a_part_always_fits_its_field() -> None:
    assert FileLayout(MAX_SIZE).count < 2**32
