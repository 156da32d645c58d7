"""How much is measured: all of it, or in a smoke run just enough to see that everything still works.

An environment variable says which, since a benchmark's other processes must know it, too.
"""

from __future__ import annotations

import os

VARIABLE = "HUSHPOST_SMOKE"


def begin_smoke() -> None:
    """From here on; what was imported before keeps its size."""
    os.environ[VARIABLE] = "1"


def is_smoke() -> bool:
    return VARIABLE in os.environ


def scale(full: int, smoke: int) -> int:
    """The constant of a benchmark: what is measured with, and what will do for a smoke run."""
    return smoke if is_smoke() else full
