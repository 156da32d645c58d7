"""Files that are being put together: zeros take no room, and never leave what a failed attempt wrote."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hushpost.client.transfers.partial import NoRoom, PartialFile, check_room
from hushpost.crypto.filelayout import CHUNK
from hushpost.directio import aligned_buffer


def test_zeros_take_no_room(tmp_path: Path) -> None:
    file = PartialFile.create(tmp_path / "x", 100 * CHUNK)
    for number in range(100):
        file.write(number * CHUNK, memoryview(bytes(CHUNK)))
    file.sync()
    file.close()
    assert (tmp_path / "x").stat().st_blocks == 0


def test_zeros_replace_what_was_there(tmp_path: Path) -> None:
    file = PartialFile.create(tmp_path / "x", 2 * CHUNK)
    file.write(0, memoryview(os.urandom(CHUNK)))
    file.write(0, memoryview(bytes(CHUNK)))
    file.close()
    assert (tmp_path / "x").read_bytes() == bytes(2 * CHUNK)


def test_zeros_within_a_part_take_no_room(tmp_path: Path) -> None:
    chunks = [os.urandom(CHUNK) if number in {0, 5, 6, 9} else bytes(CHUNK) for number in range(10)]
    data = aligned_buffer(10 * CHUNK)
    data[:] = b"".join(chunks)
    file = PartialFile.create(tmp_path / "x", 20 * CHUNK)
    file.write(7 * CHUNK, data)
    file.sync()
    file.close()
    assert (tmp_path / "x").read_bytes() == bytes(7 * CHUNK) + data.tobytes() + bytes(3 * CHUNK)
    assert (tmp_path / "x").stat().st_blocks * 512 == 4 * CHUNK


def test_a_file_may_end_anywhere(tmp_path: Path) -> None:
    data = os.urandom(3 * CHUNK + 4_097)
    file = PartialFile.create(tmp_path / "x", len(data))
    file.write(2 * CHUNK, memoryview(data)[2 * CHUNK :])
    file.write(0, memoryview(data)[: 2 * CHUNK])
    file.close()
    assert (tmp_path / "x").read_bytes() == data


def test_a_file_that_was_cut_meanwhile_gives_zeros(tmp_path: Path) -> None:
    """Not what the buffer had before, which may have been right there."""
    file = PartialFile.create(tmp_path / "x", 2 * CHUNK)
    file.write(0, memoryview(b"x" * 2 * CHUNK))
    os.truncate(tmp_path / "x", CHUNK + 5)
    buffer = memoryview(bytearray(b"x" * CHUNK))
    file.read(CHUNK, buffer)
    file.close()
    assert buffer == b"x" * 5 + bytes(CHUNK - 5)


def test_only_the_same_file_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "x"
    PartialFile.create(path, 10).close()
    with pytest.raises(FileExistsError):
        PartialFile.create(path, 10)
    again = PartialFile.reopen(path, 10)
    assert again is not None
    again.close()
    assert PartialFile.reopen(path, 11) is None
    assert PartialFile.reopen(tmp_path / "none", 10) is None
    (tmp_path / "link").symlink_to(path)
    assert PartialFile.reopen(tmp_path / "link", 10) is None
    os.mkfifo(tmp_path / "pipe")
    assert PartialFile.reopen(tmp_path / "pipe", 0) is None


def test_room(tmp_path: Path) -> None:
    check_room(tmp_path, 1)
    with pytest.raises(NoRoom):
        check_room(tmp_path, 2**60)


def test_what_cannot_be_so_large_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EFBIG, "a small file system")

    monkeypatch.setattr(os, "ftruncate", refuse)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="small"):
        PartialFile.create(tmp_path / "x", 10)
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before
