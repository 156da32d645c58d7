"""What comes from a pipe: read once, sealed at once, and kept as ciphertext until the server has it.

Nobody can read a pipe again. So it cannot go on after a crash until its end was reached; from then on all of
it is here, sealed, and the upload goes on like any other.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

from hushpost.client.store import Attempt
from hushpost.client.threads import wait_until_ready
from hushpost.client.transfers.sealed import Records
from hushpost.client.transfers.sources import SourceChanged
from hushpost.crypto.filelayout import MAX_SIZE, PART, SEALED_PART, FileLayout, Part
from hushpost.crypto.filestream import PartSealer
from hushpost.directio import aligned_buffer
from hushpost.errors import HushpostError, UsageError


class PipeLost(HushpostError):
    """A pipe was not read to its end, and what is gone is gone."""

    def __init__(self) -> None:
        super().__init__(
            "what was piped in was not read to its end, and cannot be read again",
            hint="cancel it with hush files cancel, and send it again",
        )


class Pipe:
    """The reading end. `stop` may be called by any thread: then reading ends with `PipeLost`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._stopped = threading.Event()
        try:
            self._handle = file.fileno()
        except OSError:  # something in memory
            self._handle = -1

    def stop(self) -> None:
        self._stopped.set()

    def read_into(self, buffer: memoryview) -> int:
        """Fill the buffer as far as it goes; less only at the end."""
        filled = 0
        while filled < len(buffer):
            count = self._read_some(buffer[filled:])
            if not count:
                break
            filled += count
        return filled

    def _read_some(self, buffer: memoryview) -> int:
        if self._handle < 0:
            data = self._file.read(len(buffer))
            buffer[: len(data)] = data
            return len(data)
        wait_until_ready(self._handle, select.POLLIN, self._check)
        return os.readv(self._handle, [buffer])

    def _check(self) -> None:
        if self._stopped.is_set():
            raise PipeLost


class Spooler:
    """Seals what comes into a folder, a file for each part.

    Args:
        moved: told of the bytes that are sealed.
    """

    def __init__(
        self, folder: Path, attempt: Attempt, records: Records, moved: Callable[[int], None]
    ) -> None:
        self._folder = folder
        self._sealer = PartSealer(attempt.key, attempt.blob)
        self._records = records
        self._moved = moved
        self._sealed = aligned_buffer(SEALED_PART)

    def spool(self, pipe: Pipe) -> int:
        """All of it; how many bytes it was. Blocks.

        Whether a part is the last is known when there is nothing behind it: so one is held back.

        Raises:
            UsageError: it is too large. PipeLost: it was stopped. OSError: the disk is full.
        """
        self._folder.parent.mkdir(mode=0o700, exist_ok=True)
        self._folder.mkdir(mode=0o700)
        held, coming = (aligned_buffer(PART) for _ in range(2))
        size = count = pipe.read_into(held)
        number = 0
        while count == PART and (count := pipe.read_into(coming)):
            self._keep(Part.inner(number), held)
            number, size = number + 1, size + count
            held, coming = coming, held
            if size > MAX_SIZE:
                raise UsageError("a file holds at most 16 TiB")
        layout = FileLayout(size)
        for last in range(number, layout.count):
            self._keep(layout.part(last), held)
        for path in self._folder.iterdir():
            _sync(path)
        _sync(self._folder)
        return size

    def _keep(self, part: Part, plain: memoryview) -> None:
        sealed = self._sealed[: part.sealed_size]
        digest = self._sealer.seal(part, [plain[: part.true]], sealed)
        with (self._folder / str(part.index)).open("xb") as file:
            file.write(sealed)
        self._records.keep(part.index, digest).result()
        self._moved(part.true)


def drop_spool(folder: Path) -> None:
    """The server has it, or nobody wants it. Harmless where there is none."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def check_spool(folder: Path, size: int | None) -> None:
    """Raises:
    PipeLost: it was not read to its end.
    SourceChanged: what was kept is gone.
    """
    if size is None:
        raise PipeLost
    if not folder.is_dir():
        raise SourceChanged


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
