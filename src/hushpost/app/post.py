"""The server of version 3: `hush serve`."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import structlog

from hushpost.app.address import remember_address
from hushpost.app.room import Room
from hushpost.app.running import (
    make_folder,
    only_server,
    opened_classic,
    runner,
    settle,
    stop_signal,
)
from hushpost.app.upkeep import keep_up, renew, tidy
from hushpost.classic import payloads
from hushpost.classic.server.gateway import Gateway
from hushpost.server import monitor, operator
from hushpost.server.connection import Connection
from hushpost.server.identity import ServerIdentity
from hushpost.server.net import Acceptor, keep_alive, listen
from hushpost.server.office import Office, Setup
from hushpost.settings import ServeSettings
from hushpost.stores.base import StoreLimits
from hushpost.stores.post.sqlite import SqlitePost

POST_DATABASE = "post.db"
CLASSIC_FOLDER = "classic"

FIRST_USES, FIRST_LIFETIME = 10, 7 * 86_400
"""The invitation of the first run: for its operator, and the first who are invited along."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is printed when connections are being accepted.

    Attributes:
        address: the bound one.
        classic: that of the classic listener, if there is one.
        first: an invitation, if the server has neither accounts nor invitations yet; or the link for
            everybody, if it is open.
    """

    address: tuple[str, int]
    classic: tuple[str, int] | None
    first: operator.Invited | str | None


Announce = Callable[[Announcement], None]


@dataclass(frozen=True, slots=True)
class _Listeners:
    """Sockets, bound before anything else is begun."""

    post: socket.socket
    classic: socket.socket | None
    metrics: socket.socket | None


def run_post(settings: ServeSettings, limits: StoreLimits, announce: Announce) -> None:
    """Serve version 3 until SIGTERM or Ctrl-C, or until the disk fails.

    Raises:
        AddressUnavailable, StoreUnusable, ProfileError: before anything was served.
        StoreFailed: the disk failed; what was answered before is safe.
    """
    make_folder(settings.data)
    with ExitStack() as stack:
        stack.enter_context(only_server(settings.data))
        post = keep_alive(stack.enter_context(listen(settings.host, settings.port)))
        classic = stack.enter_context(listen(*settings.classic)) if settings.classic else None
        metrics = stack.enter_context(listen(*settings.metrics)) if settings.metrics else None
        identity = ServerIdentity.open(settings.data, int(time.time()))
        running = stack.enter_context(runner())
        running.run(_serve(settings, limits, identity, _Listeners(post, classic, metrics), announce))


@asynccontextmanager
async def opened_post(data: Path, limits: StoreLimits) -> AsyncIterator[SqlitePost]:
    """The store in a data folder, for as long as the block lasts."""
    store = await SqlitePost.open(data / POST_DATABASE, limits)
    try:
        yield store
    finally:
        await store.close()


async def _serve(
    settings: ServeSettings,
    limits: StoreLimits,
    identity: ServerIdentity,
    listeners: _Listeners,
    announce: Announce,
) -> None:
    stopping = stop_signal()
    bound = listeners.post.getsockname()[:2]
    advertised = settings.advertise or (settings.host, bound[1])
    await asyncio.to_thread(remember_address, settings.data, advertised)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened_post(settings.data, limits))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        office = Office(Setup(store, limits, identity, settings), tasks)
        acceptor = Acceptor(listeners.post, partial(Connection, office), settings.listen_limits, b"")
        acceptors = [acceptor]
        failures = {store.failed}
        if listeners.classic is not None:
            gateway, failed = await _classic(stack, settings, limits, tasks)
            acceptors.append(Acceptor(listeners.classic, gateway, settings.listen_limits, payloads.REFUSAL))
            failures.add(failed)
        desk = operator.Desk(store, store, identity.shown.server, advertised, time.time)
        socket_of_operator = await asyncio.to_thread(operator.bind_socket, settings.data)
        servers = [await operator.attend(desk, socket_of_operator)]
        if listeners.metrics is not None:
            servers.append(
                await monitor.watch(
                    office, lambda: acceptor.open_connections, lambda: not stopping.done(), listeners.metrics
                )
            )
        room = Room(store, settings.data, limits)
        upkeep = [
            tasks.create_task(keep_up("renew", partial(renew, identity))),
            tasks.create_task(keep_up("tidy", partial(tidy, store))),
            tasks.create_task(keep_up("room", partial(room.watch, office.counts))),
        ]
        first = desk.open_link() if settings.open else await _first_invitation(desk, store)
        for each in acceptors:
            each.start()
        settle()
        classic = listeners.classic.getsockname()[:2] if listeners.classic is not None else None
        await room.warn()
        announce(Announcement(bound, classic, first))
        log.info("serving", protocol="hushpost/3", classic=classic is not None)
        await asyncio.wait({stopping, *failures}, return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping")
        for server in servers:
            server.close()
        for task in upkeep:
            task.cancel()
        await asyncio.gather(*(each.stop() for each in acceptors))
    await asyncio.to_thread((settings.data / operator.SOCKET_FILE).unlink, missing_ok=True)
    log.info("stopped")
    for failure in failures:
        if failure.done():
            failure.result()


async def _classic(
    stack: AsyncExitStack, settings: ServeSettings, limits: StoreLimits, tasks: asyncio.TaskGroup
) -> tuple[Gateway, asyncio.Future[None]]:
    """The classic protocol, on a store of its own."""
    folder = settings.data / CLASSIC_FOLDER
    await asyncio.to_thread(make_folder, folder)
    limits = msgspec.structs.replace(limits, max_sequence=payloads.MAX_MESSAGE_ID)
    store, blobs = await stack.enter_async_context(opened_classic(folder, limits))
    return Gateway(store, blobs, settings.listen_limits, tasks), store.failed


async def _first_invitation(desk: operator.Desk, store: SqlitePost) -> operator.Invited | None:
    """For a server that nobody could get into otherwise."""
    stats = await store.stats()
    if stats.accounts or stats.left or stats.invitations:
        return None
    return await desk.invite(FIRST_USES, FIRST_LIFETIME)
