"""All parts that one connection sends or is sent, and whose turn it is."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Protocol

from hushpost.server.parts.buffers import BUFFERS_SENT, PartBuffers
from hushpost.server.parts.incoming import Incoming
from hushpost.server.parts.outgoing import Delivery, Outgoing, Sink
from hushpost.server.parts.turns import LEAST, Turns
from hushpost.stores.base import Parts
from hushpost.wire.messages import PartPut, PutPart

AT_ONCE = 192 * 1024
"""Bytes that are read at once. Envelopes wait for that: with 256 KiB, as many as uvloop decrypts at once, a
fifth longer beside files, which are no slower with these."""

AMONG_MANY = LEAST
"""The same while more than `FEW` wait for their turn: envelopes wait half as long then. What many send
together takes a fifth longer, and more on a busy server: a round of its event loop brings little more."""

FEW = 1
"""One transfer has two connections, of which one waits."""

EACH_HOLDS = 2
"""Buffers that one connection may hold when it is read: one is written while the next comes."""


class Outlet(Sink, Protocol):
    """What a transfer asks of its connection."""

    @property
    def to_come(self) -> int:
        """Bytes of the present message's data that have not come yet."""

    def go_on(self) -> None:
        """There is room again for what comes."""

    def stop_reading(self) -> None:
        """There is none."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What the traffic of all connections shares."""

    buffers: PartBuffers
    turns: Turns
    sending: asyncio.Semaphore

    @classmethod
    def make(cls) -> Shared:
        """For one event loop."""
        buffers = PartBuffers()
        return cls(buffers, Turns(may_begin=lambda: buffers.are_left), asyncio.Semaphore(BUFFERS_SENT))


class Traffic:
    """The parts of one connection, in both directions."""

    __slots__ = (
        "_buffers",
        "_held",
        "_incoming",
        "_outgoing",
        "_outlet",
        "_parts",
        "_sending",
        "_tasks",
        "_turns",
    )

    def __init__(self, parts: Parts, shared: Shared, tasks: asyncio.TaskGroup, outlet: Outlet) -> None:
        self._parts = parts
        self._buffers = shared.buffers
        self._sending = shared.sending
        self._turns = shared.turns
        self._tasks = tasks
        self._outlet = outlet
        self._incoming: Incoming | None = None
        self._outgoing: Outgoing | None = None
        self._held = 0

    # From the connection to the store

    def receive(self, request: PutPart) -> Coroutine[object, object, PartPut]:
        """From now on its data comes; what this returns brings it into the store and answers."""
        self._incoming = Incoming(self, request, self._outlet.to_come)
        return self._bring(self._incoming)

    async def _bring(self, incoming: Incoming) -> PartPut:
        try:
            return await incoming.run(self._parts)
        finally:
            self._outlet.go_on()  # what of it is still to come needs no turn

    @property
    def at_once(self) -> int:
        """How much may be read at once now, whatever it is."""
        return AMONG_MANY if self._is_among_many else AT_ONCE

    @property
    def undecrypted(self) -> int | None:
        """So many bytes may wait to be decrypted before nothing more is taken; None: as many as usual.

        A few connections are quicker without a bound of ours, and envelopes hardly slower.
        """
        return AMONG_MANY if self._is_among_many else None

    @property
    def _is_among_many(self) -> bool:
        return self._turns.waiting > FEW

    def room(self) -> memoryview | None:
        """Where to put what is received next, if that is data of a part."""
        if self._incoming is None or self._incoming.over:
            return None
        return self._incoming.offer(min(self._outlet.to_come, self.at_once))

    def take(self, data: memoryview, source: memoryview) -> None:
        """The next bytes of the data of whatever message it is that carries some, and what they came in."""
        if self._incoming is not None:
            self._incoming.take(data, source)

    def end(self) -> None:
        """There was all of it."""
        if self._incoming is not None:
            self._incoming.end()
            self._incoming = None
            self._turns.leave(self)

    def may_read(self) -> bool:
        """Whether there is room for what comes, and it is our turn. If not, the outlet is told when."""
        if self._incoming is None or self._incoming.over:
            return True
        if self._held > EACH_HOLDS:
            return False
        return self._turns.ask(self)

    @property
    def arrived(self) -> int:
        return 0 if self._incoming is None else self._incoming.arrived

    def begin_turn(self) -> None:
        self._outlet.go_on()

    def end_turn(self) -> None:
        if self._incoming is not None:
            self._incoming.hurry()
        self._outlet.stop_reading()
        self._turns.ask(self)

    def lend(self) -> memoryview:
        """For a part that comes."""
        buffer = self._buffers.take()
        self._held += 1
        return buffer

    def give_back(self, buffer: memoryview) -> None:
        """It is written."""
        self._held -= 1
        self._buffers.give(buffer)
        self._turns.go()  # first, who has waited longest for one
        self._outlet.go_on()

    # From the store to the connection

    def deliver(self, delivery: Delivery) -> None:
        """Send it, behind those that are being sent."""
        if self._outgoing is None:
            self._outgoing = Outgoing(self._parts, self._buffers, self._sending, self._outlet)
            self._tasks.create_task(self._outgoing.run())
        self._outgoing.add(delivery)

    def go(self) -> None:
        """The peer has read something."""
        if self._outgoing is not None:
            self._outgoing.go()

    def close(self) -> None:
        """The connection reads no more, or has ended. Harmless if done before."""
        if self._incoming is not None:
            self._incoming.give_up()
            self._incoming = None
        self._turns.leave(self)
        if self._outgoing is not None:
            self._outgoing.close()
            self._outgoing = None
