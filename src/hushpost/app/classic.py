"""The classic server as a process of its own, and taking over an old one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from hushpost.app.running import DATABASE, make_folder, opened_classic, runner, settle, stop_signal
from hushpost.classic import payloads
from hushpost.classic.server.fetch import Handover
from hushpost.classic.server.gateway import Gateway
from hushpost.classic.server.importer import ImportReport, Progress, import_old_server
from hushpost.classic.server.oldserver import OldServer
from hushpost.errors import StoreUnusable
from hushpost.server.net import Acceptor, listen
from hushpost.settings import ClassicSettings
from hushpost.stores.base import Blobs, Store, StoreLimits

log = structlog.get_logger()

Announce = Callable[[str, int], None]
"""Called once, with the bound address, when connections are being accepted."""


def run_classic(settings: ClassicSettings, limits: StoreLimits, announce: Announce) -> None:
    """Serve the classic protocol until SIGTERM or Ctrl-C, or until the disk fails.

    Raises:
        AddressUnavailable, StoreUnusable: before anything was served.
        StoreFailed: the disk failed; what was answered before is safe.
    """
    make_folder(settings.data)
    with listen(settings.host, settings.port) as listener, runner() as running:
        running.run(_serve_classic(settings, limits, listener, announce))


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
    make_folder(data)
    with runner() as running:
        return running.run(_import_classic(source, data, progress))


async def _import_classic(source: Path, data: Path, progress: Progress) -> ImportReport:
    async with opened_classic(data, StoreLimits()) as (store, blobs):
        return await import_old_server(source, store, blobs, progress)


async def _serve_classic(
    settings: ClassicSettings, limits: StoreLimits, listener: socket.socket, announce: Announce
) -> None:
    limits = msgspec.structs.replace(limits, max_sequence=payloads.MAX_MESSAGE_ID)
    async with opened_classic(settings.data, limits) as (store, blobs):
        await _serve_until_stopped(settings, store, blobs, listener, announce)


async def _serve_until_stopped(
    settings: ClassicSettings,
    store: Store,
    blobs: Blobs,
    listener: socket.socket,
    announce: Announce,
) -> None:
    stopping = stop_signal()
    async with asyncio.TaskGroup() as tasks:
        gateway = Gateway(store, blobs, settings.limits, tasks, Handover(relayed=settings.relayed))
        acceptor = Acceptor(listener, gateway, settings.limits, payloads.REFUSAL)
        acceptor.start()
        host, port = listener.getsockname()[:2]
        settle()
        announce(host, port)
        log.info("serving", protocol="classic")
        await asyncio.wait({stopping, store.failed}, return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping")
        await acceptor.stop()
    log.info("stopped")
    if store.failed.done():
        store.failed.result()
