"""Where the content of a file message comes from: a file, a pipe, or standard input."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from io import BufferedIOBase

from hushpost.classic.client.requests import MAX_CONTENT
from hushpost.classic.crypto import PIECE
from hushpost.errors import UsageError

STDIN = "-"


@contextlib.contextmanager
def source(path: str) -> Iterator[tuple[BufferedIOBase, int]]:
    """A file to send, and its size, which the protocol tells first.

    What is not a regular file is copied into a nameless temporary one, which has a size.

    Raises:
        UsageError: there is nothing to read, or too much.
        OSError: there is no room for the copy.
    """
    with _opened(path) as file:
        mode = os.fstat(file.fileno()).st_mode
        if path != STDIN and stat.S_ISREG(mode):
            yield file, os.fstat(file.fileno()).st_size
            return
        with tempfile.TemporaryFile() as copy:
            while piece := file.read(PIECE):
                if copy.tell() + len(piece) > MAX_CONTENT:
                    raise UsageError("a message holds at most 1 GiB", hint="split the file")
                copy.write(piece)
            copy.flush()
            size = copy.tell()
            copy.seek(0)
            yield copy, size


def need_stdin() -> None:
    """Raises:
    UsageError: this process was started without a standard input.
    """
    if sys.stdin is None:
        raise UsageError("standard input is closed", hint="give it something to read, such as < FILE")


def _opened(path: str) -> BufferedIOBase:
    if not path:
        raise UsageError(
            "the path of the file is empty", hint="give the path of a file, or - for standard input"
        )
    if path == STDIN:
        need_stdin()
        return open(0, "rb", closefd=False)
    try:
        return open(path, "rb")
    except IsADirectoryError:
        raise UsageError(
            f"{path}: it is a directory",
            hint="send its content as one file: tar c DIRECTORY | ... send-file NAME -",
        ) from None
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}",
            hint="give the path of a file that you may read, or - for standard input",
        ) from None
    except ValueError:
        raise UsageError("the path of the file holds a NUL", hint="give the path of a file") from None
