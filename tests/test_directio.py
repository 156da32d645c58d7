"""Past the page cache or through it: what is written is what is read, wherever it begins and ends."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.directio import BLOCK, LARGE_PAGE, DirectFile, aligned_buffer, opened

SIZE = 12 * BLOCK
ENDS = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, SIZE - 1, SIZE]

places = st.sampled_from(ENDS) | st.integers(0, SIZE)


def buffer_of(data: bytes) -> memoryview:
    buffer = aligned_buffer(max(len(data), 1))[: len(data)]
    buffer[:] = data
    return buffer


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("direct") / "file"


def test_a_usual_disk_is_written_past_the_page_cache(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with opened(tmp_path / "x", os.O_RDWR) as file:
        assert file.is_direct


@pytest.mark.parametrize("size", [LARGE_PAGE // 2, LARGE_PAGE, 2 * LARGE_PAGE - 1])
def test_a_large_buffer_is_in_large_pages_where_the_system_has_them(size: int) -> None:
    buffer = aligned_buffer(size)
    assert (len(buffer), buffer.nbytes, any(buffer)) == (size, size, False)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    assert begin % LARGE_PAGE == 0
    flags = mapping_flags(begin), mapping_flags(begin + -(-size // LARGE_PAGE) * LARGE_PAGE - 1)
    has_them = Path("/sys/kernel/mm/transparent_hugepage").is_dir()
    assert [("hg" in each, "sh" in each) for each in flags] == [(has_them, False)] * 2


def mapping_flags(begin: int) -> list[str]:
    """Of the part of memory that begins there, as the system shows them."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-", line):
            first, end = (int(each, 16) for each in line.split()[0].split("-"))
            inside = first <= begin < end
        elif inside and line.startswith("VmFlags:"):
            return line.split()[1:]
    raise AssertionError("there is no such memory")


def test_or_in_small_ones_whatever_the_system_prefers() -> None:
    buffer = aligned_buffer(LARGE_PAGE, large=False)
    flags = mapping_flags(ctypes.addressof(ctypes.c_char.from_buffer(buffer)))
    assert len(buffer) == LARGE_PAGE
    assert ("nh" in flags, "dc" in flags) == (Path("/sys/kernel/mm/transparent_hugepage").is_dir(), True)


@pytest.mark.parametrize("size", [BLOCK, LARGE_PAGE])
def test_a_process_that_forks_does_not_share_a_buffer(size: int) -> None:
    """What the disk reads into it might come to the wrong one: open(2)."""
    assert "dc" in mapping_flags(ctypes.addressof(ctypes.c_char.from_buffer(aligned_buffer(size))))


def test_a_buffer_is_had_without_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", -1)
    buffer = aligned_buffer(LARGE_PAGE)
    buffer[-1] = 1
    assert sum(buffer) == 1


@given(begin=places, end=places, skip=st.integers(0, 2))
def test_what_is_written_is_read(path: Path, begin: int, end: int, skip: int) -> None:
    """`skip`: the bytes begin badly in memory."""
    old, new = os.urandom(SIZE), os.urandom(max(0, end - begin))
    path.write_bytes(old)
    expected = old[:begin] + new + old[begin + len(new) :]
    with opened(path, os.O_RDWR) as file:
        file.write(buffer_of(bytes(skip) + new)[skip:], begin)
        got = aligned_buffer(SIZE + BLOCK + skip)[skip:]
        assert file.read(got, 0) == SIZE
        assert got[:SIZE] == expected
        assert file.read(got[: end - begin if end > begin else 0], begin) == len(new)
        assert got[: len(new)] == new
    assert path.read_bytes() == expected


@given(data=st.binary(max_size=3 * BLOCK) | st.just(bytes(range(256)) * 16), block=st.integers(0, 3))
def test_what_is_padded_fills_its_last_block(path: Path, data: bytes, block: int) -> None:
    """Past the page cache, whatever its size, and nothing behind that block is touched."""
    path.write_bytes(b"x" * SIZE)
    with opened(path, os.O_RDWR) as file, pytest.MonkeyPatch.context() as patch:
        through_cache = os.pwrite

        def write(handle: int, data: memoryview, offset: int) -> int:
            assert handle != file.handle
            return through_cache(handle, data, offset)

        patch.setattr(os, "pwrite", write)
        file.write_padded(buffer_of(data), block * BLOCK)
    padded = data + bytes(-len(data) % BLOCK)
    expected = bytearray(b"x" * SIZE)
    expected[block * BLOCK : block * BLOCK + len(padded)] = padded
    assert path.read_bytes() == expected


def test_reading_ends_where_the_file_ends(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * (BLOCK + 5))
    with opened(tmp_path / "x", os.O_RDONLY) as file:
        buffer = aligned_buffer(4 * BLOCK)
        assert file.read(buffer, 0) == BLOCK + 5
        assert file.read(buffer, BLOCK) == 5
        assert file.read(buffer, 4 * BLOCK) == 0


def test_a_disk_that_refuses_is_used_through_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite, preadv = os.pwrite, os.preadv
    refused: list[int] = []

    def refusing(handle: int) -> None:
        if handle == file._direct:
            refused.append(handle)
            raise OSError(errno.EINVAL, "blocks of 64 KiB")

    def write(handle: int, data: memoryview, offset: int) -> int:
        refusing(handle)
        return pwrite(handle, data, offset)

    def read(handle: int, buffers: list[memoryview], offset: int) -> int:
        refusing(handle)
        return preadv(handle, buffers, offset)

    (tmp_path / "x").touch()
    with opened(tmp_path / "x", os.O_RDWR) as file:
        monkeypatch.setattr(os, "pwrite", write)
        monkeypatch.setattr(os, "preadv", read)
        file.write(buffer_of(b"y" * BLOCK), 0)
        buffer = aligned_buffer(BLOCK)
        assert file.read(buffer, 0) == BLOCK
        assert buffer == b"y" * BLOCK
    assert len(refused) == 2


def test_other_errors_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    (tmp_path / "x").touch()
    with opened(tmp_path / "x", os.O_RDWR) as file:
        monkeypatch.setattr(os, "pwrite", full)
        monkeypatch.setattr(os, "preadv", full)
        with pytest.raises(OSError, match="full"):
            file.write(buffer_of(b"y" * BLOCK), 0)
        with pytest.raises(OSError, match="full"):
            file.read(aligned_buffer(BLOCK), 0)


def test_a_system_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_DIRECT")
    (tmp_path / "x").touch()
    with opened(tmp_path / "x", os.O_RDWR) as file:
        assert not file.is_direct
        file.write(buffer_of(b"y" * BLOCK), 0)
    assert (tmp_path / "x").read_bytes() == b"y" * BLOCK


def test_it_is_the_same_file_whatever_has_its_name(tmp_path: Path) -> None:
    handle = os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT)
    (tmp_path / "x").rename(tmp_path / "mine")
    (tmp_path / "x").write_bytes(b"another's")
    file = DirectFile(handle)
    file.write(buffer_of(b"y" * BLOCK), 0)
    file.close()
    assert (tmp_path / "mine").read_bytes() == b"y" * BLOCK
    assert (tmp_path / "x").read_bytes() == b"another's"


def test_nothing_stays_open(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with opened(tmp_path / "x", os.O_RDWR):
            pass
    assert len(os.listdir("/proc/self/fd")) == len(before)
