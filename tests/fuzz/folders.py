"""What comes of a folder: whatever its stream holds, nothing but plain files and folders, inside of it."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from hushpost.client.transfers.tarstream import MAX_DEPTH, UnsafeFolder, members
from hushpost.client.transfers.unpacking import unpack
from tests.client.transfers.tars import mended, stream


def folders(data: bytes) -> None:
    """It is unpacked, or refused with the one error; no more is written than was sent."""
    variant, raw = (data[:1] or b"\0")[0], data[1:]
    whole = stream(mended(raw) if variant & 1 else raw)
    if not _is_read(whole):
        return  # making files is slow, and most inputs end here
    with tempfile.TemporaryDirectory() as place:
        packed, target = Path(place, "packed"), Path(place, "target")
        packed.write_bytes(whole)
        target.mkdir()
        with contextlib.suppress(UnsafeFolder):
            unpack(packed, target)
        assert set(os.listdir(place)) == {"packed", "target"}, "something is beside the folder"
        written = 0
        for made in target.rglob("*"):
            status = made.lstat()
            assert stat.S_IFMT(status.st_mode) in {stat.S_IFREG, stat.S_IFDIR}, "neither a file nor a folder"
            assert not status.st_mode & 0o7000, "a special mode"
            written += status.st_size if stat.S_ISREG(status.st_mode) else 0
        assert written <= len(whole), "more was written than was sent"


def _is_read(whole: bytes) -> bool:
    """Whether nothing is wrong with the stream itself; each entry before has a place of its own in it."""
    handle, behind = os.memfd_create("folder"), 0
    try:
        os.write(handle, whole)
        for member in members(handle):
            assert behind < member.begin <= member.end < len(whole), "bytes that belong to two entries"
            assert len(member.path) <= MAX_DEPTH, "too deep"
            assert not {"", ".", ".."} & set(member.path), "a name that leads elsewhere"
            assert not any("/" in name or "\0" in name for name in member.path), "a name of several"
            behind = member.end
    except UnsafeFolder:
        return False
    finally:
        os.close(handle)
    return True
