"""The receiver lease: of several processes of one profile, one is connected to the server.

A file lock of the operating system: it ends with the process, however that ends, and nobody has to guess
whether its holder is still alive.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from hushpost.errors import ProfileError


class Lease:
    """One process's hold on the lease, or its wish for it. Nothing here waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1

    @property
    def held(self) -> bool:
        return self._file >= 0

    def take(self) -> bool:
        """Take it if nobody else has it; whether it is ours now.

        Raises:
            ProfileError: the lock file cannot be made.
        """
        if self.held:
            return True
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ProfileError(
                f"{self._path} cannot be opened: {os.strerror(error.errno or 0)}",
                hint="check the folder's permissions",
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Let another process have it. The file stays: deleting it would let two hold two files."""
        if self.held:
            os.close(self._file)
            self._file = -1
