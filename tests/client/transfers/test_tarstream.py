"""The tar stream of a folder: what is written is read again, and its limits are met exactly."""

from __future__ import annotations

import os
import stat
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.client.transfers.tarstream import (
    BLOCK,
    END,
    MAX_DEPTH,
    MAX_PATH,
    Member,
    UnsafeFolder,
    encode_header,
    harmless,
    members,
)
from hushpost.crypto.filelayout import MAX_SIZE
from hushpost.filenames import REPLACED
from tests.client.transfers.tars import ITSELF, file, folder, stream

NAMES = (
    st.binary(min_size=1, max_size=200)
    .map(os.fsdecode)
    .filter(lambda name: not {"/", "\0"} & set(name) and name not in {".", ".."})
)
ENTRIES = st.tuples(
    st.lists(NAMES, min_size=1, max_size=5),
    st.sampled_from([stat.S_IFREG, stat.S_IFDIR]),
    st.integers(0, 0o777),
    st.integers(-(2**63), 2**63 - 1),
)


def read(raw: bytes, size: int = 0) -> list[Member]:
    handle = os.memfd_create("stream")
    try:
        os.write(handle, raw)
        os.truncate(handle, max(size, len(raw)))
        return list(members(handle))
    finally:
        os.close(handle)


@given(st.lists(ENTRIES, max_size=5))
def test_what_is_written_is_read(entries: list[tuple[list[str], int, int, int]]) -> None:
    """Whatever a file is called, and whenever it was written: what a disk can hold can be sent."""
    headers = [encode_header("/".join(names), kind | mode, when, 0) for names, kind, mode, when in entries]
    _, *found = read(stream(*headers))
    assert [(each.path, each.mode, each.modified, each.size) for each in found] == [
        (tuple(map(harmless, names)), kind | mode, when, 0) for names, kind, mode, when in entries
    ]


@pytest.mark.parametrize("size", [0, 1, 512, 513, 8 * 2**30 - 1, 8 * 2**30, 9 * 2**30])
def test_where_the_bytes_are(size: int) -> None:
    """Above 8 GiB, the size is in a pax header. What is between takes no room: it is never read."""
    head = encode_header("a", stat.S_IFREG | 0o644, 0, size)
    begin = len(ITSELF) + len(head)
    whole = begin + -(-size // BLOCK) * BLOCK + END
    _, found = read(ITSELF + head, whole)
    assert (found.begin, found.size, found.end + END) == (begin, size, whole)
    with pytest.raises(UnsafeFolder):
        read(ITSELF + head, whole - BLOCK)


def test_no_file_is_larger_than_can_be_sent() -> None:
    head = encode_header("a", stat.S_IFREG | 0o644, 0, MAX_SIZE + 1)
    with pytest.raises(UnsafeFolder):
        read(ITSELF + head + bytes(END))


def test_paths_are_so_long_and_no_longer() -> None:
    deepest = "/".join(["d"] * MAX_DEPTH)
    longest = "/".join(["é" * 127] * 12 + ["nnnn" * 3])
    assert len(longest.encode()) == MAX_PATH
    for name in (deepest, longest, "n" * 255):
        for entry in (file(name), folder(name)):
            assert len(read(stream(entry))) == 2
    for name in (f"{deepest}/d", f"{longest}n", "n" * 256):
        for entry in (file(name), folder(name)):
            with pytest.raises(UnsafeFolder):
                read(stream(entry))


def test_harmless_names_are_left_alone() -> None:
    for name in (
        "a",
        ".git",
        "-x",
        "a:b?.txt",
        "héllo שלום",
        "\u0645\u06cc\u200c\u0631\u0648\u0645",
        "\u00a0",
    ):
        assert harmless(name) == name
    assert harmless("a\n\x1b\u202e\u2028\ue000\udcff") == "a" + "_" * 6
    assert not any(chr(code).isprintable() for code in range(0x110000) if category(chr(code)) in REPLACED)
