"""What a server does by the way, every few minutes or hours. It fails at times, and the server goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from hushpost.errors import StoreFailed
from hushpost.server.identity import ServerIdentity
from hushpost.stores.base import PostOffice

TIDY_SECONDS = 300.0
RENEWAL_SECONDS = 3_600.0

log = structlog.get_logger()


async def keep_up(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do something endless; where an error ends it, say so and begin anew.

    A full disk, above all, is no reason to stop serving: reading and deleting still work then. A store that
    failed is one, but says so itself.

    Args:
        work: rests before it does anything, so that beginning anew is no hurry.
    """
    while True:
        try:
            await work()
        except StoreFailed:
            return
        except Exception as error:
            log.error("upkeep failed", work=name, exc_info=error)


async def renew(identity: ServerIdentity) -> None:
    """Certificates end; connections that began with the old one keep it."""
    while True:
        await asyncio.sleep(RENEWAL_SECONDS)
        if await asyncio.to_thread(identity.renew, int(time.time())):
            log.info("certificate renewed")


async def tidy(store: PostOffice) -> None:
    """Have the store take away what is over. The time before an error is counted once at most."""
    loop = asyncio.get_running_loop()
    since = loop.time()
    while True:
        await asyncio.sleep(TIDY_SECONDS)
        seconds = int(loop.time() - since)
        since += seconds
        await store.tidy(seconds)
