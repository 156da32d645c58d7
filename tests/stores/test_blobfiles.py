"""What only files can get wrong: names, modes, open descriptors, cancelled callers, failing flushes."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from hushpost.errors import StoreFailed, StoreFull
from hushpost.ids import BlobId
from hushpost.stores import blobfiles
from hushpost.stores.blobfiles import FileBlobs

BLOB = BlobId(bytes(range(16)))
NAME = "00/000102030405060708090a0b0c0d0e0f"


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[FileBlobs]:
    blobs = FileBlobs(tmp_path, min_free_bytes=0)
    yield blobs
    await blobs.close()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob("*/*"))


def descriptors() -> set[str]:
    """What is open in this process, but for the listing itself."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/self/fd/{name}"))
    return found


async def test_b1_the_name_tells_whether_it_is_whole(blobs: FileBlobs, tmp_path: Path) -> None:
    await blobs.create(BLOB)
    await blobs.write(BLOB, 0, memoryview(b"content"))
    assert files(tmp_path) == [NAME + ".part"]
    await blobs.finish(BLOB, 7)
    assert files(tmp_path) == [NAME]
    assert (tmp_path / NAME).read_bytes() == b"content"
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "00").stat().st_mode & 0o777 == 0o700


async def test_b3_nothing_stays_open(blobs: FileBlobs, tmp_path: Path) -> None:
    await blobs.create(BLOB)
    await blobs.write(BLOB, 0, memoryview(b"content"))
    assert not [name for name in descriptors() if name.startswith(str(tmp_path))]
    await blobs.finish(BLOB, 7)
    await blobs.read_into(BLOB, 0, memoryview(bytearray(7)))
    assert not [name for name in descriptors() if name.startswith(str(tmp_path))]


async def test_b3_a_cancelled_write_has_ended_when_it_says_so(blobs: FileBlobs, tmp_path: Path) -> None:
    """Its thread must not go on reading a buffer that the caller may fill again."""
    await blobs.create(BLOB)
    size = 8 * 2**20
    writing = asyncio.ensure_future(blobs.write(BLOB, 0, memoryview(bytearray(size))))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert (tmp_path / (NAME + ".part")).stat().st_size == size


async def test_b2_whoever_leaves_while_beginning_leaves_nothing(blobs: FileBlobs, tmp_path: Path) -> None:
    beginning = asyncio.ensure_future(blobs.create(BLOB))
    await asyncio.sleep(0)
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    await blobs.discard([BLOB])
    assert files(tmp_path) == []


async def test_b4_the_sweep_leaves_what_is_not_ours(blobs: FileBlobs, tmp_path: Path) -> None:
    (tmp_path / "00").mkdir()
    others = ["00/notes.txt", "00/" + "A" * 32, "00/" + "a" * 32, "00/" + "0" * 31]
    for name in others:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / (NAME + ".part")).write_bytes(b"")
    assert await blobs.sweep(set()) == 1
    assert files(tmp_path) == sorted(others)


async def test_early_flushes(blobs: FileBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobfiles, "FLUSH_EVERY", 10)
    await blobs.create(BLOB)
    for k in range(50):
        await blobs.write(BLOB, 4 * k, memoryview(b"%04d" % k))
    await blobs.finish(BLOB, 200)
    assert (tmp_path / NAME).read_bytes() == b"".join(b"%04d" % k for k in range(50))
    await blobs.create(BLOB)
    await blobs.write(BLOB, 0, memoryview(bytes(10)))
    await blobs.discard([BLOB])


async def test_b1_the_error_of_an_early_flush_is_not_forgotten(
    blobs: FileBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells a failed write-back once: the fsync of `finish` would say that all is well."""
    monkeypatch.setattr(blobfiles, "FLUSH_EVERY", 4)

    def failing(file: int) -> None:
        raise OSError(errno.EIO, "told once")

    await blobs.create(BLOB)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", failing)
        await blobs.write(BLOB, 0, memoryview(b"lost"))
        with pytest.raises(StoreFailed):
            await blobs.finish(BLOB, 4)
    assert files(tmp_path) == [NAME + ".part"]


async def test_other_errors_of_the_disk_are_failures(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    blobs = FileBlobs(tmp_path / "file", min_free_bytes=0)
    with pytest.raises(StoreFailed):
        await blobs.create(BLOB)
    await blobs.close()


async def test_space_is_kept_free_for_what_was_begun(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    free = disk.f_bavail * disk.f_frsize
    blobs = FileBlobs(tmp_path, min_free_bytes=free // 4)
    await blobs.create(BLOB, free // 2)
    with pytest.raises(StoreFull):
        await blobs.create(BlobId.random(), free // 2)
    await blobs.create(BlobId.random(), 1)
    await blobs.discard([BLOB])
    await blobs.create(BlobId.random(), free // 2)
    await blobs.close()


async def test_folders_are_the_owners_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        blobs = FileBlobs(tmp_path / "blobs", min_free_bytes=0)
        await blobs.create(BLOB)
    finally:
        os.umask(before)
    await blobs.close()
    folders = [path for path in (tmp_path / "blobs", *(tmp_path / "blobs").iterdir()) if path.is_dir()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in folders] == [0o700, 0o700]
