"""Pushing envelopes to a subscribed device, within a window of unacknowledged bytes.

Normative text: docs/spec/delivery.md. Nothing runs for a subscription that has nothing to do: a wake-up, an
acknowledgement or an emptied write buffer starts it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from hushpost.errors import StoreError
from hushpost.ids import DeviceId
from hushpost.server.peer import Peer
from hushpost.stores.base import Envelope, PostOffice
from hushpost.wire.limits import HEADER_SIZE, MAX_PAGE_BYTES, MAX_PAGE_COUNT
from hushpost.wire.messages import Push, Taken, WaitingEnvelope

POLL_SECONDS = 300.0
"""Wake-ups may be lost; so often, a subscription looks by itself."""

SMALLEST = HEADER_SIZE + 1
"""Bytes of the smallest envelope: with less room, there is no use in reading."""


def waiting_envelope(envelope: Envelope) -> WaitingEnvelope:
    """As it goes over the wire."""
    return WaitingEnvelope(
        envelope.sequence,
        envelope.envelope or bytes(16),
        envelope.seal_key_id,
        envelope.header,
        envelope.body,
        envelope.is_request,
    )


def size_of(envelope: Envelope) -> int:
    """Bytes that count against a window or page."""
    return len(envelope.header) + len(envelope.body)


class Subscription:
    """One device's, on one connection. `go` may be called at any time, as often as one likes."""

    __slots__ = (
        "_after",
        "_again",
        "_end_wakeups",
        "_ended",
        "_in_flight",
        "_need",
        "_reading",
        "_store",
        "_tasks",
        "_unacknowledged",
        "_window",
        "peer",
    )

    def __init__(
        self, store: PostOffice, tasks: asyncio.TaskGroup, peer: Peer, after: int, window: int
    ) -> None:
        self.peer = peer
        self._store = store
        self._tasks = tasks
        self._after = after
        self._window = window
        self._in_flight: dict[int, int] = {}
        """Sequence -> bytes, of what was pushed and not acknowledged, in order."""
        self._unacknowledged = 0
        self._need = SMALLEST
        self._reading = self._again = self._ended = False
        self._end_wakeups = store.subscribe(peer.mailbox, self._wake)

    def _wake(self, _sequence: int) -> None:
        self.go()

    def go(self) -> None:
        """Push what there is, as far as there is room."""
        self._again = True
        if not self._reading and self._has_room():
            self._reading = True
            self._tasks.create_task(self._run())

    def end(self) -> None:
        """Push no more. Harmless if done before."""
        self._ended = True
        self._end_wakeups()

    def acknowledged(self, sequences: Iterable[int], up_to: int) -> None:
        """The device has committed these, and everything up to `up_to`."""
        in_flight = self._in_flight
        for sequence in sequences:
            self._unacknowledged -= in_flight.pop(sequence, 0)
        while in_flight and (oldest := next(iter(in_flight))) <= up_to:
            self._unacknowledged -= in_flight.pop(oldest)
        self.go()

    def _room(self) -> int:
        return self._window - self._unacknowledged

    def _has_room(self) -> bool:
        """One envelope may always be in flight, however large."""
        fits = not self._in_flight or self._room() >= self._need
        return fits and not self._ended and self.peer.outlet.writable

    async def _run(self) -> None:
        try:
            while self._again and self._has_room():
                self._again = False
                while self._has_room() and await self._push_page():
                    pass
        except StoreError:
            self.end()  # the account has left, or the store has failed and the server stops
        finally:
            self._reading = False

    async def _push_page(self) -> bool:
        """One page; False if there was nothing to push, or no room for it."""
        room = min(max(self._room(), SMALLEST), MAX_PAGE_BYTES)
        page = await self._store.read(
            self.peer.mailbox, after=self._after, max_count=MAX_PAGE_COUNT, max_bytes=room
        )
        if not page or self._ended:
            return False
        size = sum(map(size_of, page))
        if self._in_flight and size > self._room():
            self._need = size
            return False
        self._need = SMALLEST
        self._after = page[-1].sequence
        self._unacknowledged += size
        self._in_flight |= {each.sequence: size_of(each) for each in page}
        self.peer.outlet.tell(Push([waiting_envelope(each) for each in page]))
        return True


class Subscriptions:
    """At most one for each device: a newer one ends the older."""

    def __init__(self, store: PostOffice, tasks: asyncio.TaskGroup) -> None:
        self._store = store
        self._tasks = tasks
        self._by_device: dict[DeviceId, Subscription] = {}

    def __len__(self) -> int:
        return len(self._by_device)

    def begin(self, peer: Peer, after: int, window: int) -> Subscription:
        """A new one. Nothing is pushed before its `go`."""
        older = self._by_device.get(peer.device)
        if older is not None:
            older.end()
            if older.peer is not peer:
                older.peer.outlet.tell(Taken())
        newer = Subscription(self._store, self._tasks, peer, after, window)
        self._by_device[peer.device] = newer
        return newer

    def of(self, peer: Peer) -> Subscription | None:
        """The one on this peer's connection."""
        found = self._by_device.get(peer.device)
        return found if found is not None and found.peer is peer else None

    def acknowledged(self, device: DeviceId, sequences: Iterable[int], up_to: int) -> None:
        """A device has acknowledged, on whichever of its connections."""
        if (found := self._by_device.get(device)) is not None:
            found.acknowledged(sequences, up_to)

    def drop(self, peer: Peer) -> None:
        """Its connection has ended."""
        if (found := self.of(peer)) is not None:
            found.end()
            del self._by_device[peer.device]
