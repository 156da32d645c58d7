"""The store for asyncio: one thread that does everything, in the order in which it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

from hushpost.client.store.opening import StoreKey
from hushpost.client.store.store import Store, Tables

T = TypeVar("T")


class StoreThread:
    """Runs whole transactions away from the event loop.

    Where whoever waits is cancelled, a transaction that has not begun never does, and any other is done, or
    fails unheard. So it must leave a state that is good without whoever asked for it, and what it
    uses up must be taken within it.
    """

    def __init__(self, store: Store, pool: ThreadPoolExecutor) -> None:
        self._store = store
        self._pool = pool

    @classmethod
    async def open(cls, path: Path, key: StoreKey) -> Self:
        """As `Store.open`."""
        pool = ThreadPoolExecutor(1, thread_name_prefix="hush-store")
        try:
            store = await asyncio.get_running_loop().run_in_executor(pool, Store.open, path, key)
        except BaseException:
            pool.shutdown(wait=False)
            raise
        return cls(store, pool)

    async def transaction(self, work: Callable[[Tables], T]) -> T:
        """`Store.transaction` around `work`; its result when it is durable."""
        return await self.run(lambda: self._transaction(work))

    async def reading(self, work: Callable[[Tables], T]) -> T:
        """`Store.reading` around `work`."""
        return await self.run(lambda: self._reading(work))

    def change_soon(self, work: Callable[[Tables], T]) -> Future[T]:
        """As `transaction`, for a thread."""
        return self._pool.submit(self._transaction, work)

    def note_soon(self, work: Callable[[Tables], T]) -> Future[T]:
        """As `Store.note`, for a thread."""
        return self._pool.submit(self._note, work)

    def read_soon(self, work: Callable[[Tables], T]) -> Future[T]:
        """As `reading`, for a thread."""
        return self._pool.submit(self._reading, work)

    async def data_version(self) -> int:
        return await self.run(self._store.data_version)

    async def purge(self) -> bool:
        """`Store.purge`, if there is anything to do."""
        return await self.run(lambda: not self._store.purge_due() or self._store.purge())

    async def run(self, work: Callable[[], T]) -> T:
        """Something else in the store's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _transaction(self, work: Callable[[Tables], T]) -> T:
        with self._store.transaction() as t:
            return work(t)

    def _note(self, work: Callable[[Tables], T]) -> T:
        with self._store.note() as t:
            return work(t)

    def _reading(self, work: Callable[[Tables], T]) -> T:
        with self._store.reading() as t:
            return work(t)

    async def close(self) -> None:
        """When everything that was asked for is done."""
        await self.run(self._store.close)
        self._pool.shutdown(wait=False)  # nothing is left to be done
