"""Clients in processes of their own, killed from within: at their n-th step to or from disk or network.

A line on standard input, `PROFILE STEP send ACCOUNT TEXT...` or `PROFILE STEP receive`, makes one; a line on
standard output is its exit code, negative for a signal. A step is a transaction that is about to begin or was
just committed, or a request that is about to be sent or was just answered. At step number STEP the client
kills itself: nothing is flushed, nothing is said. Step 0: it lives to its end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hushpost.client.api import Client
from hushpost.client.link import Link
from hushpost.client.store import StoreThread, Tables


class Steps:
    """Counts, and kills."""

    def __init__(self, deadly: int) -> None:
        self._deadly = deadly
        self._count = 0

    def step(self) -> None:
        self._count += 1
        if self._count == self._deadly:
            os.kill(os.getpid(), signal.SIGKILL)


def arm(steps: Steps) -> None:
    """Put a step before and behind everything that lasts."""
    transaction, ask = StoreThread.transaction, Link.ask

    async def watched_transaction(self: StoreThread, work: Callable[[Tables], Any]) -> Any:
        steps.step()
        result = await transaction(self, work)
        steps.step()
        return result

    async def watched_ask(self: Link, *args: Any) -> Any:
        steps.step()
        result = await ask(self, *args)
        steps.step()
        return result

    patches = pytest.MonkeyPatch()
    patches.setattr(StoreThread, "transaction", watched_transaction)
    patches.setattr(Link, "ask", watched_ask)


async def live(profile: Path, verb: str, *rest: str) -> None:
    """Put texts into the outbox, unless a life before did; then see everything off, and take it in."""
    async with Client.open(profile) as client:
        if verb == "send":
            account, *texts = rest
            contact = await client.contact(account)
            written = {each.text for each in await client.history(contact.account, limit=10_000)}
            for text in texts:
                if text not in written:
                    await client.send(contact.account, text)
        await client.settled()


def main() -> None:
    for line in sys.stdin:
        profile, deadly, *what = line.split()
        child = os.fork()  # imports are done, and no thread was begun
        if not child:
            arm(Steps(int(deadly)))
            asyncio.run(live(Path(profile), *what))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(1, f"{code}\n".encode())


if __name__ == "__main__":
    main()
