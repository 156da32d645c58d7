"""The one thread that writes: natural group commit.

Operations gather during one turn of the event loop and go to the thread together; whatever arrived
while it was busy becomes its next transaction. Nobody waits for a timer: alone, an operation is
committed at once; in a crowd, an fsync is shared by hundreds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, Protocol, TypeVar

from hushpost import sql
from hushpost.errors import StoreError, StoreFailed, StoreFull
from hushpost.stores.ballast import Ballast
from hushpost.stores.base import Answer
from hushpost.stores.checkpoints import Checkpoints

T = TypeVar("T")


class Transactional(Protocol):
    """The tables that operations work on. Called by the writer's thread only."""

    def begin(self) -> None:
        """Open a transaction."""

    def commit(self) -> None:
        """Make durable what the operations did."""

    def roll_back(self) -> None:
        """Be as before `begin`."""


TablesT = TypeVar("TablesT", bound=Transactional)

BATCH_OPERATIONS = 256
"""Operations in one transaction: a second one's worth of fsyncs is saved well before that."""

BATCH_BYTES = 2**20
"""Bytes of bodies in one transaction: bounds how long the first of them waits for the last."""


@dataclass(slots=True)
class Operation(Generic[TablesT, T]):
    """Something to do in a transaction, and who waits for it.

    Attributes:
        size: bytes that it adds.
        grows: it is what a full disk refuses; the others make room.
    """

    answer: Answer[T]
    action: Callable[[TablesT], T]
    size: int = 0
    grows: bool = False


Outcome = tuple[Operation[Any, Any], Any]
"""An operation, and its result or the exception it ended with."""


class Writer(Generic[TablesT]):
    """Runs operations in the order of `submit`, many to a transaction, and answers when they are durable."""

    def __init__(self, tables: TablesT, ballast: Ballast, checkpoints: Checkpoints) -> None:
        self._tables = tables
        self._ballast = ballast
        self._checkpoints = checkpoints
        self._loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[None] = self._loop.create_future()
        self._closing = False
        self._gathered: list[Operation[TablesT, Any]] = []
        self._inbox: SimpleQueue[list[Operation[TablesT, Any]] | None] = SimpleQueue()
        self._failure: StoreFailed | None = None
        self._thread = Thread(target=self._run, name="hush-writer", daemon=True)
        self._thread.start()

    # In the event loop

    def submit(self, action: Callable[[TablesT], T], size: int = 0, *, grows: bool = False) -> Answer[T]:
        """Queue an operation; its answer is there when it is durable, or refused."""
        answer: Answer[T] = Answer(loop=self._loop)
        if self._closing:
            answer.set_exception(StoreFailed("the store is closed"))
            return answer
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(Operation(answer, action, size, grows))
        return answer

    def _hand_over(self) -> None:
        if self._gathered:
            self._inbox.put(self._gathered)
            self._gathered = []

    def stop(self) -> Thread | None:
        """Take nothing more, and finish what is queued.

        Returns:
            The thread to be joined, outside the loop; None if it was stopped before.
        """
        if self._closing:
            return None
        self._closing = True
        self._hand_over()
        self._inbox.put(None)
        return self._thread

    def _answer(self, outcomes: list[Outcome]) -> None:
        for operation, result in outcomes:
            if operation.answer.done():  # cancelled: its caller does not want to know
                continue
            if isinstance(result, BaseException):
                operation.answer.set_exception(result)
            else:
                operation.answer.set_result(result)

    def fail(self, failure: StoreFailed) -> None:
        """Take nothing more; everything that is not answered yet gets this."""
        self._failure = failure
        if not self.failed.done():
            self.failed.set_exception(failure)
            self.failed.exception()  # whoever looks will see it; if nobody does, that is no second error

    # In the thread

    def _run(self) -> None:
        waiting: deque[Operation[TablesT, Any]] = deque()
        open_ = True
        while open_ or waiting:
            if not waiting or not self._inbox.empty():
                arrived = self._inbox.get()
                if arrived is None:
                    open_ = False
                else:
                    waiting.extend(arrived)
                continue
            outcomes = self._write(self._next_batch(waiting))
            self._loop.call_soon_threadsafe(self._answer, outcomes)

    def _next_batch(self, waiting: deque[Operation[TablesT, Any]]) -> list[Operation[TablesT, Any]]:
        batch = [waiting.popleft()]
        size = batch[0].size
        while waiting and len(batch) < BATCH_OPERATIONS and size + waiting[0].size <= BATCH_BYTES:
            size += waiting[0].size
            batch.append(waiting.popleft())
        return batch

    def _write(self, batch: list[Operation[TablesT, Any]]) -> list[Outcome]:
        """Run a batch; every operation of it gets an outcome, whatever happens."""
        if self._failure is not None:
            return [(operation, self._failure) for operation in batch]
        try:
            outcomes = self._write_carefully(batch)
            self._checkpoints.wrote(len(batch), sum(operation.size for operation in batch))
            self._ballast.refill()
        except Exception as error:
            # After a failed write or fsync nobody knows what is on the disk: promise nothing more. The
            # same for any surprise outside of an operation: those who wait must not wait for ever.
            self._failure = StoreFailed("the database's disk has failed", hint="look at the system's log")
            self._failure.__cause__ = error
            self._loop.call_soon_threadsafe(self.fail, self._failure)
            with contextlib.suppress(Exception):
                self._tables.roll_back()
            return [(operation, self._failure) for operation in batch]
        return outcomes

    def _write_carefully(self, batch: list[Operation[TablesT, Any]]) -> list[Outcome]:
        """Together if it can be; if not, alone, so that the one that is to blame harms no other."""
        try:
            return self._transact(batch)
        except Exception as error:
            trouble = self._undo(error)
        outcomes: list[Outcome] = []
        for operation in batch:
            if operation.grows and isinstance(trouble, StoreFull):
                outcomes.append((operation, trouble))
            else:
                outcomes.append((operation, self._write_alone(operation)))
        return outcomes

    def _write_alone(self, operation: Operation[TablesT, Any]) -> Any:
        """The result or the trouble. On a full disk, what makes room may use what was put aside for it."""
        while True:
            try:
                [(_, result)] = self._transact([operation])
                return result
            except Exception as error:
                trouble = self._undo(error)
            if operation.grows or not isinstance(trouble, StoreFull) or not self._ballast.release():
                return trouble
            self._checkpoints.shrink()

    def _transact(self, batch: list[Operation[TablesT, Any]]) -> list[Outcome]:
        self._tables.begin()
        outcomes: list[Outcome] = []
        for operation in batch:
            try:
                outcomes.append((operation, operation.action(self._tables)))
            except StoreError as refused:
                outcomes.append((operation, refused))
        self._tables.commit()
        return outcomes

    def _undo(self, error: Exception) -> Exception:
        """Be as before the transaction; the answer for whoever is to blame. Raises a failure of the disk."""
        if isinstance(error, OSError):
            raise error
        self._tables.roll_back()
        if not isinstance(error, sql.Error):
            return error
        code = sql.code_of(error)
        if code is sql.Code.FULL:
            return StoreFull("the server's disk is full", hint="make room on the server's disk")
        if code not in sql.OF_THE_STATEMENT:
            raise error
        return error
