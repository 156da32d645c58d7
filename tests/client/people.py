"""Clients for tests: each with a profile of its own in a folder, and a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import pytest

from hushpost.client.api import Client, Joined
from hushpost.client.clock import Clock
from hushpost.client.values import Contact, Delivery, Event, Message, Received
from hushpost.crypto.identity import AccountFingerprint
from tests.client.clocks import ManualClock
from tests.client.smallserver import SmallServer, small_server

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds of real time after which a test that waits has failed."""


class Inviting(Protocol):
    """What a town asks of its server."""

    async def invite(self, inviter: AccountFingerprint | None = None) -> str: ...


S = TypeVar("S", bound=Inviting)
C = TypeVar("C", bound=Clock)


@dataclass
class Town(Generic[S, C]):
    """A server, and whoever has joined it.

    Attributes:
        joined: by name.
    """

    folder: Path
    server: S
    clock: C
    joined: dict[str, Joined] = field(default_factory=dict)

    def profile(self, name: str) -> Path:
        return self.folder / "profiles" / name

    async def join(self, name: str, inviter: str | None = None) -> Joined:
        """A new account, invited by somebody who has joined before, or by the operator."""
        pin = self.joined[inviter].link.account if inviter else None
        link = await self.server.invite(pin)
        self.joined[name] = await Client.join(self.profile(name), link, name, clock=self.clock)
        return self.joined[name]

    @asynccontextmanager
    async def open(self, *names: str) -> AsyncIterator[list[Client]]:
        """These people's clients, at work."""
        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(Client.open(self.profile(name), clock=self.clock))
                for name in names
            ]

    def link(self, name: str) -> str:
        return str(self.joined[name].link)


SmallTown = Town[SmallServer, ManualClock]


@pytest.fixture
async def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SmallTown]:
    """An empty one. Profiles keep their keys in files."""
    monkeypatch.setenv("HUSH_KEY", "file")
    clock = ManualClock()
    async with small_server(tmp_path, clock) as server:
        yield Town(tmp_path, server, clock)


async def befriend(town: Town[S, C], alice: Client, bob: Client) -> tuple[Contact, Contact]:
    """Both know each other, verified, and have each other's tokens; Bob and Alice as the other sees them."""
    a = await bob.add(town.link("alice"))
    b = await alice.add(town.link("bob"))
    first = await alice.send(b.account, "hello")
    await in_time(received(bob, 1))
    second = await bob.send(a.account, "hello to you")
    await in_time(received(alice, 1))
    await in_time(alice.reached(first.id, Delivery.ACCEPTED))
    await in_time(bob.reached(second.id, Delivery.ACCEPTED))
    return b, a


async def received(client: Client, count: int, handler: str = "test") -> list[Message]:
    """The first so many messages that this handler sees."""
    found: list[Message] = []
    async for event in client.events(handler):
        if isinstance(event, Received):
            found.append(event.message)
            if len(found) == count:
                await client.handled(handler, event.number)
                break
    return found


async def first_event(client: Client, kind: type[Event], handler: str = "watcher") -> Event:
    """The first event of a kind that this handler sees."""
    async for event in client.events(handler):
        if isinstance(event, kind):
            return event
    raise AssertionError("events ended")


async def in_time(awaitable: Awaitable[T]) -> T:
    async with asyncio.timeout(PATIENCE):
        return await awaitable


async def met(client: Client, name: str) -> Contact:
    """Somebody who becomes known by what goes on behind."""

    async def is_known() -> bool:
        return any(each.name == name for each in await client.contacts())

    await until(is_known)
    return await client.contact(name)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.01)
