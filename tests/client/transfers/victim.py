"""Clients in processes of their own that carry one file, and are killed from within at their n-th step.

A line on standard input, `PROFILE STEP send ACCOUNT PATH` or `PROFILE STEP get ID FOLDER`, makes one; a line
on standard output is its exit code, negative for a signal. Whoever finds the file begun goes on with it. A
step stands before and behind each transaction, each request on a connection for files, each part that leaves,
each that is written or noted, each call for the disk to be done, and each change of a name.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hushpost.client.api import Client
from hushpost.client.store import StoreThread
from hushpost.client.transfers import finishing
from hushpost.client.transfers.carrier import Carrier
from hushpost.client.transfers.partial import PartialFile
from hushpost.client.values import TransferState
from hushpost.ids import MessageId


class Steps:
    """Counts, in any thread, and kills."""

    def __init__(self, deadly: int) -> None:
        self._deadly = deadly
        self._count = 0
        self._lock = threading.Lock()

    def step(self) -> None:
        with self._lock:
            self._count += 1
            if self._count == self._deadly:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            self.step()
            result = work(*args, **kwargs)
            self.step()
            return result

        return watched


def arm(steps: Steps) -> None:
    """Put a step before and behind everything that lasts."""
    patches = pytest.MonkeyPatch()
    transaction = StoreThread.transaction

    async def watched(self: StoreThread, work: Callable[..., Any]) -> Any:
        steps.step()
        result = await transaction(self, work)
        steps.step()
        return result

    patches.setattr(StoreThread, "transaction", watched)
    for name in ("change_soon", "note_soon"):
        patches.setattr(StoreThread, name, steps.around(getattr(StoreThread, name)))
    for name in ("ask", "put"):
        patches.setattr(Carrier, name, steps.around(getattr(Carrier, name)))
    for name in ("write", "sync", "create", "close"):
        patches.setattr(PartialFile, name, steps.around(getattr(PartialFile, name)))
    for name in ("link_under", "sync_folder"):
        patches.setattr(finishing, name, steps.around(getattr(finishing, name)))


async def live(profile: Path, verb: str, what: str, path: Path) -> None:
    """Begin, or go on; and see off what is to be said about it."""
    async with Client.open(profile) as client:
        if verb == "send":
            contact = await client.contact(what)
            begun = any(each.path == str(path) for each in await client.transfers())
            if begun:
                await client.resume()
            else:
                await client.send_file(contact.account, path)
        else:
            await client.settled()
            found = await client.transfer(MessageId.parse(what))
            if found.state is TransferState.OFFERED:
                await client.receive_file(found.id, path)
            else:
                await client.resume()
        await client.settled()


def main() -> None:
    for line in sys.stdin:
        profile, deadly, verb, what, path = line.split()
        child = os.fork()  # imports are done, and no thread was begun
        if not child:
            arm(Steps(int(deadly)))
            asyncio.run(live(Path(profile), verb, what, Path(path)))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(1, f"{code}\n".encode())


if __name__ == "__main__":
    main()
