"""`python -m benchmarks.uploader HOST PORT FILES PARTS`: so many uploads at once.

It says when it begins, and then how many MB/s they were together.
"""

from __future__ import annotations

import sys
from functools import partial

from benchmarks.parts import at_once
from harness.device import LoadDevice
from harness.mover import LoadBlob, Mover
from hushpost.wire.limits import PART_SIZE


def main(host: str, port: int, files: int, parts: int) -> None:
    device = LoadDevice("uploader")
    movers = [Mover((host, port)) for _ in range(files)]
    for number, mover in enumerate(movers):
        mover.enter(device, register=number == 0)
    blobs = [LoadBlob(parts) for _ in movers]
    print("begun", flush=True)

    def upload(mover: Mover, blob: LoadBlob) -> None:
        mover.create(blob)
        mover.upload(blob, range(parts))
        mover.commit(blob)

    seconds = at_once([partial(upload, m, b) for m, b in zip(movers, blobs, strict=True)])
    print(files * parts * PART_SIZE / seconds / 1e6, flush=True)
    for mover, blob in zip(movers, blobs, strict=True):
        mover.release(blob)
        mover.close()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
