"""What a file is called: for others when it is sent, and on this disk when it comes."""

from __future__ import annotations

import errno
import os
import secrets
from dataclasses import dataclass
from mimetypes import MimeTypes
from pathlib import Path

from hushpost.crypto.offer import MEDIA_TYPE
from hushpost.errors import UsageError
from hushpost.filenames import safe_name

PARTIAL_PREFIX = ".hush-"
PARTIAL_SUFFIX = ".part"

_types = MimeTypes(filenames=())
"""The table that Python brings along: what a system's own files say is nobody's business."""


def told_name(path: Path) -> str:
    """What others are told that a file is called: bytes that are no UTF-8 are replaced."""
    return os.fsencode(path.name).decode(errors="replace")


def media_type_of(name: str) -> str:
    """By the name's end; empty where that says nothing, or that it is compressed."""
    found, encoding = _types.guess_type(name, strict=True)
    return found if found and not encoding and MEDIA_TYPE.fullmatch(found) else ""


def partial_in(folder: Path) -> Path:
    """A name for a file that nobody takes for a finished one, and that nobody else uses."""
    return folder / f"{PARTIAL_PREFIX}{secrets.token_hex(8)}{PARTIAL_SUFFIX}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is to be put.

    Attributes:
        target: what the user asked for, as an absolute path; a folder's ends in a slash.
        wanted: the name that it shall have; empty: the sender's, made safe.
    """

    target: str
    folder: Path
    wanted: str


def chosen_place(target: str) -> Place:
    """What a user means by a path. What ends in a slash is a folder, also when it is gone.

    Raises:
        UsageError: there is no such folder, or none that we may write to, or the name is taken.
    """
    path = Path(os.path.abspath(target))
    is_folder = path.is_dir()
    folder = path if is_folder else path.parent
    if not folder.is_dir() or (target.endswith(os.sep) and not is_folder):
        raise UsageError("there is no such folder to put the file into", hint="make it, or choose another")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError("nothing can be written to this folder", hint="choose another with -o")
    if is_folder:
        return Place(as_folder(path), path, "")
    if os.path.lexists(path):
        raise UsageError("there is a file of this name already", hint="choose another with -o")
    return Place(str(path), path.parent, path.name)


def as_folder(path: Path) -> str:
    """How a target is noted that is a folder, and nothing else by the time it is needed."""
    return os.path.join(path, "")


def free_name(folder: Path, hostile: str) -> Path:
    """A final name for what comes under a stranger's: free at this moment."""
    return folder / safe_name(hostile, lambda name: os.path.lexists(folder / name))


_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""What a file system without hard links says."""


def link_under(partial: Path, final: Path) -> bool:
    """Give a finished file its name, in one step that fails if it is taken. False: it is.

    Where a file system has no hard links, the name is taken by an empty file first.
    """
    try:
        os.link(partial, final, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        try:
            os.close(os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return False
        os.replace(partial, final)
    else:
        partial.unlink()
    return True


def sync_folder(folder: Path) -> None:
    """Make names in it durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
