"""Files of parts on the disk: what is to go is gone at once, and its room is given back meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from hushpost.directio import BLOCK
from hushpost.errors import BlobMissing
from hushpost.ids import BlobId
from hushpost.stores.base import StoredPart
from hushpost.stores.post.partfiles import SLOT, PartDigester, PartFiles

CONTENT = bytes(range(256)) * 100 + b"x"


async def one(files: PartFiles) -> StoredPart:
    """A blob of a single part."""
    blob, digester = BlobId.random(), PartDigester(len(CONTENT))
    await files.create(blob)
    await files.write(blob, 0, [memoryview(CONTENT)], digester)
    return StoredPart(blob, 0, len(CONTENT), digester.digest())


def there(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.glob("*/*"))


async def unlinked(files: PartFiles) -> None:
    """Everything that was to be unlinked by now."""
    await files._unlinking.run(lambda: None)


@pytest.fixture
def busy() -> Iterator[threading.Event]:
    """However a test ends, the thread that waits for it ends as well."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("cut", [1, BLOCK, BLOCK + 1, len(CONTENT) - 1])
async def test_a_part_ends_with_zeros_to_a_whole_block(tmp_path: Path, cut: int) -> None:
    """So that a disk takes it as it is. Where a turn has ended meanwhile, there are none."""
    files, blob, digester = PartFiles(tmp_path), BlobId.random(), PartDigester(len(CONTENT))
    await files.create(blob)
    for piece in (CONTENT[:cut], CONTENT[cut:]):
        await files.write(blob, 1, [memoryview(piece)], digester)
    size = len(CONTENT)
    assert digester.digest() == blake3(CONTENT).digest()
    assert await files.sizes() == {blob: SLOT + size + (0 if cut % BLOCK else -size % BLOCK)}
    got = bytearray(size)
    assert await files.read(StoredPart(blob, 1, size, b""), 0, memoryview(got)) == size
    assert got == CONTENT
    files.close()


async def test_nobody_waits_for_room_to_be_given_back(tmp_path: Path, busy: threading.Event) -> None:
    files = PartFiles(tmp_path)
    part = await one(files)
    other = files._unlinking.start(busy.wait)  # with a file of a terabyte, say
    await files.remove(part.blob)
    with pytest.raises(BlobMissing):
        await files.read(part, 0, memoryview(bytearray(len(CONTENT))))
    assert not await asyncio.to_thread(files.has, part)
    assert await files.sizes() == {}
    assert there(tmp_path) == [".gone"]
    await files.create(part.blob)  # nothing is in its way
    busy.set()
    await asyncio.gather(other, unlinked(files))
    assert there(tmp_path) == [""]
    files.close()


async def test_what_a_life_before_did_not_come_to_unlink(tmp_path: Path, busy: threading.Event) -> None:
    files = PartFiles(tmp_path)
    kept, part = await one(files), await one(files)
    other = files._unlinking.start(busy.wait)
    await files.remove(part.blob)
    assert there(tmp_path) == ["", ".gone"]
    again = PartFiles(tmp_path)
    await again.remove_gone()
    await unlinked(again)
    assert there(tmp_path) == [""]
    assert await asyncio.to_thread(again.has, kept)
    busy.set()
    await asyncio.gather(other, unlinked(files))
    for each in (files, again):
        each.close()


async def test_what_is_not_there_is_removed_all_the_same(tmp_path: Path) -> None:
    files = PartFiles(tmp_path)
    await files.remove(BlobId.random())
    await unlinked(files)
    assert there(tmp_path) == []
    files.close()


async def test_room_that_cannot_be_given_back_is_told_to_the_operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = PartFiles(tmp_path)
    part = await one(files)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "not today")

    with monkeypatch.context() as inside:
        inside.setattr(Path, "unlink", refuse)
        await files.remove(part.blob)
        await unlinked(files)
    assert "cannot be given back" in capsys.readouterr().out
    assert there(tmp_path) == [".gone"]
    files.close()
