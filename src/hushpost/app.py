"""The server's composition root: settings to stores to listeners; signals; shutdown."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import structlog

from hushpost.classic import payloads
from hushpost.classic.server.gateway import Gateway
from hushpost.classic.server.importer import ImportReport, Progress, import_old_server
from hushpost.classic.server.oldserver import OldServer
from hushpost.errors import StoreUnusable
from hushpost.server.net import Acceptor, listen
from hushpost.settings import ClassicSettings
from hushpost.stores.base import Blobs, Store, StoreLimits
from hushpost.stores.blobfiles import FileBlobs
from hushpost.stores.sqlite import SqliteStore

DATABASE = "server.db"
BLOB_FOLDER = "blobs"

log = structlog.get_logger()

Announce = Callable[[str, int], None]
"""Called once, with the bound address, when connections are being accepted."""


def run_classic(settings: ClassicSettings, limits: StoreLimits, announce: Announce) -> None:
    """Serve the classic protocol until SIGTERM or Ctrl-C, or until the disk fails.

    Raises:
        AddressUnavailable, StoreUnusable: before anything was served.
        StoreFailed: the disk failed; what was answered before is safe.
    """
    _make_folder(settings.data)
    with listen(settings.host, settings.port) as listener, _runner() as runner:
        runner.run(_serve_classic(settings, limits, listener, announce))


def import_classic(source: Path, data: Path, progress: Progress) -> ImportReport:
    """Take over the old server in the folder `source` into a new one in `data`.

    Raises:
        StoreUnusable: either is not what it should be, or they are the same.
        StoreFull, StoreFailed: go on by calling it again.
    """
    if data.resolve() == source.resolve():
        raise StoreUnusable(
            "the old server's folder cannot be the new one's",
            hint="name another folder with --data; the old one stays as it is",
        )
    if not (data / DATABASE).exists():
        OldServer.open(source).close()  # before anything is created: a wrong folder leaves no traces
    _make_folder(data)
    with _runner() as runner:
        return runner.run(_import_classic(source, data, progress))


async def _import_classic(source: Path, data: Path, progress: Progress) -> ImportReport:
    async with _opened(data, StoreLimits()) as (store, blobs):
        return await import_old_server(source, store, blobs, progress)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnusable(
            f"the data folder cannot be used: {error.strerror}", hint="choose another one with --data"
        ) from None


def _runner() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=_loop_factory())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform != "linux":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


@asynccontextmanager
async def _opened(data: Path, limits: StoreLimits) -> AsyncIterator[tuple[SqliteStore, FileBlobs]]:
    """The stores in a data folder, for as long as the block lasts."""
    blobs = FileBlobs(data / BLOB_FOLDER, limits.min_free_bytes)
    try:
        store = await SqliteStore.open(data / DATABASE, blobs, limits)
        try:
            yield store, blobs
        finally:
            await store.close()
    finally:
        await blobs.close()


async def _serve_classic(
    settings: ClassicSettings, limits: StoreLimits, listener: socket.socket, announce: Announce
) -> None:
    limits = msgspec.structs.replace(limits, max_sequence=payloads.MAX_MESSAGE_ID)
    async with _opened(settings.data, limits) as (store, blobs):
        await _serve_until_stopped(settings, store, blobs, listener, announce)


async def _serve_until_stopped(
    settings: ClassicSettings,
    store: Store,
    blobs: Blobs,
    listener: socket.socket,
    announce: Announce,
) -> None:
    stopping = _stop_signal()
    async with asyncio.TaskGroup() as tasks:
        gateway = Gateway(store, blobs, settings.limits, tasks)
        acceptor = Acceptor(listener, gateway, settings.limits, payloads.REFUSAL)
        acceptor.start()
        host, port = listener.getsockname()[:2]
        gc.collect()
        gc.freeze()  # what has come up to here stays: collections need not look at it again
        announce(host, port)
        log.info("serving", protocol="classic")
        await asyncio.wait({stopping, store.failed}, return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping")
        await acceptor.stop()
    log.info("stopped")
    if store.failed.done():
        store.failed.result()


def _stop_signal() -> asyncio.Future[None]:
    """Done when the process is asked to stop."""
    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[None] = loop.create_future()

    def stop() -> None:
        if not stopping.done():
            stopping.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return stopping
