"""What tests of transfers share: people, files, and comparing them."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from hushpost.client.api import Client, Joined
from hushpost.client.clock import SystemClock
from hushpost.client.values import Contact, Transfer
from hushpost.crypto.identity import AccountFingerprint
from hushpost.ids import MessageId
from tests.client.people import Town, in_time, until
from tests.client.smallserver import SmallServer


@dataclass
class RealOffice:
    """A running server of which a link is known that is good for many."""

    link: str

    async def invite(self, inviter: AccountFingerprint | None = None) -> str:
        return self.link


class SharedTown(Town[RealOffice, SystemClock]):
    """On a server with the people of other tests: each is called there as nobody was before."""

    async def join(self, name: str, inviter: str | None = None) -> Joined:
        link, called = await self.server.invite(), f"{name}-{secrets.token_hex(4)}"
        self.joined[name] = await Client.join(self.profile(name), link, called, clock=self.clock)
        return self.joined[name]


S = TypeVar("S", RealOffice, SmallServer)


@dataclass
class People(Generic[S]):
    """Alice, who sends, and Bob."""

    town: Town[S, SystemClock]
    alice: Client
    bob: Client
    to_bob: Contact
    to_alice: Contact
    folder: Path

    def file(self, size: int, name: str = "file.bin") -> Path:
        path = self.folder / name
        path.write_bytes(os.urandom(size))
        return path

    def inbox(self) -> Path:
        """A new folder of Bob's."""
        place = self.folder / "inbox"
        place.mkdir(exist_ok=True)
        return place

    async def offered(self, message: MessageId) -> None:
        """Wait until Bob has the offer."""

        async def has_it() -> bool:
            return any(each.id == message for each in await self.bob.transfers())

        await until(has_it)

    async def send(self, path: Path, *, name: str = "", caption: str = "") -> Transfer:
        """From Alice, until Bob knows."""
        sent = await in_time(self.alice.send_file(self.to_bob.account, path, name=name, caption=caption))
        await self.offered(sent.id)
        return sent

    async def through(self, path: Path, *, name: str = "") -> Path:
        """The path of what Bob has got of it."""
        sent = await self.send(path, name=name)
        got = await in_time(self.bob.receive_file(sent.id, self.inbox()))
        return Path(got.path)


Pair = People[RealOffice]
Hall = People[SmallServer]


def left_over(folder: Path) -> list[str]:
    """Names in a folder that no user should find there."""
    return [each.name for each in folder.iterdir() if each.name.startswith(".hush-")]


def content_of(transfer: Transfer) -> bytes:
    """What was fetched."""
    return Path(transfer.path).read_bytes()
