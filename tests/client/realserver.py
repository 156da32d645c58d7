"""A town around the real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from hushpost.crypto.identity import AccountFingerprint, InviteToken, JoinLink
from hushpost.ids import TokenHash
from hushpost.stores.base import Invitation
from hushpost.stores.memory import MemoryBlobs
from hushpost.stores.post.memory import MemoryPost
from tests.client.clocks import ManualClock
from tests.client.people import Town
from tests.server.serving import Served, serving, settings

DAY = 86_400


@dataclass
class RealServer:
    """A running one."""

    served: Served
    clock: ManualClock

    async def invite(self, inviter: AccountFingerprint | None = None) -> str:
        token = InviteToken.random()
        hashed = TokenHash(sha256(token).digest())
        await self.served.store.invite(Invitation(hashed, 1, self.clock.now() + DAY))
        pin = self.served.office.identity.shown.server
        return str(JoinLink(*self.served.address, pin, token, inviter))


RealTown = Town[RealServer, ManualClock]


@pytest.fixture
async def real_town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RealTown]:
    monkeypatch.setenv("HUSH_KEY", "file")
    clock = ManualClock()
    (tmp_path / "server").mkdir()

    def now() -> float:
        return float(clock.now())

    async with serving(
        settings(tmp_path / "server"), make_store=lambda: MemoryPost(MemoryBlobs(), clock=now), clock=now
    ) as served:
        yield Town(tmp_path, RealServer(served, clock), clock)
