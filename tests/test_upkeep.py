"""What a server does by the way must not end it."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from hushpost.app.upkeep import keep_up
from hushpost.errors import ProfileError, StoreFailed, StoreFull


class Chore:
    """Fails with these errors, one after the other; then it has nothing left to do."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.done = asyncio.Event()

    async def __call__(self) -> None:
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)
        self.done.set()
        await asyncio.Event().wait()


async def test_an_error_is_told_and_it_begins_again() -> None:
    chore = Chore(
        StoreFull("the disk is full"), ProfileError("certificate.pem cannot be written"), OSError(28)
    )
    with capture_logs() as logs:
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(keep_up("tidy", chore))
            await chore.done.wait()
            task.cancel()
    assert [(each["event"], each["work"], each["log_level"]) for each in logs] == [
        ("upkeep failed", "tidy", "error")
    ] * 3


async def test_a_store_that_failed_is_said_elsewhere() -> None:
    """Its own future ends the server, which tells why."""
    with capture_logs() as logs:
        async with asyncio.timeout(10):
            await keep_up("tidy", Chore(StoreFailed("the disk is bad")))
    assert logs == []


async def test_cancelling_ends_it() -> None:
    chore = Chore()
    task = asyncio.create_task(keep_up("tidy", chore))
    await chore.done.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
