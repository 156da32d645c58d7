"""What is written while the log is copied is copied as well, as long as it becomes less."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from hushpost import sql
from hushpost.stores import checkpoints
from hushpost.stores.checkpoints import FEW_FRAMES, Checkpoints

DEADLINE = 30


class Busy(Checkpoints):
    """While it copies for the k-th time, so many pages of the log are written as `meanwhile[k]` says.

    In truth, right after it; a reader keeps the log from beginning again there, as a writer would.
    """

    def __init__(self, path: Path, writer: sql.Connection, meanwhile: list[int]) -> None:
        self.copied: list[tuple[str, int]] = []
        self._meanwhile = meanwhile
        self._log = writer
        self._reader = sql.connect(path)
        super().__init__(path, writer)

    def _checkpoint(self, connection: sql.Connection, mode: str) -> int:
        more = self._meanwhile[len(self.copied) :] if mode == "PASSIVE" else []
        if more:
            self._reader.execute("BEGIN")
            self._reader.execute("SELECT count(*) FROM x").fetchall()
        copied = super()._checkpoint(connection, mode)
        if more:
            write(self._log, more[0])
            self._reader.execute("ROLLBACK")
        self.copied.append((mode, copied))
        return copied

    def close(self) -> None:
        super().close()
        self._reader.close()


def write(log: sql.Connection, pages: int) -> None:
    """One transaction of at least so many pages."""
    log.execute("BEGIN")
    for _ in range(pages):
        log.execute("INSERT INTO x VALUES (zeroblob(4000))")
    log.execute("COMMIT")


@contextmanager
def busy(path: Path, meanwhile: list[int], kind: type[Busy] = Busy) -> Iterator[Busy]:
    path.touch()
    with closing(sql.connect(path)) as log:
        sql.make_durable(log)
        log.execute("CREATE TABLE x (x)")
        write(log, 1_000)
        yield (watched := kind(path, log, meanwhile))
        watched.close()


def test_under_a_load_nothing_is_copied_while_the_log_grows(tmp_path: Path) -> None:
    """The room that is put aside for a full disk is measured by what it may hold."""

    class Loaded(Busy):
        def _checkpoint(self, connection: sql.Connection, mode: str) -> int:
            self._bytes += checkpoints.BYTES_BETWEEN // 4
            return super()._checkpoint(connection, mode)

    with busy(tmp_path / "db", [400, 100], Loaded) as watched:
        assert restart(watched) == ["PASSIVE", "RESTART"]


def restart(watched: Busy) -> list[str]:
    """Checkpoint, and tell how."""
    watched.wrote(checkpoints.ROWS_BETWEEN, 0)
    deadline = time.monotonic() + DEADLINE
    while not watched.copied or watched.copied[-1][0] != "RESTART":
        assert time.monotonic() < deadline
        os.sched_yield()
        watched.wrote(0, 0)
    return [mode for mode, _ in watched.copied]


@pytest.mark.parametrize(
    ("meanwhile", "times"),
    [
        ([], 2),
        ([FEW_FRAMES // 2], 2),
        ([400], 3),
        ([400, 100], 4),
        ([400, 300, 300, 300], 3),
        ([400] * 9, 3),
    ],
)
def test_little_is_left_to_the_writer(tmp_path: Path, meanwhile: list[int], times: int) -> None:
    with busy(tmp_path / "db", meanwhile) as watched:
        assert restart(watched) == ["PASSIVE"] * times + ["RESTART"]
