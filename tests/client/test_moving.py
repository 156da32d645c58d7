"""A server at another address: followed if it is the same one, and proves it."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hushpost.crypto.identity import Authority, ServerFingerprint
from hushpost.errors import LinkError, Unreachable
from tests.client.people import SmallTown, in_time
from tests.client.realserver import RealTown


@asynccontextmanager
async def forwarded(host: str, port: int) -> AsyncIterator[int]:
    """Another port that leads to the same server."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(1 << 16):
            writer.write(part)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(host, port)
        async with asyncio.TaskGroup() as both:
            both.create_task(carry(reader, there[1]))
            both.create_task(carry(there[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_the_same_server_at_another_port(real_town: RealTown) -> None:
    joined = await real_town.join("alice")
    host, port = joined.link.host, joined.link.port
    async with forwarded(host, port) as new:
        async with real_town.open("alice") as (alice,):
            me = await in_time(alice.move(str(dataclasses.replace(joined.link, port=new))))
            assert me.link.port == new
        async with real_town.open("alice") as (alice,):
            assert (await alice.whoami()).link.port == new
            await in_time(alice.settled())
            await in_time(alice.move(str(joined.link)))


async def test_nobody_is_there(real_town: RealTown) -> None:
    joined = await real_town.join("alice")
    async with real_town.open("alice") as (alice,):
        with pytest.raises(Unreachable):
            await in_time(alice.move(str(dataclasses.replace(joined.link, port=1))))
        assert (await alice.whoami()).link == joined.link


async def test_another_server(town: SmallTown) -> None:
    joined = await town.join("alice")
    async with town.open("alice") as (alice,):
        for other in (ServerFingerprint(os.urandom(32)), Authority.CA):
            with pytest.raises(LinkError):
                await alice.move(str(dataclasses.replace(joined.link, server=other)))
