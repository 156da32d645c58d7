"""Carriers for a transfer: as many as it uses, logged in, and gone when it is over or given up."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from hushpost.client.context import Context, check_may_send, device_account, known_me
from hushpost.client.link import Address, Identity
from hushpost.client.status import Phase
from hushpost.client.store import Me
from hushpost.client.threads import uninterrupted
from hushpost.client.transfers.carrier import Attempt, Carrier

T = TypeVar("T")

CONNECTIONS = 2
"""Of a transfer: one for each core of a small machine, and no more than two parts are lost when it dies."""


class Crew:
    """Carriers, each with a thread."""

    def __init__(self, carriers: Sequence[Carrier], pool: ThreadPoolExecutor) -> None:
        self.carriers = carriers
        self._pool = pool

    async def each(self, work: Callable[[Carrier], None]) -> None:
        """Do it in every carrier's thread at once. Where one fails, the others are ended.

        However it ends, also by cancellation, nothing is at work any more when it comes back.

        Raises:
            Whatever `work` raised first.
        """
        loop = asyncio.get_running_loop()
        futures = [loop.run_in_executor(self._pool, work, carrier) for carrier in self.carriers]
        try:
            await asyncio.wait(futures, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            first = next((each for each in futures if each.done() and each.exception()), None)
            if not all(each.done() for each in futures):
                self._abort()
            await uninterrupted(asyncio.wait(futures))
            errors = [each.exception() for each in futures]
        for error in (first.exception() if first else None, *errors):
            if error is not None:
                raise error

    async def one(self, work: Callable[[Carrier], T]) -> T:
        """Do it in the first one's thread."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, work, self.carriers[0])
        try:
            return await asyncio.shield(future)
        finally:
            if not future.done():
                self._abort()
                await uninterrupted(asyncio.wait([future]))
                future.exception()

    def _abort(self) -> None:
        for carrier in self.carriers:
            carrier.abort()


def taken(waiting: deque[int]) -> Iterator[int]:
    """One after the other of those that nobody else has taken."""
    with contextlib.suppress(IndexError):
        while True:
            yield waiting.popleft()


@asynccontextmanager
async def crew(ctx: Context, count: int = CONNECTIONS) -> AsyncIterator[Crew]:
    """So many carriers, for as long as the block lasts.

    Raises:
        Unreachable, ServerUntrusted, Denied, ProtocolError, OldCopy.
    """
    me = await ctx.db.reading(known_me)
    check_may_send(me)
    pool = ThreadPoolExecutor(count, thread_name_prefix="hush-files")
    carriers: list[Carrier] = []
    try:
        for _ in range(count):
            await _dial(ctx, me, pool, carriers)
        yield Crew(carriers, pool)
    finally:
        for carrier in carriers:
            carrier.abort()
        pool.shutdown(wait=False)  # nothing is at work
        for carrier in carriers:
            carrier.close()


async def _dial(ctx: Context, me: Me, pool: ThreadPoolExecutor, carriers: list[Carrier]) -> None:
    address = Address(me.home.host, me.home.port, me.home.pin)
    known = await ctx.db.reading(lambda t: t.me.statement())
    now = ctx.clock.now()
    carrier = await _connected(pool, address)
    carriers.append(carrier)
    only = Crew([carrier], pool)
    greeting = await only.one(lambda each: each.greet(address, known, now))
    if greeting.statement != known:
        await ctx.db.transaction(lambda t: t.me.keep_statement(greeting.statement))
    signer = await ctx.db.reading(device_account)
    who = Identity(me.account.id, me.device, signer)
    await only.one(lambda each: each.authenticate(greeting, who))
    if ctx.status.now.phase is not Phase.ONLINE:
        ctx.reached.ring()


async def _connected(pool: ThreadPoolExecutor, address: Address) -> Carrier:
    """If we are cancelled meanwhile, it is given up, and closed if it was made all the same."""
    attempt = Attempt()
    future = asyncio.get_running_loop().run_in_executor(pool, Carrier.connect, address, attempt)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        attempt.give_up()
        future.add_done_callback(lambda done: None if done.exception() else done.result().close())
        raise
