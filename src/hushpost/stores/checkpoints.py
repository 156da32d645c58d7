"""Moving what the log holds into the database, without stopping the writer for it.

A thread of its own copies while others write (PASSIVE), and then what little they wrote meanwhile. The writer
itself does the rest (RESTART), which lets the log begin again at its start instead of growing.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from hushpost import sql

ROWS_BETWEEN = 20_000
"""Operations after which a checkpoint begins. Fewer would write the pages of busy mailboxes more often."""

COMMITS_BETWEEN = 1_000
"""Transactions after which one begins, for those that are nearly alone in theirs: 17 KB of log each. It
keeps the log short, and a log that began again is overwritten instead of extended, which halves the time
of an fsync."""

BYTES_BETWEEN = 16 * 2**20
"""Bytes after which one begins, for large bodies. `ballast` is measured by it."""

FEW_FRAMES = 50
"""Pages that are left to the writer. It waits until they are on the disk, and everybody waits for it."""

RESTART_PATIENCE = 0.05
"""Seconds that the writer waits for a slow reader (a backup, say) before it goes on without."""


class Checkpoints:
    """Counts what is written, and checkpoints in time. Called by the writer's thread only."""

    def __init__(self, path: Path, writer: sql.Connection) -> None:
        self._writer = writer
        self._db = sql.connect(path)
        sql.make_durable(self._db)
        self._rows = 0
        self._commits = 0
        self._bytes = 0
        self._orders: SimpleQueue[bool] = SimpleQueue()
        self._done: SimpleQueue[Exception | None] = SimpleQueue()
        self._running = False
        self._thread = Thread(target=self._run, name="hush-checkpoints", daemon=True)
        self._thread.start()

    def wrote(self, rows: int, size: int) -> None:
        """So much was committed.

        Raises:
            sql.Error: the disk has failed; a full one has not.
        """
        self._commits += 1
        self._rows += rows
        self._bytes += size
        if self._running:
            if not self._done.empty():
                self._running = False
                error = self._done.get()
                if error is not None:
                    raise error
                self._checkpoint(self._writer, "RESTART")
        elif self._rows >= ROWS_BETWEEN or self._commits >= COMMITS_BETWEEN or self._bytes >= BYTES_BETWEEN:
            self._rows = self._commits = self._bytes = 0
            self._running = True
            self._orders.put(True)

    @property
    def _is_quiet(self) -> bool:
        """Whether little was written since the order. Under a load, the log would grow with every copying."""
        return self._rows < ROWS_BETWEEN // 10 and self._bytes < BYTES_BETWEEN // 4

    def shrink(self) -> None:
        """Give the log's room back to the disk, if it can all be copied."""
        self._checkpoint(self._writer, "TRUNCATE")

    def close(self) -> None:
        """End the thread; blocks for the checkpoint that is running."""
        self._orders.put(False)
        self._thread.join()
        self._db.close()

    def _run(self) -> None:
        while self._orders.get():
            try:
                copied, new, more = 0, 0, True
                while more:
                    copied, before, last = self._checkpoint(self._db, "PASSIVE"), copied, new
                    new = copied - before
                    more = new > FEW_FRAMES and (not last or 2 * new < last) and self._is_quiet
            except sql.Error as error:
                self._done.put(error)
            else:
                self._done.put(None)

    def _checkpoint(self, connection: sql.Connection, mode: str) -> int:
        """Copy; how many pages of the log it has copied. A full disk or a slow reader only mean: not now."""
        patient = mode != "PASSIVE"
        if patient:
            connection.set_busy_timeout(RESTART_PATIENCE)
        try:
            _, _, copied = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
            return int(copied)
        except sql.Error as error:
            if sql.code_of(error) not in (sql.Code.FULL, sql.Code.BUSY):
                raise
            return 0
        finally:
            if patient:
                with contextlib.suppress(sql.Error):
                    connection.set_busy_timeout(sql.RUNNING_PATIENCE)
