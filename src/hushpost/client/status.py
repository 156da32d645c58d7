"""Whether this process is connected, and if not, why: told to whoever asks, and to whoever waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from hushpost.errors import HushpostError
from hushpost.ids import AccountId


class Phase(Enum):
    """What this process does at the moment."""

    FOLLOWING = "another process of this profile is connected"
    CONNECTING = "connecting"
    ONLINE = "connected"
    WAITING = "not connected; it is tried again"
    STOPPED = "not connected, and not tried again"


@dataclass(frozen=True, slots=True)
class State:
    """A phase, and with WAITING and STOPPED the reason."""

    phase: Phase
    reason: HushpostError | None = None


class Status:
    """The present state. Waiting for it misses no change that lasts."""

    def __init__(self) -> None:
        self._state = State(Phase.CONNECTING)
        self._changed = asyncio.Event()

    @property
    def now(self) -> State:
        return self._state

    def set(self, phase: Phase, reason: HushpostError | None = None) -> None:
        self._state = State(phase, reason)
        self.touch()

    def touch(self) -> None:
        """Let everybody who waits look again: something besides the state has changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def next_change(self) -> asyncio.Event:
        """Set at the next change. Whoever takes it before looking misses none."""
        return self._changed

    async def until(self, wanted: Callable[[State], bool]) -> State:
        """Come back when this holds; at once where it does already."""
        while not wanted(self._state):
            await self._changed.wait()
        return self._state


class Bell:
    """Wakes one task that looks after something. Rung while it works, it works once more."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._named: set[AccountId] = set()
        self._everywhere = False

    def ring(self, account: AccountId | None = None) -> None:
        """Wake it; `account`: where to look, if that is known."""
        if account is None:
            self._everywhere = True
        else:
            self._named.add(account)
        self._event.set()

    async def rung(self) -> frozenset[AccountId]:
        """Where to look; empty: everywhere."""
        await self._event.wait()
        self._event.clear()
        named = frozenset() if self._everywhere else frozenset(self._named)
        self._named, self._everywhere = set(), False
        return named


_NEVER = 2**62


class Schedule(Bell):
    """A bell for whoever waits until something is due: rung only where that is earlier than known."""

    def __init__(self) -> None:
        super().__init__()
        self._until = _NEVER

    def looks(self) -> None:
        """Somebody looks now: whatever comes meanwhile may have been missed, and needs another look."""
        self._until = _NEVER

    def waits(self, until: int) -> None:
        """The next look is at this time, seconds since 1970."""
        self._until = until

    def by(self, due: int) -> None:
        """There is something to do at this time."""
        if due < self._until:
            self.ring()
