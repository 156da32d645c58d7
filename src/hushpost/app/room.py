"""Whether there is room for what comes: told at the start, and when somebody was refused for want of it.

Senders are answered with an error code and try again, so that without this an operator would hear of a full
server from people only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog

from hushpost.stores.base import PostOffice, StoreLimits
from hushpost.stores.room import disk_room
from hushpost.wire.limits import MAX_ENVELOPE
from hushpost.wire.messages import ErrorCode

LOOK_SECONDS = 10.0
"""Between two looks at what was refused."""

SAY_SECONDS = 600.0
"""From one line to the next, however many were refused meanwhile."""

REFUSED = f"refused-{ErrorCode.FULL}"
"""What the server counts them under."""

log = structlog.get_logger()


class Room:
    """What a store may hold, and what it and its disk hold already."""

    def __init__(
        self,
        store: PostOffice,
        folder: Path,
        limits: StoreLimits,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._folder = folder
        self._limits = limits
        self._sleep = sleep

    async def wants(self) -> list[str]:
        """Which limits are reached, in sentences; none while there is room."""
        limits, held = self._limits, await self._store.stats()
        free = await asyncio.to_thread(disk_room, self._folder)
        reached = []
        if free < limits.min_free_bytes:
            reached.append(
                f"{free:,} bytes of disk are free, and --min-free-bytes is {limits.min_free_bytes:,}"
            )
        if free < limits.blob_free_bytes:
            reached.append(
                f"{free:,} bytes of disk are free, and --file-free-bytes is {limits.blob_free_bytes:,}"
            )
        if held.size + MAX_ENVELOPE > limits.total_bytes:
            reached.append(f"{held.size:,} bytes wait, and --total-bytes is {limits.total_bytes:,}")
        if held.blob_bytes >= limits.blob_bytes > 0:
            reached.append(f"files have {held.blob_bytes:,} bytes, and --file-bytes is {limits.blob_bytes:,}")
        if limits.mailbox_bytes < MAX_ENVELOPE:
            reached.append(f"a message may have {MAX_ENVELOPE:,} bytes, and --mailbox-bytes is less")
        return reached

    async def warn(self) -> None:
        """Say at the start what will be refused."""
        for each in await self.wants():
            log.warning("no room", why=each)

    async def watch(self, counts: Mapping[str, int]) -> None:
        """Say now and then what was refused and why, until cancelled.

        Args:
            counts: how often what happened; somebody else counts on.
        """
        known = 0
        while True:
            await self._sleep(LOOK_SECONDS)
            refused = counts.get(REFUSED, 0)
            if refused == known:
                continue
            for each in await self.wants() or ["a mailbox is full, or too many files are open"]:
                log.warning("refused for want of room", times=refused - known, why=each)
            known = refused
            await self._sleep(SAY_SECONDS)
