"""The client's automatic tests against a real server, in the spirit of the original's `test` argument.

Every step uses clients of random names in a temporary folder, so that it can run again and again on
the same server; it leaves them registered, since the protocol cannot remove a client.
"""

from __future__ import annotations

import io
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from hushpost.classic.client.account import Account
from hushpost.classic.client.inbox import (
    FileReceived,
    KeyReceived,
    KeyRequested,
    NotOpened,
    Received,
    TextReceived,
)
from hushpost.classic.client.profile import Profile
from hushpost.classic.client.registration import register
from hushpost.classic.client.requests import ClassicClient
from hushpost.classic.payloads import ClientId, MessageType
from hushpost.errors import HushpostError, Refused, Unreachable

TEXTS = (
    "",
    "fifteen chars!!",
    "sixteen chars!!!",
    "h\u00e9llo \u05e9\u05dc\u05d5\u05dd\nsecond line",
    "long " * 20_000,
)
"""Around the block size, with the terminating NUL; several alphabets; larger than one segment."""

FETCHES_UNTIL_GONE = 10
"""A server may show a message again before it has seen the end of the fetch, but not for ever."""

FILE_SIZES = (0, 1, 16, 65_536, 3_000_001)

R = TypeVar("R", bound=Received)


class Failed(Exception):
    """A step found something else than it should."""


class _Nowhere:
    """A sink for a fetch of which only the size matters."""

    def write(self, data: memoryview) -> None:
        pass

    def commit(self) -> None:
        pass


class Result(msgspec.Struct, frozen=True):
    """What became of a step; `failure` is empty where it passed."""

    step: str
    failure: str

    def __str__(self) -> str:
        return f"FAIL  {self.step}: {self.failure}" if self.failure else f"ok    {self.step}"


class Player(msgspec.Struct, frozen=True):
    """One client of the test."""

    account: Account
    folder: Path
    name: str

    @property
    def client_id(self) -> ClientId:
        return self.account.identity.client_id

    def fetch(self) -> list[Received]:
        received: list[Received] = []
        self.account.fetch(received.append)
        return received


class SelfTest:
    """All steps, in order; each can fail on its own."""

    def __init__(self, client: ClassicClient) -> None:
        self._client = client
        self.steps: tuple[tuple[str, Callable[[Path], None]], ...] = (
            ("registration gives different ids, and me.info reads back", self.registration),
            ("a taken name is refused", self.taken_name),
            ("the list shows the others by name, not oneself", self.listing),
            ("public keys are those that were registered", self.public_keys),
            ("unknown clients are refused", self.unknown_clients),
            ("an empty inbox is empty", self.empty_inbox),
            ("a key request arrives", self.key_request),
            ("a key arrives and both sides use it", self.key_exchange),
            ("keys sent at the same time do not break the pair", self.crossed_keys),
            ("texts arrive as they were sent, both ways", self.texts),
            ("messages arrive in order, with rising ids", self.order),
            ("files arrive byte for byte, both ways", self.files),
            ("a message to oneself arrives", self.to_oneself),
            ("a damaged message costs no other", self.damaged),
            ("what was fetched is gone", self.fetched_is_gone),
        )

    def run(self) -> Iterator[Result]:
        """Each step's result as soon as it is known.

        Raises:
            Unreachable: nobody listens there, or not any more: the steps that are left say nothing.
        """
        self._client.reach()
        with tempfile.TemporaryDirectory(prefix="hush-test-") as folder:
            for step, check in self.steps:
                try:
                    check(Path(folder))
                except (Failed, HushpostError, OSError) as error:
                    yield Result(step, str(error))
                    if isinstance(error, Unreachable):
                        self._client.reach()
                else:
                    yield Result(step, "")

    def registration(self, folder: Path) -> None:
        alice, bob = self._player(folder), self._player(folder)
        _expect(alice.client_id != bob.client_id, "two clients got the same id")
        again = Profile(alice.folder).identity()
        _expect((again.name, again.client_id) == (alice.name, alice.client_id), "me.info reads otherwise")

    def taken_name(self, folder: Path) -> None:
        alice = self._player(folder)
        public_key = alice.account.identity.private_key.public_key
        self._expect_refused(
            "a second client got the same name", lambda: self._client.register(alice.name, public_key)
        )

    def listing(self, folder: Path) -> None:
        alice, bob = self._player(folder), self._player(folder)
        listed = {client.client_id: client.name for client in alice.account.clients()}
        _expect(listed.get(bob.client_id) == bob.name, "the other is not listed by its name")
        _expect(alice.client_id not in listed, "we are listed to ourselves")

    def public_keys(self, folder: Path) -> None:
        alice, bob = self._player(folder), self._player(folder)
        for of in (alice, bob):
            registered = of.account.identity.private_key.public_key
            _expect(alice.account.public_key(of.client_id) == registered, "the key is another one")

    def unknown_clients(self, folder: Path) -> None:
        alice, nobody = self._player(folder), ClientId.random()
        client, me = self._client, alice.client_id
        self._expect_refused("a key for an unknown client", lambda: client.public_key(me, nobody))
        self._expect_refused("a message to an unknown client", lambda: alice.account.request_key(nobody))
        self._expect_refused("a list for an unknown client", lambda: next(client.list_clients(nobody), None))
        self._expect_refused(
            "a message from an unknown client",
            lambda: client.send_message(nobody, me, MessageType.KEY_REQUEST, b""),
        )

    def empty_inbox(self, folder: Path) -> None:
        _expect(not self._player(folder).fetch(), "a fresh client has messages")

    def key_request(self, folder: Path) -> None:
        alice, bob = self._player(folder), self._player(folder)
        message_id = alice.account.request_key(bob.client_id)
        [request] = _only(KeyRequested, bob.fetch(), 1)
        _expect((request.sender, request.name) == (alice.client_id.hex(), alice.name), "another sender")
        _expect(request.message_id == message_id, "the id differs from the one that the sender was told")

    def key_exchange(self, folder: Path) -> None:
        self._pair(folder)

    def crossed_keys(self, folder: Path) -> None:
        alice, bob = self._player(folder), self._player(folder)
        alice.account.send_key(bob.client_id)
        bob.account.send_key(alice.client_id)
        for player in (alice, bob):
            _only(KeyReceived, player.fetch(), 1)
        self._exchange_texts(alice, bob, ("after crossing",))

    def texts(self, folder: Path) -> None:
        alice, bob = self._pair(folder)
        self._exchange_texts(alice, bob, TEXTS)

    def order(self, folder: Path) -> None:
        alice, bob = self._pair(folder)
        sent = [alice.account.send_text(bob.client_id, f"number {number}") for number in range(20)]
        texts = _only(TextReceived, bob.fetch(), 20)
        _expect([text.message_id for text in texts] == sent, "the ids differ, or their order")
        _expect(sent == sorted(set(sent)), "the ids do not rise")
        _expect([text.text for text in texts] == [f"number {number}" for number in range(20)], "wrong order")

    def files(self, folder: Path) -> None:
        alice, bob = self._pair(folder)
        for sender, reader in ((alice, bob), (bob, alice)):
            contents = [secrets.token_bytes(size) for size in FILE_SIZES]
            for content in contents:
                sender.account.send_file(reader.client_id, io.BytesIO(content), len(content))
            files = _only(FileReceived, reader.fetch(), len(contents))
            _expect([Path(file.path).read_bytes() for file in files] == contents, "a file differs")

    def to_oneself(self, folder: Path) -> None:
        alice = self._player(folder)
        alice.account.send_key(alice.client_id)
        alice.account.send_text(alice.client_id, "to me")
        key, text = _count(alice.fetch(), 2)
        _only(KeyReceived, [key], 1)
        _expect(_only(TextReceived, [text], 1)[0].text == "to me", "the text differs")

    def damaged(self, folder: Path) -> None:
        alice, bob = self._pair(folder)
        alice.account.send_text(bob.client_id, "before")
        self._client.send_message(alice.client_id, bob.client_id, MessageType.TEXT, b"not a whole block")
        alice.account.send_text(bob.client_id, "after")
        before, damaged, after = _count(bob.fetch(), 3)
        texts = [text.text for text in _only(TextReceived, [before, after], 2)]
        _expect(texts == ["before", "after"], "a text beside the damaged one differs")
        _only(NotOpened, [damaged], 1)

    def fetched_is_gone(self, folder: Path) -> None:
        alice, bob = self._player(folder), self._player(folder)
        alice.account.request_key(bob.client_id)
        _count(bob.fetch(), 1)
        again = (self._client.fetch(bob.client_id, _Nowhere()) for _ in range(FETCHES_UNTIL_GONE))
        _expect(not all(again), "the server goes on showing it")

    def _player(self, folder: Path) -> Player:
        name = f"test-{secrets.token_hex(8)}"
        home = folder / name
        home.mkdir()
        register(Profile(home), self._client, name)
        return Player(Account(Profile(home), self._client), home, name)

    def _pair(self, folder: Path) -> tuple[Player, Player]:
        """Two clients that have agreed on a key."""
        alice, bob = self._player(folder), self._player(folder)
        alice.account.send_key(bob.client_id)
        _only(KeyReceived, bob.fetch(), 1)
        self._exchange_texts(alice, bob, ("under the new key",))
        return alice, bob

    @staticmethod
    def _exchange_texts(alice: Player, bob: Player, texts: tuple[str, ...]) -> None:
        for sender, reader in ((alice, bob), (bob, alice)):
            for text in texts:
                sender.account.send_text(reader.client_id, text)
            arrived = _only(TextReceived, reader.fetch(), len(texts))
            _expect(tuple(text.text for text in arrived) == texts, "a text differs")

    @staticmethod
    def _expect_refused(what: str, request: Callable[[], object]) -> None:
        try:
            request()
        except Refused:
            return
        raise Failed(f"the server allowed it: {what}")


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Failed(otherwise)


def _count(received: list[Received], count: int) -> list[Received]:
    _expect(len(received) == count, f"{len(received)} messages came instead of {count}")
    return received


def _only(kind: type[R], received: list[Received], count: int) -> list[R]:
    found = [item for item in _count(received, count) if isinstance(item, kind)]
    _expect(len(found) == count, "a message came as something else than it was sent")
    return found
