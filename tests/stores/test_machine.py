"""SQLite against the reference implementation, in any order of operations that Hypothesis can think of."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hushpost.errors import StoreError
from hushpost.ids import AccountId, BlobId, EnvelopeId, MailboxId
from hushpost.stores.base import Account, Attachment, Delivery, Send, Store, StoreLimits, Usage

from .conftest import NOW, World, close_world, open_world

LIMITS = StoreLimits(mailbox_count=6, mailbox_bytes=120, total_bytes=300, min_free_bytes=0)

BOXES = [MailboxId(bytes([k]) * 16) for k in range(4)]
IDS = [EnvelopeId.at(NOW) for _ in range(3)] + [None]

boxes = st.sampled_from([*BOXES, MailboxId(b"?" * 16)])
sends = st.builds(
    lambda chosen, header, body, envelope: Send(
        tuple(Delivery(box, header) for box in chosen), body, envelope
    ),
    st.lists(boxes, min_size=1, max_size=3, unique=True),
    st.binary(max_size=3),
    st.sampled_from([b"", b"body", b"x" * 20]),
    st.sampled_from(IDS),
)


def _usage(box: MailboxId, store: Store) -> Awaitable[Usage]:
    return store.usage(box)


class BothStores(RuleBasedStateMachine):
    """Each rule does the same to both; answers and refusals must be equal."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="hush-test-"))
        self.worlds: list[World] = []

    @initialize()
    def begin(self) -> None:
        self.worlds = [self.loop.run_until_complete(open_world("memory", self.folder, LIMITS))]
        self._open_sqlite()
        for k, box in enumerate(BOXES[:3]):
            self._both(self._registering(Account(AccountId(bytes([k]) * 16), f"{k}", b""), box))

    def _open_sqlite(self) -> None:
        self.worlds[1:] = [self.loop.run_until_complete(open_world("sqlite", self.folder, LIMITS))]

    def _both(self, action: Callable[[Store], Awaitable[Any]]) -> None:
        async def attempt(store: Store) -> object:
            try:
                return await action(store)
            except StoreError as refused:
                return type(refused)

        memory, sqlite = (self.loop.run_until_complete(attempt(world.store)) for world in self.worlds)
        assert memory == sqlite

    @staticmethod
    def _registering(account: Account, box: MailboxId) -> Callable[[Store], Awaitable[None]]:
        return lambda store: store.register(account, box)

    @rule(which=st.integers(2, 4), name=st.sampled_from("0123"), box=st.sampled_from(BOXES))
    def register(self, which: int, name: str, box: MailboxId) -> None:
        self._both(self._registering(Account(AccountId(bytes([which]) * 16), name, b""), box))

    @rule(send=sends)
    def append(self, send: Send) -> None:
        self._both(lambda store: store.append(send))

    @rule(some=st.lists(sends, min_size=2, max_size=6))
    def append_at_once(self, some: list[Send]) -> None:
        async def all_of_them(store: Store) -> list[object]:
            answers = await asyncio.gather(*map(store.append, some), return_exceptions=True)
            return [type(answer) if isinstance(answer, BaseException) else answer for answer in answers]

        self._both(all_of_them)

    @rule(box=boxes, size=st.integers(0, 30))
    def append_attachment(self, box: MailboxId, size: int) -> None:
        send = Send((Delivery(box, b"h"),), b"", None, Attachment(BlobId.random(), size))
        self._both(lambda store: store.append(send))

    @rule(box=boxes, sequences=st.lists(st.integers(0, 40), max_size=6))
    def ack(self, box: MailboxId, sequences: list[int]) -> None:
        self._both(lambda store: store.ack(box, sequences))

    @rule(box=boxes, sequence=st.integers(0, 40))
    def ack_up_to(self, box: MailboxId, sequence: int) -> None:
        self._both(lambda store: store.ack_up_to(box, sequence))

    @rule(box=boxes, after=st.integers(0, 40), count=st.integers(0, 5), size=st.integers(0, 60))
    def read(self, box: MailboxId, after: int, count: int, size: int) -> None:
        self._both(lambda store: store.read(box, after=after, max_count=count, max_bytes=size))

    @rule(box=boxes, size=st.integers(0, 150), overhead=st.integers(0, 25))
    def extent(self, box: MailboxId, size: int, overhead: int) -> None:
        self._both(lambda store: store.extent(box, max_size=size, overhead=overhead))

    @rule(box=boxes, size=st.integers(0, 150))
    def admit(self, box: MailboxId, size: int) -> None:
        self._both(lambda store: store.admit(box, size))

    @rule()
    def reopen(self) -> None:
        epoch = self.worlds[1].store.epoch
        self.loop.run_until_complete(close_world(self.worlds[1]))
        self._open_sqlite()
        assert self.worlds[1].store.epoch == epoch

    @invariant()
    def the_same_waits(self) -> None:
        if self.worlds:
            self._both(lambda store: store.accounts_page(0, 10, 10))
            for box in BOXES:
                self._both(partial(_usage, box))

    def teardown(self) -> None:
        for world in self.worlds:
            self.loop.run_until_complete(close_world(world))
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)


TestBothStores = BothStores.TestCase
TestBothStores.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
