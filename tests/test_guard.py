"""The guard of conftest.py against blocking calls can itself fail a test."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from blockbuster import BlockBuster, BlockingError
from sqlcipher3 import dbapi2

import hushpost

OURS = Path(hushpost.__path__[0]) / "made_up.py"


def from_our_code(call: Callable[[], object]) -> Callable[[], object]:
    """`call`, with a frame of a made-up module of the package between it and the test."""
    namespace: dict[str, Callable[[Callable[[], object]], object]] = {}
    exec(compile("def go(call): return call()", str(OURS), "exec"), namespace)
    return lambda: namespace["go"](call)


def blocking_calls(folder: Path) -> dict[str, Callable[[], object]]:
    database = dbapi2.connect(":memory:")
    return {
        "sleep": lambda: time.sleep(0),
        "open": lambda: (folder / "new").open("w"),
        "stat": folder.stat,
        "fsync": lambda: os.fsync(0),
        "query": lambda: database.execute("SELECT 1"),
        "cursor": lambda: database.cursor().execute("SELECT 1"),
    }


@pytest.mark.parametrize("kind", ["sleep", "open", "stat", "fsync", "query", "cursor"])
async def test_a_blocking_call_in_the_loop_raises(kind: str, tmp_path: Path) -> None:
    call = from_our_code(blocking_calls(tmp_path)[kind])
    with pytest.raises(BlockingError):
        call()


async def test_a_thread_and_the_test_itself_may_block(tmp_path: Path) -> None:
    calls = blocking_calls(tmp_path)
    await asyncio.to_thread(from_our_code(calls["stat"]))
    calls["stat"]()


def test_every_call_of_the_list_is_really_wrapped(no_blocking_calls: BlockBuster) -> None:
    asleep = [name for name, call in no_blocking_calls.functions.items() if not call.activated]
    assert asleep == []
