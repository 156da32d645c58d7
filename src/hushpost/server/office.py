"""What all connections of a version-3 server share, and what a handler may give back."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from hushpost.server.identity import ServerIdentity
from hushpost.server.limits import Budgets, told
from hushpost.server.parts.outgoing import Delivery
from hushpost.server.parts.traffic import AT_ONCE, Shared
from hushpost.server.peer import Peer, Peers
from hushpost.server.push import Subscriptions
from hushpost.server.refusals import refusal
from hushpost.settings import ServeSettings
from hushpost.stores.base import PostOffice, StoreLimits
from hushpost.wire.messages import Authenticated, ResponseMessage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Admission:
    """A guest has proven who it is: its connection goes on as this peer."""

    answer: Authenticated
    peer: Peer


@dataclass(slots=True)
class Pending(Generic[T]):
    """An answer that has to wait: when the future is done, `answer` makes it of the result.

    Attributes:
        patience: seconds that it may take beyond the deadline of every request.
    """

    future: asyncio.Future[T]
    answer: Callable[[T], Said]
    patience: float = 0.0


Said = ResponseMessage | Admission | Delivery
"""What is answered in the end."""

Outcome = ResponseMessage | Pending[Any]
"""What a handler gives back. It raises for what it refuses."""


class Flushed(Protocol):
    """A connection with something to write."""

    def flush(self) -> None:
        """Write it."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a server is made of. `clock`: seconds since 1970."""

    store: PostOffice
    store_limits: StoreLimits
    identity: ServerIdentity
    settings: ServeSettings
    clock: Callable[[], float] = time.time


class Office:
    """To be made in the event loop.

    Attributes:
        clock: seconds since 1970.
        scratch: what every connection reads into; nobody keeps anything in it.
        shared: what parts of files go through.
        in_hand: bytes of requests and awaited answers of all connections.
        counts: how often what happened, by name, for the metrics.
    """

    def __init__(self, setup: Setup, tasks: asyncio.TaskGroup) -> None:
        settings, store = setup.settings, setup.store
        self.loop = asyncio.get_running_loop()
        self.store = store
        self.identity = setup.identity
        self.settings = settings
        self.limits = settings.limits
        self.request_deadline = settings.listen_limits.request_deadline
        self.tasks = tasks
        self.clock = setup.clock
        self.told = told(settings.rates, settings.limits, settings.listen_limits, setup.store_limits)
        self.budgets = Budgets(settings.rates, self.loop.time)
        self.peers = Peers(settings.limits.per_device)
        self.subscriptions = Subscriptions(store, tasks)
        self.scratch = memoryview(bytearray(AT_ONCE))
        self.shared = Shared.make()
        self.in_hand = 0
        self.counts: Counter[str] = Counter()
        self._to_flush: list[Flushed] = []

    def run(self, number: int, work: Coroutine[Any, Any, Said]) -> Pending[Any]:
        """Answer with what this coroutine returns, or with the refusal that it raises."""
        return Pending(self.tasks.create_task(_refusing(number, work)), _unchanged)

    def flush_later(self, connection: Flushed) -> None:
        """Once in this turn of the loop, when all answers of the turn are there."""
        if not self._to_flush:
            self.loop.call_soon(self._flush)
        self._to_flush.append(connection)

    def _flush(self) -> None:
        connections, self._to_flush = self._to_flush, []
        for connection in connections:
            connection.flush()


def _unchanged(answer: T) -> T:
    return answer


async def _refusing(number: int, work: Coroutine[Any, Any, Said]) -> Said:
    try:
        return await work
    except Exception as error:
        return refusal(number, error)
