"""Accepting connections so that no number of them can end the server.

uvloop's own listener closes connections when file descriptors run out and cannot pause; this one leaves
them in the kernel's queue until there is room. One sweep a second watches every deadline, since a timer
per connection costs more than a small request.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import resource
import socket
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import structlog

from hushpost.errors import AddressUnavailable
from hushpost.settings import ListenLimits

BACKLOG = 4096
"""Connections that the kernel keeps for us while accepting pauses; it lowers this to somaxconn."""

ACCEPTS_PER_TURN = 64
"""New connections taken before the open ones get their turn."""

REFUSED_READ = 64 * 1024
"""What a refused peer has sent already is read away, as far as a small request goes."""

RESERVED_DESCRIPTORS = 128
"""For the database, blob files (open only during one read or write), logs and the loop itself."""

SWEEP_SECONDS = 1.0

OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

log = structlog.get_logger()


class Connection(Protocol):
    """What the acceptor asks of an open connection. It calls `release` once, when it is closed."""

    deadline: float

    def start(self) -> None:
        """Begin to serve. Called once, in the loop."""

    def expire(self) -> None:
        """The deadline has passed: answer if possible, then close."""

    def stop(self) -> None:
        """The server is stopping: close if nothing was begun."""


Factory = Callable[[socket.socket, Callable[[Connection], None]], Connection]
"""Makes a connection of an accepted, non-blocking socket and its `release`."""


class Listener(socket.socket):
    """A listening TCP socket. Its `accept` leaves out what the standard one does for every family."""

    _accept: Callable[[], tuple[int, Any]]
    """What `socket.accept` itself is built on; the type stubs leave it out."""

    def __init__(self, family: int, kind: int, proto: int) -> None:
        super().__init__(family, kind, proto)
        self._kind = (int(family), int(kind), int(proto))

    def accept(self) -> tuple[socket.socket, Any]:
        """A connection, non-blocking, and its peer's address."""
        descriptor, address = self._accept()
        accepted = socket.socket(*self._kind, fileno=descriptor)
        accepted.setblocking(False)
        return accepted, address


def listen(host: str, port: int) -> Listener:
    """A listening, non-blocking socket; address reuse lets a restarted server begin at once.

    Raises:
        AddressUnavailable: in use, not ours, not permitted, or an unknown host.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = Listener(family, kind, proto)
    except OSError as error:
        raise _unavailable(host, port, error) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _unavailable(host, port, error) from None
    listener.setblocking(False)
    return listener


def keep_alive(listener: Listener) -> Listener:
    """Have the kernel notice when a silent connection has nobody at its other end any more.

    Accepted sockets inherit it. A phone that is asleep is asked every five minutes and may miss three.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 300)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 300)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    return listener


@lru_cache(maxsize=10_000)
def origin(host: str) -> bytes:
    """What an address is counted as. Whoever has an IPv6 address has a /64 of them."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.encode()
    if isinstance(address, ipaddress.IPv4Address):
        return address.packed
    mapped = address.ipv4_mapped  # how a socket for both shows an IPv4 address
    return mapped.packed if mapped else address.packed[:8]


def peer_host(accepted: socket.socket) -> str:
    """The address at the other end, without the port; empty where it is gone already."""
    try:
        return str(accepted.getpeername()[0])
    except OSError:
        return ""


def _unavailable(host: str, port: int, error: OSError) -> AddressUnavailable:
    return AddressUnavailable(
        f"cannot listen on {host}:{port}: {error.strerror or error}",
        hint="choose another address with --listen, or stop whoever uses this one",
    )


def descriptor_budget(wanted: int) -> int:
    """Raise the soft limit of open files as far as needed; how many connections then fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = wanted + RESERVED_DESCRIPTORS
    if soft < target:
        soft = target if hard == resource.RLIM_INFINITY else min(target, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(wanted, soft - RESERVED_DESCRIPTORS))


class Acceptor:
    """Takes connections from a listening socket, within limits, and watches their deadlines."""

    def __init__(
        self,
        listener: socket.socket,
        factory: Factory,
        limits: ListenLimits,
        refusal: bytes,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._factory = factory
        self._limits = limits
        self._refusal = refusal
        self._capacity = descriptor_budget(limits.max_connections)
        self._open: dict[Connection, bytes] = {}
        self._per_address: dict[bytes, int] = {}
        self._accepting = False
        self._stopping = False
        self._drained = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return len(self._open)

    def start(self) -> None:
        """Begin to accept."""
        self._resume()
        self._sweep()

    async def stop(self) -> None:
        """Accept no more; give what was begun the stop deadline; then end the rest."""
        self._stopping = True
        self._pause()
        self._listener.close()
        for connection in list(self._open):
            connection.stop()
        if self._open:
            try:
                await asyncio.wait_for(self._drained.wait(), self._limits.stop_deadline)
            except TimeoutError:
                log.warning("stop deadline passed", unfinished=len(self._open))
                for connection in list(self._open):
                    connection.expire()
        if self._sweeper:
            self._sweeper.cancel()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if len(self._open) >= self._capacity:
                self._pause()
                log.warning("accepting pauses: connection limit", connections=len(self._open))
                return
            try:
                accepted, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in OUT_OF_RESOURCES:
                    continue  # the peer was gone before we came: ECONNABORTED and its kin
                self._pause()
                self._loop.call_later(SWEEP_SECONDS, self._resume)
                log.warning("accepting pauses: out of resources", reason=error.strerror)
                return
            self._admit(accepted, origin(address[0]))

    def _admit(self, accepted: socket.socket, source: bytes) -> None:
        already = self._per_address.get(source, 0)
        if already >= self._limits.per_address:
            with accepted:
                try:
                    accepted.send(self._refusal)
                    accepted.shutdown(socket.SHUT_WR)
                    accepted.recv(REFUSED_READ)  # unread, it would reset the refusal away
                except OSError:
                    return  # gone already, or has not said anything yet
            return
        connection = self._factory(accepted, self._release)
        self._open[connection] = source
        self._per_address[source] = already + 1
        connection.start()

    def _release(self, connection: Connection) -> None:
        source = self._open.pop(connection)
        left = self._per_address[source] - 1
        if left:
            self._per_address[source] = left
        else:
            del self._per_address[source]
        if not self._accepting:
            self._resume()
        if not self._open:
            self._drained.set()

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._listener.fileno())

    def _resume(self) -> None:
        if not self._accepting and not self._stopping:
            self._accepting = True
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in [each for each in self._open if each.deadline < now]:
            connection.expire()
        self._sweeper = self._loop.call_later(SWEEP_SECONDS, self._sweep)
