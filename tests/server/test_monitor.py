"""Metrics and health, as a program on the machine reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

from hushpost.server.monitor import watch
from hushpost.server.net import listen
from tests.crypto.people import ALICE, BOB
from tests.server.serving import alice_and_bob, deliver, settings

Get = Callable[[bytes], Coroutine[None, None, str]]


@asynccontextmanager
async def watched(folder: Path, *, ready: bool = True) -> AsyncIterator[Get]:
    async with alice_and_bob(settings(folder)) as (served, (_, one), (bob, _)):
        await deliver(one, bob)
        listener = await asyncio.to_thread(listen, "127.0.0.1", 0)
        address = listener.getsockname()
        server = await watch(served.office, lambda: served.acceptor.open_connections, lambda: ready, listener)

        async def get(raw: bytes) -> str:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(raw)
            answer = await reader.read()
            writer.close()
            return answer.decode()

        try:
            yield get
        finally:
            server.close()


async def test_metrics_tell_numbers_and_nobody(tmp_path: Path) -> None:
    async with watched(tmp_path) as get:
        answer = await get(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith("HTTP/1.1 200 OK\r\n")
        assert "hushpost_peers 2.0" in answer
        assert "hushpost_connections 2.0" in answer
        assert 'hushpost_events_total{event="SendEnvelope"} 1.0' in answer
        for secret in ("alice", BOB.name, "127.0.0.1", ALICE.account.id.hex(), ALICE.account.hex()):
            assert secret not in answer


async def test_health(tmp_path: Path) -> None:
    async with watched(tmp_path) as get:
        assert (await get(b"GET /healthz HTTP/1.1\r\n\r\n")).endswith("alive\n")
        assert (await get(b"GET /readyz?x HTTP/1.0\r\n\r\n")).startswith("HTTP/1.1 200")
        assert (await get(b"GET /other HTTP/1.1\r\n\r\n")).startswith("HTTP/1.1 404")
        assert (await get(b"POST /metrics HTTP/1.1\r\n\r\n")).startswith("HTTP/1.1 404")


async def test_what_is_stopping_is_not_ready(tmp_path: Path) -> None:
    async with watched(tmp_path, ready=False) as get:
        assert (await get(b"GET /readyz HTTP/1.1\r\n\r\n")).startswith("HTTP/1.1 503")
        assert (await get(b"GET /healthz HTTP/1.1\r\n\r\n")).startswith("HTTP/1.1 200")


async def test_what_is_no_request_is_closed(tmp_path: Path) -> None:
    async with watched(tmp_path) as get:
        assert await get(b"x" * (1 << 16)) == ""
        assert (await get(b"\r\n\r\n")).startswith("HTTP/1.1 404")
