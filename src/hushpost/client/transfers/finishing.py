"""What is whole and verified gets its name: in one step, over nothing that is there, and durably."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from hushpost.client.transfers.folders import unpack
from hushpost.client.transfers.naming import Place, free_name, link_under, sync_folder
from hushpost.errors import UsageError

Note = Callable[[str], None]
"""Is told a final name, and has it durable when it returns, before anything is called so."""


def finish_file(partial: Path, place: Place, hostile: str, note: Note) -> Path:
    """Give a file its name: the wanted one, or else the stranger's, made safe. Blocks.

    Raises:
        UsageError: the wanted name was taken meanwhile.
        OSError: the disk failed.
    """
    while True:
        final = place.folder / place.wanted if place.wanted else free_name(place.folder, hostile)
        note(os.fspath(final))
        if link_under(partial, final):
            sync_folder(place.folder)
            return final
        if place.wanted:
            raise UsageError("there is a file of this name by now", hint="choose another with -o")


def finish_folder(partial: Path, place: Place, hostile: str, note: Note) -> Path:
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
        unpack(partial, unpacked)
        _sync_tree(unpacked)
    except BaseException:
        shutil.rmtree(unpacked, ignore_errors=True)
        raise
    while True:
        final = place.folder / place.wanted if place.wanted else free_name(place.folder, hostile)
        note(os.fspath(final))
        try:
            final.mkdir()
        except FileExistsError:
            if place.wanted:
                raise UsageError("there is a folder of this name by now", hint="choose another") from None
            continue
        unpacked.rename(final)  # over the empty one that is ours; it fails over one that is not empty
        partial.unlink()
        sync_folder(place.folder)
        return final


def was_finished(partial: Path, final: Path, *, is_folder: bool) -> bool:
    """Whether a life before this one has given the name already, and only did not note it.

    A folder gets its name when the place where it was unpacked goes. A file has two names for a moment.
    """
    if not final.exists():
        return False
    if is_folder:
        done = not unpacking_place(partial).exists()
    else:
        done = not partial.exists() or partial.samefile(final)
    if done:
        partial.unlink(missing_ok=True)
        sync_folder(final.parent)
    return done


def unpacking_place(partial: Path) -> Path:
    """Where a folder is unpacked before it gets its name."""
    return partial.with_suffix(".unpacked")


def discard(partial: Path) -> None:
    """Nobody wants it any more."""
    partial.unlink(missing_ok=True)
    shutil.rmtree(unpacking_place(partial), ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            handle = os.open(os.path.join(root, name), os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(Path(root))
