"""kill -9 in the middle of uploads: answered means kept, and what was not answered can be put again."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from blake3 import blake3

from hushpost.errors import StoreFailed, UnknownBlob
from hushpost.ids import BlobId
from hushpost.stores.base import Parts
from hushpost.wire.limits import PART_SIZE

from .parts_victim import ACCOUNT, TOKEN, content, new_blob, opened, put

ROUNDS = 8


@dataclass
class Answers:
    """What the victims said, over all rounds."""

    counts: dict[str, int] = field(default_factory=dict)
    parts: set[tuple[str, int]] = field(default_factory=set)
    committed: set[str] = field(default_factory=set)
    releasing: set[str] = field(default_factory=set)
    released: set[str] = field(default_factory=set)

    def hear(self, line: bytes) -> None:
        match line.decode().split():
            case ["created", blob, count]:
                self.counts[blob] = int(count)
            case ["put", blob, index]:
                self.parts.add((blob, int(index)))
            case ["committed", blob]:
                self.committed.add(blob)
            case ["releasing", blob]:
                self.releasing.add(blob)
            case ["released", blob]:
                self.released.add(blob)
            case other:
                raise AssertionError(other)


def run_and_kill(folder: Path, answers: Answers, after: int) -> None:
    command = [sys.executable, str(Path(__file__).with_name("parts_victim.py")), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        for _ in range(after):
            line = victim.stdout.readline()
            assert line.endswith(b"\n"), "the victim ended by itself"
            answers.hear(line)
        victim.kill()
        for line in victim.stdout:
            if line.endswith(b"\n"):
                answers.hear(line)


async def check_blob(parts: Parts, answers: Answers, name: str) -> None:
    """Go on with it as its owner would, and read it."""
    blob, count = BlobId.parse(name), answers.counts[name]
    state = await parts.state(blob, TOKEN, 0, 99)
    for index, digest in enumerate(state.digests):
        expected = blake3(content(blob, index, count)).digest()
        assert digest in (None, expected)
        assert digest or (name, index) not in answers.parts, "a part that was answered is not there"
        assert await put(parts, blob, index, count) is (digest is None)
    assert state.committed or name not in answers.committed, "a commit was forgotten"
    await parts.commit(ACCOUNT, blob, new_blob(blob, count).size)
    buffer = memoryview(bytearray(PART_SIZE))
    for index in range(count):
        part = await parts.find_part(blob, TOKEN, index)
        assert await parts.read_part(part, 0, buffer) == part.size
        assert buffer[: part.size] == content(blob, index, count)


async def check(folder: Path, answers: Answers) -> None:
    store = await opened(folder)
    parts = store.parts
    for name in answers.counts.keys() - answers.releasing:
        await check_blob(parts, answers, name)
        await parts.release(ACCOUNT, BlobId.parse(name), [TOKEN])
    for name in answers.releasing - answers.released:  # whether it had come so far or not
        try:
            await parts.release(ACCOUNT, BlobId.parse(name), [TOKEN])
        except UnknownBlob:
            continue
    for name in answers.counts.keys() | answers.releasing:
        with pytest.raises(UnknownBlob):
            await parts.state(BlobId.parse(name), TOKEN, 0, 1)
    stats = await store.stats()
    assert stats.blobs == stats.unfinished_blobs, "a committed blob that nobody was told of"
    left = {path.name for path in (folder / "files").glob("*/*")}
    assert len(left) == stats.blobs, "content without a row, or a row without content"
    await store.close()
    answers.counts.clear()
    answers.releasing.clear()


def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    answers, chance = Answers(), random.Random(20261123)
    for _ in range(ROUNDS):
        run_and_kill(tmp_path, answers, after=chance.randrange(1, 300))
        asyncio.run(check(tmp_path, answers))
    assert len(answers.committed) > 50
    assert answers.released


def test_a_restored_database_forgets_what_it_has_no_content_for(tmp_path: Path) -> None:
    """And content that it does not know is removed."""

    async def run() -> None:
        store = await opened(tmp_path)
        kept, lost, cut = (BlobId(bytes([k]) * 16) for k in (1, 2, 3))
        for blob in (kept, lost, cut):
            await store.parts.create(ACCOUNT, new_blob(blob, 1))
            await put(store.parts, blob, 0, 1)
            await store.parts.commit(ACCOUNT, blob, new_blob(blob, 1).size)
        await store.close()
        folder = tmp_path / "files"
        (folder / "02" / str(lost)).unlink()
        with (folder / "03" / str(cut)).open("r+b") as file:
            file.truncate(100)
        (folder / "01" / ("01" * 15 + "ff")).write_bytes(b"nobody's")
        (folder / "01" / "a file of somebody").write_bytes(b"not ours")
        store = await opened(tmp_path)
        assert (await store.parts.state(kept, TOKEN, 0, 1)).committed
        for blob in (lost, cut):
            with pytest.raises(UnknownBlob):
                await store.parts.state(blob, TOKEN, 0, 1)
        assert sorted(path.name for path in folder.glob("*/*")) == sorted([str(kept), "a file of somebody"])
        assert (await store.stats()).blobs == 1
        await store.close()

    asyncio.run(run())


@pytest.mark.parametrize("lacking", [0, 1])
def test_a_file_that_lacks_a_byte_of_its_last_slot_is_not_whole(tmp_path: Path, lacking: int) -> None:
    async def run() -> None:
        store = await opened(tmp_path)
        blob = BlobId(bytes([1]) * 16)
        await store.parts.create(ACCOUNT, new_blob(blob, 3))
        for index in (2, 0, 1):
            await put(store.parts, blob, index, 3)
        size = new_blob(blob, 3).size
        await store.parts.commit(ACCOUNT, blob, size)
        await store.close()
        path = tmp_path / "files" / "01" / str(blob)
        os.truncate(path, 2 * (4 << 20) + size - 2 * PART_SIZE - lacking)
        store = await opened(tmp_path)
        assert (await store.stats()).blobs == 1 - lacking
        await store.close()

    asyncio.run(run())


def test_a_part_that_the_disk_has_lost_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk tells it once: from then on nothing is promised any more."""

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "the disk is gone")

    async def run() -> None:
        store = await opened(tmp_path)
        blob = BlobId.random()
        await store.parts.create(ACCOUNT, new_blob(blob, 1))
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", fail)
            with pytest.raises(StoreFailed):
                await put(store.parts, blob, 0, 1)
        with pytest.raises(StoreFailed):
            await store.failed
        with pytest.raises(StoreFailed):
            await put(store.parts, blob, 0, 1)
        await store.close()
        store = await opened(tmp_path)
        assert (await store.parts.state(blob, TOKEN, 0, 1)).present == 0
        await store.close()

    asyncio.run(run())
