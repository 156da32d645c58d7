"""`python -m tests.fuzz`: see the package's docstring."""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

from tests.fuzz.harness import attack
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Returns:
    0 where every promise held, 1 otherwise.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Attack the decoders.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all if none")
    parser.add_argument("--count", type=int, default=200_000, help="mutations for each target")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run this one input")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"unknown target: {', '.join(sorted(unknown))}")
    names = options.targets or list(TARGETS)
    if options.replay is not None:
        for name in names:
            TARGETS[name](options.replay.read_bytes())
        return 0
    status = 0
    for name in names:
        started = time.monotonic()
        crash = attack(name, TARGETS[name], seed=options.seed, count=options.count)
        seconds = time.monotonic() - started
        if crash is None:
            report = f"held   {name}: {options.count:,} inputs, seed {options.seed}, {seconds:.0f} s"
        else:
            report = f"BROKEN {crash.save()}"
            status = 1
        sys.stdout.write(f"{report}\n")
    return status


sys.exit(main())
