"""The baseline of what files pass on their way: a disk that takes parts, and one that gives others meanwhile.

As the server and a downloader do it: past the page cache, two threads for each, every part synced.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from hushpost.directio import DirectFile, aligned_buffer, opened
from hushpost.stores.post.partfiles import SLOT

LANES = 2


def written(folder: Path, size: int) -> float:
    """MB/s of writing and nothing else."""
    with opened(_file(folder, "written"), os.O_RDWR | os.O_CREAT | os.O_TRUNC) as target:
        seconds = _timed([partial(_write, target, lane, size) for lane in range(LANES)])
    _file(folder, "written").unlink()
    return size / 1e6 / seconds


def copied(source: Path, target: Path, size: int) -> float:
    """MB/s of writing to one folder while as much is read from another: so much each way, at once."""
    with (
        opened(_file(source, "read"), os.O_RDWR | os.O_CREAT | os.O_TRUNC) as there,
        opened(_file(target, "written"), os.O_RDWR | os.O_CREAT | os.O_TRUNC) as here,
    ):
        for lane in range(LANES):
            _write(there, lane, size)
        work = [partial(_read, there, lane, size) for lane in range(LANES)]
        seconds = _timed(work + [partial(_write, here, lane, size) for lane in range(LANES)])
    _file(source, "read").unlink()
    _file(target, "written").unlink()
    return size / 1e6 / seconds


def _file(folder: Path, name: str) -> Path:
    return folder / f"bare-{name}.bin"


def _write(file: DirectFile, lane: int, size: int) -> None:
    piece = aligned_buffer(SLOT)
    piece[:] = os.urandom(SLOT)
    for at in _places(lane, size):
        file.write(piece, at)
        os.fdatasync(file.handle)


def _read(file: DirectFile, lane: int, size: int) -> None:
    piece = aligned_buffer(SLOT)
    for at in _places(lane, size):
        if file.read(piece, at) != SLOT:
            raise RuntimeError("less was read than had been written")


def _places(lane: int, size: int) -> range:
    """Every lane its own pieces, behind those of the others."""
    return range(lane * SLOT, -(-size // SLOT) * SLOT, LANES * SLOT)


def _timed(work: list[partial[None]]) -> float:
    with ThreadPoolExecutor(len(work)) as pool:
        begun = time.perf_counter()
        for future in [pool.submit(each) for each in work]:
            future.result()
        return time.perf_counter() - begun
