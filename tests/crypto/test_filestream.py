"""Sealing and opening parts: cut in any way, only what is true comes out, and a failure is final."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest
from blake3 import blake3
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hushpost.crypto.faults import FileFault
from hushpost.crypto.filekeys import FileDigest, FileKey, PartDigest
from hushpost.crypto.filelayout import CHUNK, NONCE_SIZE, PART, SEALED_CHUNK, FileLayout, Part
from hushpost.crypto.filestream import PartOpener, PartSealer
from hushpost.crypto.primitives import ChunkCipher
from hushpost.errors import FileError
from tests.crypto.files import (
    BLOB,
    KEY,
    Edit,
    Reader,
    Stored,
    chunk,
    digests,
    nonce,
    part_key,
    sealed,
    sealed_parts,
    source,
)

SIZE = 200_000
"""Four chunks, the last one padded."""

LAST = FileLayout(SIZE).part(0)
SEALED = sealed_parts(SIZE)[0]
DIGEST = FileDigest.of(SIZE, digests(SIZE))


def opener() -> PartOpener:
    return PartOpener(KEY, BLOB, LAST)


def everything(opened: Iterable[memoryview]) -> bytes:
    return b"".join(map(bytes, opened))


def refused(call: Callable[[], object]) -> FileFault:
    with pytest.raises(FileError) as caught:
        call()
    assert isinstance(caught.value.reason, FileFault)
    return caught.value.reason


def fed(one: PartOpener, raw: bytes | bytearray) -> FileFault:
    """The check that refuses it."""
    return refused(lambda: everything(one.feed(raw)))


def cutting(places: Iterable[int]) -> Callable[[memoryview], Iterable[memoryview]]:
    def cutter(data: memoryview) -> Iterable[memoryview]:
        ends = sorted(min(place, len(data)) for place in places)
        return (data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True))

    return cutter


# --- what was sealed opens


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, SIZE, PART - 1, PART, PART + 1, PART + 70_000]
)
def test_what_was_sealed_comes_back(size: int) -> None:
    reader = Reader(size, FileDigest.of(size, digests(size)))
    assert reader.read(sealed_parts(size)).fault is None
    assert reader.released == source(size)
    assert [len(part) for part in sealed_parts(size)] == [
        part.sealed_size for part in FileLayout(size).parts()
    ]


def test_parts_are_opened_in_any_order() -> None:
    size, out = PART + 70_000, bytearray(PART + 70_000)
    for part in reversed(list(FileLayout(size).parts())):
        one = PartOpener(KEY, BLOB, part)
        out[part.offset : part.offset + part.true] = everything(one.feed(sealed_parts(size)[part.index]))
        assert one.finish() == digests(size)[part.index]
    assert out == source(size)


def test_a_part_of_padding_alone() -> None:
    part, into = Part(67, 3, 0, last=True), bytearray(NONCE_SIZE + 3 * SEALED_CHUNK)
    digest = PartSealer(KEY, BLOB).seal(part, [], into)
    one = PartOpener(KEY, BLOB, part)
    assert everything(one.feed(into)) == b""
    assert one.finish() == digest


def test_a_part_is_its_nonce_and_its_chunks() -> None:
    assert SEALED[:NONCE_SIZE] == nonce(0)
    for number in range(4):
        plain = source(SIZE)[number * CHUNK :][:CHUNK].ljust(CHUNK, b"\0")
        into = bytearray(SEALED_CHUNK)
        last = b"\1" if number == 3 else b"\0"
        ChunkCipher(part_key(0)).seal(number.to_bytes(11, "little") + last, plain, into)
        assert SEALED[chunk(number)] == into
    assert digests(SIZE)[0] == blake3(SEALED).digest()


def test_only_the_last_chunk_of_the_last_part_is_marked() -> None:
    for part in (Part(0, 2, 2 * CHUNK, last=False), Part(0, 2, 2 * CHUNK, last=True)):
        into = bytearray(part.sealed_size)
        PartSealer(KEY, BLOB).seal(part, [source(2 * CHUNK)], into)
        other = Part(0, 2, 2 * CHUNK, last=not part.last)
        one, first = PartOpener(KEY, BLOB, other), NONCE_SIZE + SEALED_CHUNK
        assert everything(one.feed(into[:first])) == source(CHUNK)
        assert fed(one, into[first:]) is FileFault.CHUNK


# --- sealing


def test_every_attempt_is_sealed_under_another_nonce() -> None:
    plain, into = source(SIZE), bytearray(LAST.sealed_size)
    attempts = set()
    for _ in range(20):
        PartSealer(KEY, BLOB).seal(LAST, [plain], into)
        attempts.add(bytes(into[:NONCE_SIZE]))
    assert len(attempts) == 20


@given(st.lists(st.integers(0, 12), max_size=6), st.integers(1, 14 * CHUNK))
def test_it_is_the_same_part_however_its_bytes_come(cuts: list[int], size: int) -> None:
    part = FileLayout(size).part(0)
    plain, into, pieces, at = source(size), bytearray(part.sealed_size), [], 0
    for chunks in cuts:
        pieces.append(plain[at : at + chunks * CHUNK])
        at += chunks * CHUNK
    digest = PartSealer(KEY, BLOB).seal(part, [*pieces, plain[at:]], into, nonce(0))
    assert into == sealed(part, size)
    assert digest == PartDigest.of(into)


def test_a_piece_may_be_written_over_when_the_next_is_asked_for() -> None:
    buffer, into = bytearray(CHUNK), bytearray(LAST.sealed_size)

    def pieces() -> Iterator[memoryview]:
        for at in range(0, SIZE, CHUNK):
            piece = source(SIZE)[at : at + CHUNK]
            buffer[: len(piece)] = piece
            yield memoryview(buffer)[: len(piece)]

    PartSealer(KEY, BLOB).seal(LAST, pieces(), into, nonce(0))
    assert into == SEALED


def test_pieces_of_anything_but_whole_chunks_are_refused() -> None:
    plain, into = source(SIZE), bytearray(LAST.sealed_size)
    with pytest.raises(ValueError, match="more or less"):
        PartSealer(KEY, BLOB).seal(LAST, [plain[: CHUNK + 1], plain[CHUNK + 1 :]], into)


@pytest.mark.parametrize("size", [0, SIZE - 1, SIZE + 1, 4 * CHUNK])
def test_a_whole_part_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="more or less"):
        PartSealer(KEY, BLOB).seal(LAST, [bytes(size)], bytearray(LAST.sealed_size))


def test_a_byte_more_than_full_chunks_is_refused() -> None:
    part = Part(0, 2, 2 * CHUNK, last=False)
    with pytest.raises(ValueError, match="more or less"):
        PartSealer(KEY, BLOB).seal(part, [bytes(2 * CHUNK + 1)], bytearray(part.sealed_size))


@pytest.mark.parametrize("size", [0, LAST.sealed_size - 1, LAST.sealed_size + 1])
def test_a_buffer_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="buffer"):
        PartSealer(KEY, BLOB).seal(LAST, [source(SIZE)], bytearray(size))


# --- opening

numbers = st.integers(0, len(SEALED) + 40)
edits: st.SearchStrategy[Edit] = st.one_of(
    st.tuples(st.just("flip"), st.just(0), st.integers(0, len(SEALED) - 1)),
    st.tuples(st.just("cut"), st.just(0), numbers),
    st.tuples(st.just("append"), st.just(0), st.integers(1, 70_000)),
    st.tuples(st.just("swap"), st.just(0), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("double"), st.just(0), st.integers(0, 3)),
    st.tuples(st.just("drop"), st.just(0), st.integers(0, 3)),
    st.tuples(st.just("again"), st.just(0)),
)


@settings(max_examples=200)
@example([], [])
@example([("append", 0, 1)], [len(SEALED)])
@example([("flip", 0, NONCE_SIZE + SEALED_CHUNK)], [NONCE_SIZE + SEALED_CHUNK + 1])
@given(st.lists(edits, max_size=1), st.lists(numbers, max_size=12))
def test_however_it_is_cut_the_same_comes_out(edited: list[Edit], places: list[int]) -> None:
    parts = Stored.of(SIZE, edited).parts
    at_once, piecewise = Reader(SIZE, DIGEST), Reader(SIZE, DIGEST)
    got = at_once.read(parts)
    assert piecewise.read(parts, cutting(places)) == got
    assert piecewise.released == at_once.released
    assert source(SIZE).startswith(at_once.released)
    assert (got.fault is None) == (parts == [SEALED]), "a change that nobody noticed"


def test_cut_into_single_bytes() -> None:
    one, out = opener(), bytearray()
    for byte in memoryview(SEALED)[: NONCE_SIZE + SEALED_CHUNK + 99]:
        for true in one.feed(bytes([byte])):
            out += true
    for true in one.feed(memoryview(SEALED)[NONCE_SIZE + SEALED_CHUNK + 99 :]):
        out += true
    assert out == source(SIZE)
    assert one.finish() == digests(SIZE)[0]


def test_nothing_is_released_before_its_tag() -> None:
    one = opener()
    assert everything(one.feed(SEALED[: NONCE_SIZE + SEALED_CHUNK - 1])) == b""
    assert everything(one.feed(SEALED[NONCE_SIZE + SEALED_CHUNK - 1 : NONCE_SIZE + SEALED_CHUNK])) == source(
        CHUNK
    )


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (SEALED[:NONCE_SIZE] + bytes(SEALED_CHUNK), FileFault.CHUNK),
        (Stored.of(SIZE, [("reseal", 0, 3, 1, CHUNK - 1, 1)]).parts[0], FileFault.PADDING),
        (SEALED + b"\0", FileFault.TRAILING),
    ],
)
def test_a_failure_is_final(raw: bytes, fault: FileFault) -> None:
    one = opener()
    assert fed(one, raw) is fault
    for again in (SEALED, b"\0", b""):
        assert fed(one, again) is fault
    assert refused(one.finish) is fault


def test_the_end_of_a_part_that_is_cut_short_is_final() -> None:
    one = opener()
    everything(one.feed(SEALED[:-1]))
    assert refused(one.finish) is FileFault.TRUNCATED
    assert fed(one, SEALED[-1:]) is FileFault.TRUNCATED


def test_what_was_released_cannot_be_used_later_or_changed() -> None:
    one, kept = opener(), list[memoryview]()
    for true in one.feed(SEALED):
        assert true.readonly
        kept.append(true)
    assert len(kept) == 4
    for each in kept:
        with pytest.raises(ValueError, match="released"):
            bytes(each)


def test_what_is_fed_may_be_written_over_afterwards() -> None:
    one, out, buffer = opener(), bytearray(), bytearray(10_000)
    for begin in range(0, len(SEALED), len(buffer)):
        piece = SEALED[begin : begin + len(buffer)]
        buffer[: len(piece)] = piece
        for true in one.feed(memoryview(buffer)[: len(piece)]):
            out += true
        buffer[:] = b"\xff" * len(buffer)
    assert out == source(SIZE)
    assert one.finish() == digests(SIZE)[0]


def test_key_blob_and_index_are_bound() -> None:
    for key, blob, part in (
        (FileKey(bytes(32)), BLOB, LAST),
        (KEY, type(BLOB)(bytes(16)), LAST),
        (KEY, BLOB, Part(1, 4, SIZE, last=True)),
    ):
        assert fed(PartOpener(key, blob, part), SEALED) is FileFault.CHUNK
