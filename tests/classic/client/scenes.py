"""Two clients at a server with the original's manners."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hushpost.classic.client.account import Account
from hushpost.classic.client.inbox import Received, TextReceived
from hushpost.classic.client.link import Address
from hushpost.classic.client.profile import Profile
from hushpost.classic.client.registration import register
from hushpost.classic.client.requests import ClassicClient
from hushpost.classic.payloads import ClientId
from tests.classic.client.peers import HEADER, OriginalServer, read, serving

GET = 104


@dataclass
class Player:
    """One client with its folder, and what it was shown."""

    account: Account
    folder: Path
    shown: list[Received] = field(default_factory=list)

    @property
    def client_id(self) -> ClientId:
        return self.account.identity.client_id

    def fetch(self) -> list[Received]:
        self.shown = []
        self.account.fetch(self.shown.append)
        return self.shown

    def texts(self) -> list[str]:
        return [received.text for received in self.fetch() if isinstance(received, TextReceived)]


@dataclass
class Scene:
    """A server like the original's with two clients that have agreed on a key."""

    server: OriginalServer
    address: Address
    client: ClassicClient
    alice: Player
    bob: Player

    def put(self, kind: int, content: bytes, *, sender: bytes | None = None) -> None:
        """Lay a message into bob's inbox, whatever it is."""
        self.server.last_message_id += 1
        message = (sender or self.alice.client_id, self.server.last_message_id, kind, content)
        self.server.inboxes[self.bob.client_id].append(message)


def player(folder: Path, client: ClassicClient, name: str) -> Player:
    folder.mkdir()
    register(Profile(folder), client, name)
    return Player(Account(Profile(folder), client), folder)


@contextlib.contextmanager
def conversation(folder: Path) -> Iterator[Scene]:
    """Alice and bob, with their folders in this one."""
    server = OriginalServer()
    with serving(server) as address:
        client = ClassicClient(address, timeout=5)
        alice, bob = player(folder / "a", client, "alice"), player(folder / "b", client, "bob")
        alice.account.send_key(bob.client_id)
        bob.fetch()
        yield Scene(server, address, client, alice, bob)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "received").iterdir())


def broken_fetch(scene: Scene, size: int) -> contextlib.AbstractContextManager[Address]:
    """A server that forgets bob's messages and hands out only the first `size` bytes of the answer."""

    def play(connection: socket.socket) -> None:
        client_id, _, code, length = HEADER.unpack(read(connection, 22))
        answer = scene.server.answer(client_id, code, read(connection, length))
        connection.sendall(answer[:size] if code == GET else answer)

    return serving(play)


def repeating(scene: Scene) -> None:
    """As if the server had not seen the end of bob's last fetch."""
    scene.server.fault = "never forgets"


@contextlib.contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """What a full disk is to a program: the system refuses to write on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
