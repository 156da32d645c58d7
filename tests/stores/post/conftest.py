"""One `world` per implementation of `base.PostOffice`, and people in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from hushpost.errors import StoreError
from hushpost.ids import AccountId, DeviceId, EnvelopeId, TokenHash
from hushpost.stores.base import (
    Invitation,
    KeyUpdate,
    NewAccount,
    Parts,
    PostOffice,
    SealedDelivery,
    SealedSend,
    SealKey,
    SessionKey,
    StoreLimits,
    mailbox_of,
)
from hushpost.stores.memory import MemoryBlobs
from hushpost.stores.post.memory import MemoryPost
from hushpost.stores.post.sqlite import SqlitePost

NOW = 1_800_000_000


def session_keys(*ids: int) -> tuple[SessionKey, ...]:
    return tuple(SessionKey(number, b"one-time %d" % number) for number in ids)


def seal_key(number: int) -> SealKey:
    return SealKey(number, b"seal %d" % number)


@dataclass
class Clock:
    """Shows what a test sets it to."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Person:
    """An account as its owner knows it."""

    id: AccountId
    name: str
    token: TokenHash
    devices: list[DeviceId]
    version: int = 1
    seals: dict[DeviceId, int] = field(default_factory=dict)

    @property
    def device(self) -> DeviceId:
        return self.devices[0]


@dataclass
class World:
    """A store under test."""

    store: PostOffice
    clock: Clock
    names: int = 0

    @property
    def now(self) -> float:
        return self.clock.now

    @now.setter
    def now(self, seconds: float) -> None:
        self.clock.now = seconds

    def new_account(self, *keys: int, name: str | None = None) -> NewAccount:
        """Somebody with these one-time keys, and seal key 7."""
        self.names += 1
        return NewAccount(
            id=AccountId.random(),
            name=name or f"name {self.names}",
            manifest=b"manifest 1 of %d" % self.names,
            device=DeviceId.random(),
            seal_key=seal_key(7),
            one_time_keys=session_keys(*keys),
            fallback_key=b"fallback",
            token_hash=TokenHash.random(),
        )

    async def person(self, *keys: int, devices: int = 1) -> Person:
        """An enrolled account; its further devices have seal key 7, too, and nothing else."""
        new = self.new_account(*keys)
        await self.store.enroll(new, None)
        person = Person(new.id, new.name, new.token_hash, [new.device], seals={new.device: 7})
        if devices > 1:
            await self.list_devices(person, [new.device, *(DeviceId.random() for _ in range(devices - 1))])
        return person

    async def list_devices(self, person: Person, devices: list[DeviceId]) -> None:
        """A new manifest with these devices; new ones get seal key 7."""
        added = [device for device in devices if device not in person.devices]
        person.version += 1
        person.devices = devices
        await self.store.put_manifest(person.id, person.version, b"manifest %d" % person.version, devices)
        for device in added:
            await self.store.publish(device, KeyUpdate(seal_key=seal_key(7)))
            person.seals[device] = 7

    def fresh_id(self, seconds: float = 0) -> EnvelopeId:
        """An unused envelope id of this long ago (or ahead, when negative)."""
        return EnvelopeId.at(int(self.now - seconds))

    def send_to(
        self,
        person: Person,
        body: bytes = b"body",
        envelope: EnvelopeId | None = None,
        *,
        stranger: bool = False,
        header: bytes = b"h",
    ) -> SealedSend:
        """What somebody who knows everything about this person would send."""
        return SealedSend(
            person.id,
            envelope or self.fresh_id(),
            tuple(SealedDelivery(device, person.seals[device], header) for device in person.devices),
            body,
            None if stranger else person.token,
        )

    async def put(self, person: Person, body: bytes = b"body", *, stranger: bool = False) -> int:
        """Send to a person with one device; the sequence number."""
        (sequence,) = await self.store.append_sealed(self.send_to(person, body, stranger=stranger))
        return sequence

    async def refusal(self, send: SealedSend) -> type[StoreError]:
        """Why this send is not stored."""
        with pytest.raises(StoreError) as refused:
            await self.store.append_sealed(send)
        return refused.type

    async def waiting(self, device: DeviceId) -> list[int]:
        """Sequence numbers of everything in a mailbox."""
        found = await self.store.read(mailbox_of(device), after=0, max_count=10_000, max_bytes=1 << 40)
        return [envelope.sequence for envelope in found]

    async def invite(self, uses: int = 1, expires: int = NOW + 100) -> TokenHash:
        token = TokenHash.random()
        await self.store.invite(Invitation(token, uses, expires))
        return token


async def open_world(kind: str, folder: Path, limits: StoreLimits) -> World:
    """A world of this kind in this folder; the memory one begins empty every time."""
    clock = Clock()
    if kind == "memory":
        return World(MemoryPost(MemoryBlobs(), limits, clock), clock)
    return World(await SqlitePost.open(folder / "post.db", limits, clock), clock)


@pytest.fixture(params=["memory", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which implementation."""
    return str(request.param)


@pytest.fixture
async def worlds(kind: str, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[World]]]:
    """Opens worlds, with limits as wanted, and closes them in the end."""
    opened: list[World] = []

    async def open_one(**limits: int) -> World:
        world = await open_world(kind, tmp_path, StoreLimits(**{"min_free_bytes": 0, **limits}))
        opened.append(world)
        return world

    yield open_one
    for world in opened:
        await world.store.close()


@pytest.fixture
async def world(worlds: Callable[..., Awaitable[World]]) -> World:
    """A store with generous limits."""
    return await worlds()


def recovery_of(world: World, person: Person) -> NewAccount:
    """What somebody who has nothing left but the phrase puts in place."""
    new = world.new_account(1, 2, name=person.name)
    return msgspec.structs.replace(new, id=person.id, manifest=b"recovered")


@pytest.fixture
async def parts(world: World) -> Parts:
    return world.store.parts


@pytest.fixture
async def alice(world: World) -> Person:
    return await world.person()
