"""Files of the working directory that are wholly there or not at all, and private."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

PRIVATE = 0o600
TEMPORARY = ".hush-"
"""How the names of unfinished files begin."""


def write_private(path: Path, data: bytes) -> None:
    """Put `data` at `path`, durably, for the owner's eyes only; a crash leaves the old file or the new.

    Raises:
        OSError: the disk refuses; the old file is as it was.
    """
    with unfinished(path.parent) as file:
        file.write(data)
        _finish(file)
        Path(file.name).replace(path)
    sync_directory(path.parent)


def save_new(directory: Path, stem: str, suffix: str, pieces: Iterable[memoryview]) -> Path:
    """Write a stream to a new file `<stem><suffix>` and return its path.

    The content appears under that name only when `pieces` has ended without an error. Nothing is
    overwritten: while a name is taken, a number is added. Durable once `sync_directory` is called.

    Raises:
        OSError: the disk refuses. Whatever `pieces` raises. In both cases nothing is left behind.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    with unfinished(directory) as file:
        for piece in pieces:
            file.write(piece)
        _finish(file)
        path = _reserve(directory, stem, suffix)
        Path(file.name).replace(path)
    return path


@contextlib.contextmanager
def unfinished(directory: Path) -> Iterator[BinaryIO]:
    """A new private file with a temporary name, removed at the end if it still bears that name."""
    path = directory / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        with open(path, "xb", opener=_private) as file:
            yield file
    finally:
        path.unlink(missing_ok=True)


def remove_unfinished(directory: Path) -> None:
    """Clear away what a killed process left. Only while no other can be writing there."""
    for path in directory.glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Make new names in a directory survive a power failure."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE)


def _finish(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _reserve(directory: Path, stem: str, suffix: str) -> Path:
    """An empty file of ours under the first free name: only that is ever replaced."""
    number = 1
    while True:
        path = directory / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
        try:
            with open(path, "xb", opener=_private):
                return path
        except FileExistsError:
            number += 1
