"""How much may still be written."""

from __future__ import annotations

import os
from pathlib import Path

from hushpost import sql


def disk_room(folder: Path) -> int:
    """Free bytes of the disk under a folder."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def database_room(connection: sql.Connection, folder: Path) -> int:
    """Bytes for new rows: those of the disk, and what deletions left free inside the database.

    The file never shrinks, so a disk that only messages have filled would stay full for ever.
    """
    (unused,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    return disk_room(folder) + int(unused) * int(page_size)
