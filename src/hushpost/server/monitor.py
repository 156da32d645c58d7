"""Metrics and health over HTTP, for the machine itself: `/metrics`, `/healthz`, `/readyz`.

Nothing is counted by the metrics library while requests are served: it reads plain numbers when it is
asked. No name, key, id or address is among them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import closing

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hushpost import __version__
from hushpost.server.office import Office

PATIENCE = 5.0
"""Seconds for a request to arrive and its answer to be read."""

MAX_HEAD = 16 * 1024
TEXT = "text/plain; version=0.0.4; charset=utf-8"


class OfficeCollector(Collector):
    """The numbers of one server, read when they are asked for."""

    def __init__(self, office: Office, connections: Callable[[], int]) -> None:
        self._office = office
        self._connections = connections

    def collect(self) -> Iterator[Metric]:
        office = self._office
        info = GaugeMetricFamily("hushpost_info", "What runs.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        for name, text, number in (
            ("connections", "Open connections, authenticated or not.", self._connections()),
            ("peers", "Authenticated connections.", len(office.peers)),
            ("subscriptions", "Devices to which envelopes are pushed.", len(office.subscriptions)),
            ("in_hand_bytes", "Requests and answers that are being worked on.", office.in_hand),
            ("part_buffers", "Buffers that parts of files are in.", office.shared.buffers.lent),
            ("certificate_ends", "Unix time.", office.identity.shown.statement.not_after),
        ):
            yield GaugeMetricFamily(f"hushpost_{name}", text, number)
        events = CounterMetricFamily("hushpost_events", "How often what happened.", labels=["event"])
        for event, count in sorted(office.counts.items()):
            events.add_metric([event], count)
        yield events


async def watch(
    office: Office, connections: Callable[[], int], ready: Callable[[], bool], listener: socket.socket
) -> asyncio.Server:
    """Answer on this socket until the server is closed."""
    registry = CollectorRegistry()
    registry.register(OfficeCollector(office, connections))

    def answer(path: str) -> tuple[str, bytes]:
        if path == "/metrics":
            return "200 OK", generate_latest(registry)
        if path == "/healthz":
            return "200 OK", b"alive\n"
        if path == "/readyz":
            return ("200 OK", b"ready\n") if ready() else ("503 Service Unavailable", b"not ready\n")
        return "404 Not Found", b"/metrics, /healthz, /readyz\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            try:
                async with asyncio.timeout(PATIENCE):
                    head = await reader.readuntil(b"\r\n\r\n")
                    status, body = answer(_path(head))
                    writer.write(_response(status, body))
                    await writer.drain()
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                return

    return await asyncio.start_server(serve, sock=listener, limit=MAX_HEAD)


def _path(head: bytes) -> str:
    """Of a GET; anything else leads nowhere."""
    words = head.partition(b"\r\n")[0].split(b" ")
    if len(words) != 3 or words[0] != b"GET":
        return ""
    return words[1].partition(b"?")[0].decode("ascii", "replace")


def _response(status: str, body: bytes) -> bytes:
    fields = f"Content-Type: {TEXT}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    return f"HTTP/1.1 {status}\r\n{fields}\r\n".encode() + body
