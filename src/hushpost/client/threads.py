"""Work in threads that ends in order: when the caller goes on, nothing of it is at work any more."""

from __future__ import annotations

import asyncio
import select
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

Check = Callable[[], None]
"""Called by a thread now and then; raises when it is to end."""

LOOK_SECONDS = 0.2
"""Between two looks whether anybody still wants what a thread waits for."""


class Stopped(Exception):
    """Whoever waited for this thread was cancelled."""


async def stoppable(work: Callable[[Check], T]) -> T:
    """Its result. Cancelled, the thread is told to stop, and this comes back when it has."""
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Stopped

    running = asyncio.get_running_loop().run_in_executor(None, work, check)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        await uninterrupted(asyncio.wait([running]))
        running.exception()  # looked at: it is nobody's any more
        raise


def wait_until_ready(handle: int, event: int, check: Check) -> None:
    """Wait until a descriptor can be read (`select.POLLIN`), can be written (`POLLOUT`), or has ended."""
    ready = select.poll()  # `select` itself takes no descriptor above 1,023
    ready.register(handle, event)
    while not ready.poll(LOOK_SECONDS * 1_000):
        check()


async def uninterrupted(work: Awaitable[object]) -> None:
    """Wait for what is about to end, even while we are cancelled; then let the cancellation go on."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
