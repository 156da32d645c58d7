"""What every server process needs: its loop, its folder, its end."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from hushpost.errors import StoreUnusable
from hushpost.stores.base import StoreLimits
from hushpost.stores.blobfiles import FileBlobs
from hushpost.stores.sqlite import SqliteStore

DATABASE = "server.db"
BLOB_FOLDER = "blobs"
LOCK_FILE = "server.lock"

_M_MMAP_THRESHOLD = -3
MAPPED_FROM = 128 * 1024
"""Bytes of a buffer that is mapped by itself: glibc's own first choice."""


def make_folder(folder: Path) -> None:
    """Raises:
    StoreUnusable: it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnusable(
            f"the data folder cannot be used: {error.strerror}", hint="choose another one with --data"
        ) from None


@contextmanager
def only_server(folder: Path) -> Iterator[None]:
    """Keep other servers, and commands on the stores, away from a folder. The lock ends with the process.

    Raises:
        StoreUnusable: another has it, or the folder cannot be written.
    """
    try:
        lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnusable(
            f"{folder} cannot be used: {error.strerror}", hint="check its owner and permissions"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StoreUnusable(f"another Hushpost server is using {folder}", hint="stop it first") from None
    finally:
        os.close(lock)


def runner() -> asyncio.Runner:
    """Of the best loop that there is."""
    _keep_buffers_apart()
    return asyncio.Runner(loop_factory=_loop_factory())


def _keep_buffers_apart() -> None:
    """Have the C library map every large buffer by itself, as it does at first.

    uvloop has 256 KiB for each TLS connection, of which a page or two are ever written. By itself, glibc
    learns from the first that is freed to take the next from its heap, where pages are dirty from before:
    an idle connection then costs 10 to 40 KiB more. Other C libraries know no such setting.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform != "linux":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


@asynccontextmanager
async def opened_classic(data: Path, limits: StoreLimits) -> AsyncIterator[tuple[SqliteStore, FileBlobs]]:
    """The classic stores in a data folder, for as long as the block lasts."""
    blobs = FileBlobs(data / BLOB_FOLDER, limits.min_free_bytes)
    try:
        store = await SqliteStore.open(data / DATABASE, blobs, limits)
        try:
            yield store, blobs
        finally:
            await store.close()
    finally:
        await blobs.close()


def settle() -> None:
    """What has come up to here stays: collections need not look at it again."""
    gc.collect()
    gc.freeze()


def stop_signal() -> asyncio.Future[None]:
    """Done when the process is asked to stop."""
    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[None] = loop.create_future()

    def stop() -> None:
        if not stopping.done():
            stopping.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return stopping
