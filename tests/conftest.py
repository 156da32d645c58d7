"""What every test runs under: nothing of ours may block the event loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, BlockBusterFunction
from hypothesis import HealthCheck, settings
from sqlcipher3 import dbapi2

from harness.process import ServerProcess, classic_server, obey_interrupts

# Time proves nothing on a machine that does other things, too.
settings.register_profile("timeless", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("timeless")

obey_interrupts()

FILE_CALLS = (
    "builtins.open",
    "io.open",
    "os.fdatasync",
    "os.fsync",
    "os.ftruncate",
    "os.open",
    "os.posix_fallocate",
    "os.pread",
    "os.preadv",
    "os.pwrite",
    "os.pwritev",
    "socket.getaddrinfo",
)
"""Calls that wait for a disk or a resolver and that blockbuster does not know by itself."""

DATABASE_CALLS = {
    dbapi2.Connection: ("commit", "execute", "executemany", "executescript", "open_blob", "rollback"),
    dbapi2.Cursor: ("execute", "executemany", "executescript", "fetchall", "fetchmany", "fetchone"),
}


@pytest.fixture(autouse=True, scope="session")
def no_blocking_calls() -> Iterator[BlockBuster]:
    """A blocking call from `hushpost`, however deep, raises where an event loop is running.

    Tests themselves may read and write files in the loop: only calls with a frame of our package on
    the stack count.
    """
    guard = BlockBuster("hushpost")
    for name in FILE_CALLS:
        guard.functions[name] = BlockBusterFunction(None, name, scanned_modules="hushpost")
    for cls, methods in DATABASE_CALLS.items():
        for method in methods:
            guard.functions[f"sqlcipher3.{cls.__name__}.{method}"] = BlockBusterFunction(
                cls, method, scanned_modules="hushpost"
            )
    guard.activate()
    try:
        yield guard
    finally:
        guard.deactivate()


@pytest.fixture(name="classic_server")
def running_classic_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A classic server in a process of its own, with its data in `tmp_path / "server"`."""
    with ServerProcess(classic_server(tmp_path / "server")) as server:
        yield server
