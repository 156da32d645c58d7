"""The receiving side of `texts`, in a process of its own: `python -m benchmarks.reader PROFILE follow|drain`.

`follow` prints a line for each text, with the clock's reading at which the application had it. `drain` takes
in what waits, and prints how many texts that were and how long it took from the profile being open. The clock
is the system's monotonic one, which all processes share.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import uvloop

from hushpost.client.api import Client
from hushpost.client.values import Received

HANDLER = "benchmark"


async def follow(profile: Path) -> None:
    async with Client.open(profile) as client:
        await client.settled()
        print("ready", flush=True)
        async for event in client.events(HANDLER, from_now=True):
            if isinstance(event, Received):
                print(time.perf_counter_ns(), flush=True)


async def drain(profile: Path) -> None:
    async with Client.open(profile) as client:
        begun = time.perf_counter()
        await client.settled()
        seconds = time.perf_counter() - begun
        count = 0
        while events := await client.pending(HANDLER):
            count += sum(isinstance(each, Received) for each in events)
            await client.handled(HANDLER, events[-1].number)
        print(f"{count} {seconds}", flush=True)


def main() -> None:
    profile, verb = sys.argv[1:]
    uvloop.run({"follow": follow, "drain": drain}[verb](Path(profile)))


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(0)
