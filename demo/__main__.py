"""`python -m demo`: tell the stories in a temporary folder; exit code 0 only if all of it was true."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from demo import classic, files, secure
from demo.story import NotTrue, console
from harness.process import obey_interrupts


def main() -> int:
    begun = time.perf_counter()
    obey_interrupts()
    try:
        with tempfile.TemporaryDirectory(prefix="hushpost-demo-") as folder:
            for story in (secure, files, classic):
                room = Path(folder, story.__name__.rpartition(".")[2])
                room.mkdir()
                story.tell(room)
    except NotTrue as claim:
        console.print(f"\n[red]The demo failed:[/] {claim}", markup=True)
        return 1
    console.print(f"\nAll of it was true. {time.perf_counter() - begun:.1f} s; everything is cleaned up.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
