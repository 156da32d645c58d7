"""Disk space put aside: on a full disk, SQLite needs room even for deleting."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from hushpost.stores.checkpoints import BYTES_BETWEEN

BALLAST_BYTES = 2 * BYTES_BETWEEN
"""Room for all that the log holds which is new to the database: once it is copied there, the log begins
again at its start, and deletions are written without any more room, as many as there are to come."""

REFILL_FREE = 3 * BALLAST_BYTES
"""Free bytes at which the ballast is put aside again."""


class Ballast:
    """A preallocated file that can be given up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held = path.exists() and path.stat().st_size == BALLAST_BYTES

    def release(self) -> bool:
        """Give its room to the disk; False if that was done before."""
        held, self._held = self._held, False
        self._path.unlink(missing_ok=True)
        return held

    def refill(self) -> None:
        """Take the room again if there is plenty. Never raises: without ballast life goes on."""
        if self._held:
            return
        with contextlib.suppress(OSError):
            disk = os.statvfs(self._path.parent)
            if disk.f_bavail * disk.f_frsize < REFILL_FREE:
                return
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, BALLAST_BYTES)
                self._held = True
            finally:
                os.close(file)
