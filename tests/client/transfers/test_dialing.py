"""Connections for files that are given up while they are made."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from hushpost.client.link import Address
from hushpost.client.transfers.carrier import CONNECT_SECONDS, Attempt, Carrier
from hushpost.client.transfers.dialing import _connected
from hushpost.crypto.identity import ServerSecret
from hushpost.errors import Unreachable
from tests.client.people import in_time


def address_of(listener: socket.socket) -> Address:
    host, port = listener.getsockname()
    return Address(host, port, ServerSecret.random().public.fingerprint)


async def test_who_gives_up_does_not_wait_for_a_server_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        pool = ThreadPoolExecutor(1)
        connecting = asyncio.ensure_future(_connected(pool, address_of(listener)))
        accepted, _ = await in_time(asyncio.get_running_loop().sock_accept(listener))
        with accepted:
            connecting.cancel()
            await asyncio.wait([connecting])
            assert connecting.cancelled()
            async with asyncio.timeout(CONNECT_SECONDS / 3):
                await asyncio.to_thread(pool.shutdown)  # its thread has ended


async def test_who_gave_up_before_there_was_anybody_gets_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        attempt = Attempt()
        attempt.give_up()
        with pytest.raises(Unreachable):
            await in_time(asyncio.to_thread(Carrier.connect, address_of(listener), attempt))
