"""One `world` per implementation: a store with its blobs, a clock to turn, and what reopening means."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hushpost.ids import AccountId, BlobId, EnvelopeId, MailboxId
from hushpost.stores.base import Account, Attachment, Blobs, Delivery, Send, Store, StoreLimits
from hushpost.stores.blobfiles import FileBlobs
from hushpost.stores.memory import MemoryBlobs, MemoryStore
from hushpost.stores.sqlite import SqliteStore

NOW = 1_800_000_000


@dataclass
class World:
    """A store under test."""

    store: Store
    blobs: Blobs
    now: float = NOW
    names: int = 0
    closing: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    async def mailbox(self) -> MailboxId:
        """A fresh account's mailbox."""
        self.names += 1
        mailbox = MailboxId.random()
        await self.store.register(Account(AccountId.random(), f"name {self.names}", b"key"), mailbox)
        return mailbox

    def fresh_id(self, seconds: float = 0) -> EnvelopeId:
        """An unused envelope id of this long ago (or ahead, when negative)."""
        return EnvelopeId.at(int(self.now - seconds))

    async def put(self, mailbox: MailboxId, body: bytes = b"body", **more: Any) -> int:
        """Append one envelope with a one-byte header; its sequence number."""
        (sequence,) = await self.store.append(Send((Delivery(mailbox, b"h"),), body, **more))
        return sequence

    async def waiting(self, mailbox: MailboxId) -> list[int]:
        """Sequence numbers of everything in a mailbox."""
        found = await self.store.read(mailbox, after=0, max_count=10_000, max_bytes=1 << 40)
        return [envelope.sequence for envelope in found]

    async def blob(self, content: bytes = b"content") -> Attachment:
        """A finished blob."""
        blob = BlobId.random()
        await self.blobs.create(blob)
        await self.blobs.write(blob, 0, memoryview(content))
        await self.blobs.finish(blob, len(content))
        return Attachment(blob, len(content))


async def open_world(kind: str, folder: Path, limits: StoreLimits | None = None) -> World:
    """A world of this kind in this folder; the memory one begins empty every time."""
    world: World
    blobs: MemoryBlobs | FileBlobs
    store: Store
    limits = limits or StoreLimits(min_free_bytes=0)
    if kind == "memory":
        blobs = MemoryBlobs()
        store = MemoryStore(blobs, limits, lambda: world.now)
        world = World(store, blobs)
    else:
        blobs = FileBlobs(folder / "blobs", min_free_bytes=0)
        store = await SqliteStore.open(folder / "server.db", blobs, limits, lambda: world.now)
        world = World(store, blobs)
        world.closing.append(blobs.close)
    world.closing.insert(0, store.close)
    return world


async def close_world(world: World) -> None:
    for close in world.closing:
        await close()


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
        await close_world(world)


@pytest.fixture
async def world(worlds: Callable[..., Awaitable[World]]) -> World:
    """A store with generous limits."""
    return await worlds()
