"""Who carries a transfer: of a profile's processes one at a time. A lock ends with its process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from hushpost.ids import MessageId


class Claim:
    """One process's hold on one transfer, or its wish for it. Everything here blocks for an instant only."""

    def __init__(self, folder: Path, message: MessageId) -> None:
        self._path = folder / f"{message}.lock"
        self._file = -1

    def take(self) -> bool:
        """Take it if nobody else has it; whether it is ours now.

        Whoever lets go of it deletes the file: so a lock counts only on the file that has the name.
        """
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(file)
                return False
            if self._is_named(file):
                self._file = file
                return True
            os.close(file)

    def release(self) -> None:
        """Let another process have it; harmless where it was not taken."""
        if self._file >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1

    def _is_named(self, file: int) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(file))
        except FileNotFoundError:
            return False


def is_claimed(folder: Path, message: MessageId) -> bool:
    """Whether a process carries it at this moment."""
    try:
        file = os.open(folder / f"{message}.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False
