"""Accepting: addresses that cannot be had, and a process out of file descriptors."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Callable, Iterator

import pytest

from hushpost.errors import AddressUnavailable, ExitCode
from hushpost.server.net import RESERVED_DESCRIPTORS, Acceptor, Connection, descriptor_budget, listen, origin
from hushpost.settings import ListenLimits


class Greeter:
    """Says hello and closes."""

    deadline = float("inf")

    def __init__(self, accepted: socket.socket, release: Callable[[Connection], None]) -> None:
        self._accepted = accepted
        self._release = release

    def start(self) -> None:
        self._accepted.send(b"hello")
        self.expire()

    def expire(self) -> None:
        self._accepted.close()
        self._release(self)

    def stop(self) -> None:
        self.expire()


@pytest.fixture
def small_descriptor_limit() -> Iterator[int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = 300
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    yield limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_out_of_descriptors_means_waiting(small_descriptor_limit: int) -> None:
    listener = await asyncio.to_thread(listen, "127.0.0.1", 0)
    address = listener.getsockname()
    acceptor = Acceptor(listener, Greeter, ListenLimits(max_connections=100), b"")
    loop = asyncio.get_running_loop()
    newcomer = socket.socket()
    newcomer.setblocking(False)
    hoard = []
    try:
        while True:
            hoard.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    acceptor.start()
    await loop.sock_connect(newcomer, address)  # the kernel accepts; the process cannot
    waiting = asyncio.create_task(loop.sock_recv(newcomer, 5))
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert not done
    for descriptor in hoard:
        os.close(descriptor)
    assert await waiting == b"hello"
    newcomer.close()
    await acceptor.stop()


def test_budget_keeps_descriptors_for_everything_else(small_descriptor_limit: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert descriptor_budget(50) == 50
    assert descriptor_budget(500) == 500
    assert descriptor_budget(hard) == hard - RESERVED_DESCRIPTORS


def test_address_in_use_is_one_clear_error() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(AddressUnavailable, match=f"127.0.0.1:{port}") as caught:
            listen("127.0.0.1", port)
    assert caught.value.exit_code is ExitCode.ADDRESS_UNAVAILABLE
    assert "--listen" in caught.value.hint


@pytest.mark.parametrize("host", ["203.0.113.1", "no such host"])
def test_an_address_that_is_not_ours(host: str) -> None:
    with pytest.raises(AddressUnavailable):
        listen(host, 0)


def test_a_restarted_server_listens_at_once() -> None:
    with listen("127.0.0.1", 0) as first:
        address = first.getsockname()
        first.setblocking(True)
        client = socket.create_connection(address)
        accepted, _ = first.accept()
        accepted.close()  # the server closes first: TIME_WAIT is on its side
        client.recv(1)
        client.close()
    listen(*address[:2]).close()


def test_an_ipv6_network_is_one_origin() -> None:
    assert origin("2001:db8::1") == origin("2001:db8::ffff:1") == origin("2001:db8::1%eth0")
    assert origin("2001:db8::1") != origin("2001:db8:0:1::1")
    assert origin("192.0.2.1") != origin("192.0.2.2")
    assert origin("::ffff:192.0.2.1") == origin("192.0.2.1"), "as a socket for both shows it"
    assert origin("what") == b"what"
