"""A disk that is really full: a small file system of its own, in a name space that needs no privileges."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("full_disk.py")

ON_A_SMALL_DISK = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")


def small_disks_work() -> bool:
    try:
        subprocess.run([*ON_A_SMALL_DISK, "mount -t tmpfs tmpfs /mnt"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def run(part: str, folder: Path, megabytes: int) -> dict[str, Any]:
    """What `full_disk.py` says. Where name spaces are forbidden, a limit on file sizes stands in."""
    if small_disks_work():
        limited = [*ON_A_SMALL_DISK, f'mount -t tmpfs -o size={megabytes}m tmpfs "$4" && exec "$@"', "sh"]
    else:
        limited = ["sh", "-c", f'ulimit -f {megabytes * 1024} && exec "$@"', "sh"]
    done = subprocess.run(
        [*limited, sys.executable, str(SCRIPT), part, str(folder)], check=True, capture_output=True, text=True
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_m7_the_database_of_a_full_disk(tmp_path: Path) -> None:
    """Appends are refused, while reading and acknowledging go on, on the room that was put aside."""
    if not small_disks_work():
        pytest.skip("no name spaces here; test_sqlite fills a database without a disk")
    assert run("database", tmp_path, 220) == {
        "ballast at first": True,
        "append": "StoreFull",
        "append on not a byte": "StoreFull",
        "all that was answered is read": True,
        "acks": ["done"],
        "ack up to": "done",
        "left": True,
        "ballast given up": True,
        "append with room": "done",
        "ballast again": True,
        "failed": False,
        "kept": True,
    }


def test_b2_a_content_on_a_full_disk(tmp_path: Path) -> None:
    assert run("blobs", tmp_path, 8) == {
        "write": "StoreFull",
        "left behind": 0,
        "write with room": "done",
        "finish": "done",
        "reserve": "StoreFull",
    }
