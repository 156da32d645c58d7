"""A way to a server that lets through so many bytes, wherever they end."""

from __future__ import annotations

import asyncio
from typing import Self


class Narrows:
    """Between clients and a server.

    Attributes:
        left: bytes that may still go to the server; from then on, none.
        stuck: the last of them went.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._to = address
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self.left = 1 << 30
        self.stuck = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        self.address: tuple[str, int] = self._server.sockets[0].getsockname()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()
        closed = (writer.wait_closed() for writer in self._writers)
        await asyncio.gather(*self._tasks, *closed, return_exceptions=True)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection(*self._to)
        self._writers += writer, back
        self._tasks += map(asyncio.ensure_future, (self._there(reader, back), self._back(onward, writer)))

    async def _there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.left and (data := await reader.read(min(self.left, 65_536))):
            self.left -= len(data)
            writer.write(data)
            await writer.drain()
        self.stuck.set()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
