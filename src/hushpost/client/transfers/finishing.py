"""What is whole and verified gets its name: in one step, over nothing that is there, and durably."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from hushpost.client.store import Stamp
from hushpost.client.threads import Check
from hushpost.client.transfers.naming import Place, free_name, link_under, sync_folder
from hushpost.client.transfers.sources import facts_of
from hushpost.client.transfers.unpacking import unpack
from hushpost.errors import UsageError

Note = Callable[[str, Stamp], None]
"""Is told a final name and what will be called so: both are durable when it returns, before anything is."""


def finish_file(partial: Path, place: Place, hostile: str, note: Note, check: Check) -> Path:
    """Give a file its name: the wanted one, or else the stranger's, made safe. Blocks.

    Raises:
        UsageError: the wanted name was taken meanwhile.
        OSError: the disk failed.
    """
    while True:
        final = place.folder / place.wanted if place.wanted else free_name(place.folder, hostile)
        check()
        note(os.fspath(final), _stamp(partial))
        if link_under(partial, final):
            sync_folder(place.folder)
            return final
        if place.wanted:
            raise UsageError("there is a file of this name by now", hint="choose another with -o")


def finish_folder(partial: Path, place: Place, hostile: str, note: Note, check: Check) -> Path:
    """Unpack a tar stream, and give the folder its name. Blocks.

    Raises:
        UnsafeFolder: nothing of it is kept.
        UsageError, OSError: as `finish_file`.
    """
    unpacked = unpacking_place(partial)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(unpacked)
    unpacked.mkdir()
    try:
        unpack(partial, unpacked, check)
        _sync_tree(unpacked, check)
    except BaseException:
        shutil.rmtree(unpacked, ignore_errors=True)
        raise
    while True:
        final = place.folder / place.wanted if place.wanted else free_name(place.folder, hostile)
        check()
        note(os.fspath(final), _stamp(unpacked))
        try:
            unpacked.rename(final)  # over nothing, or over an empty folder that was made in this instant
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            if place.wanted:
                raise UsageError("there is something of this name by now", hint="choose another") from None
            continue
        partial.unlink()
        sync_folder(place.folder)
        return final


def was_finished(partial: Path, final: Path, stamp: Stamp) -> bool:
    """Whether a life before this one has given the name already, and only did not note it.

    Only what bears the very stamp that was noted counts: anybody may have put something of this name there.
    """
    try:
        if _stamp(final) != stamp:
            return False
    except OSError:
        return False
    partial.unlink(missing_ok=True)  # a file has two names for a moment
    sync_folder(final.parent)
    return True


def unpacking_place(partial: Path) -> Path:
    """Where a folder is unpacked before it gets its name."""
    return partial.with_suffix(".unpacked")


def discard(partial: Path) -> None:
    """Nobody wants it any more."""
    partial.unlink(missing_ok=True)
    shutil.rmtree(unpacking_place(partial), ignore_errors=True)


_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}
"""What renaming a folder to a name that is taken ends with."""


def _stamp(path: Path) -> Stamp:
    """Raises OSError: there is nothing."""
    return Stamp.of(facts_of(os.stat(path, follow_symlinks=False)))


def _sync_tree(folder: Path, check: Check) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            check()
            handle = os.open(os.path.join(root, name), os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(Path(root))
