"""SQLite against the reference implementation, in any order of operations that Hypothesis can think of."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hushpost.errors import StoreError
from hushpost.ids import AccountId, DeviceId, EnvelopeId, TokenHash
from hushpost.stores.base import (
    Invitation,
    KeyUpdate,
    NewAccount,
    PostOffice,
    SealedDelivery,
    SealedSend,
    StoreLimits,
    mailbox_of,
)

from .conftest import NOW, World, open_world, seal_key, session_keys

LIMITS = StoreLimits(
    mailbox_count=6, mailbox_bytes=120, total_bytes=400, min_free_bytes=0, waiting_seconds=5_000
)

ACCOUNTS = [AccountId(bytes([k]) * 16) for k in range(3)]
DEVICES = [DeviceId(bytes([k]) * 16) for k in range(5)]
TOKENS = [TokenHash(bytes([k]) * 32) for k in range(2)]
IDS = [EnvelopeId.at(NOW + k) for k in range(4)]

accounts = st.sampled_from(ACCOUNTS)
devices = st.sampled_from(DEVICES)
some_devices = st.lists(devices, min_size=1, max_size=3, unique=True)
tokens = st.sampled_from(TOKENS)
seals = st.sampled_from([7, 7, 7, 8, 9])
keys = st.lists(st.integers(0, 6), max_size=3).map(lambda ids: session_keys(*ids))
sends = st.builds(
    lambda account, chosen, seal, envelope, body, token: SealedSend(
        account, envelope, tuple(SealedDelivery(each, seal, b"h") for each in chosen), body, token
    ),
    accounts,
    some_devices,
    seals,
    st.sampled_from(IDS) | st.builds(EnvelopeId.at, st.just(NOW)),
    st.sampled_from([b"", b"body", b"x" * 20]),
    st.sampled_from([TOKENS[0], TOKENS[0], TOKENS[1], None]),
)


class BothStores(RuleBasedStateMachine):
    """Each rule does the same to both; answers and refusals must be equal."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="hush-test-"))
        self.worlds: list[World] = []
        self.woken: list[list[int]] = [[], []]
        self.versions = dict.fromkeys(ACCOUNTS, 1)

    @initialize()
    def begin(self) -> None:
        self.worlds = [self.loop.run_until_complete(open_world("memory", self.folder, LIMITS))]
        self._open_sqlite()
        self._subscribe(0)
        for k in range(2):
            self.enroll(ACCOUNTS[k], DEVICES[k], "ab"[k], (), None)

    def _open_sqlite(self) -> None:
        world = self.loop.run_until_complete(open_world("sqlite", self.folder, LIMITS))
        world.clock.now = self.worlds[0].now
        self.worlds[1:] = [world]
        self._subscribe(1)

    def _subscribe(self, which: int) -> None:
        for device in DEVICES:
            self.worlds[which].store.subscribe(mailbox_of(device), self.woken[which].append)

    def _both(self, action: Callable[[PostOffice], Awaitable[Any]]) -> Any:
        async def attempt(store: PostOffice) -> object:
            try:
                answer = await action(store)
            except StoreError as refused:
                answer = type(refused), vars(refused)
            await asyncio.sleep(0)
            return answer

        memory, sqlite = (self.loop.run_until_complete(attempt(world.store)) for world in self.worlds)
        assert memory == sqlite
        return memory

    @rule(account=accounts, device=devices, name=st.sampled_from("abc"), keys=keys, token=st.none() | tokens)
    def enroll(
        self, account: AccountId, device: DeviceId, name: str, keys: Any, token: TokenHash | None
    ) -> None:
        new = NewAccount(account, name, b"1" + device, device, seal_key(7), keys, b"fallback", TOKENS[0])
        if self._both(lambda store: store.enroll(new, token)) is None:
            self.versions[account] = 1

    @rule(token=tokens, uses=st.integers(1, 2), life=st.integers(0, 5_000))
    def invite(self, token: TokenHash, uses: int, life: int) -> None:
        expires = int(self.worlds[0].now) + life
        self._both(lambda store: store.invite(Invitation(token, uses, expires)))

    @rule(token=tokens)
    def revoke(self, token: TokenHash) -> None:
        self._both(lambda store: store.revoke(token))

    @rule(account=accounts, chosen=some_devices, skip=st.sampled_from([1, 1, 1, 0, 2]))
    def put_manifest(self, account: AccountId, chosen: list[DeviceId], skip: int) -> None:
        version = self.versions[account] + skip
        manifest = b"%d" % version
        answer = self._both(lambda store: store.put_manifest(account, version, manifest, chosen))
        if answer is None:
            self.versions[account] = version

    @rule(account=accounts, device=devices, keys=keys, token=tokens, skip=st.sampled_from([1, 1, 0, 2]))
    def recover(self, account: AccountId, device: DeviceId, keys: Any, token: TokenHash, skip: int) -> None:
        version = self.versions[account] + skip
        new = NewAccount(account, "", b"%d" % version, device, seal_key(7), keys, b"recovered", token)
        if self._both(lambda store: store.recover(new, version)) is None:
            self.versions[account] = version

    @rule(
        device=devices,
        keys=keys,
        replace_all=st.booleans(),
        seal=st.none() | seals,
        token=st.none() | tokens,
        fallback=st.sampled_from([None, b"other"]),
    )
    def publish(
        self,
        *,
        device: DeviceId,
        keys: Any,
        replace_all: bool,
        seal: int | None,
        token: TokenHash | None,
        fallback: bytes | None,
    ) -> None:
        update = KeyUpdate(keys, replace_all, fallback, None if seal is None else seal_key(seal), token)
        self._both(lambda store: store.publish(device, update))

    @rule(account=accounts, chosen=some_devices)
    def take(self, account: AccountId, chosen: list[DeviceId]) -> None:
        self._both(lambda store: store.fallback_keys(account, chosen))
        self._both(lambda store: store.take_session_keys(account, chosen))

    @rule(send=sends)
    def append(self, send: SealedSend) -> None:
        self._both(lambda store: store.append_sealed(send))

    @rule(account=accounts, body=st.sampled_from([b"", b"body"]), envelope=st.sampled_from([*IDS, None]))
    def append_as_it_should_be(self, account: AccountId, body: bytes, envelope: EnvelopeId | None) -> None:
        """To exactly the devices and keys that are there."""

        async def deliveries() -> tuple[SealedDelivery, ...]:
            found = await self.worlds[0].store.seal_keys(account)
            return tuple(SealedDelivery(device, key.id, b"h") for device, key in sorted(found.keys.items()))

        try:
            chosen = self.loop.run_until_complete(deliveries())
        except StoreError:
            return
        send = SealedSend(account, envelope or EnvelopeId.at(NOW), chosen, body, TOKENS[0])
        if chosen:
            self._both(lambda store: store.append_sealed(send))

    @rule(some=st.lists(sends, min_size=2, max_size=9))
    def append_at_once(self, some: list[SealedSend]) -> None:
        async def all_of_them(store: PostOffice) -> list[object]:
            answers = await asyncio.gather(*map(store.append_sealed, some), return_exceptions=True)
            return [type(answer) if isinstance(answer, BaseException) else answer for answer in answers]

        self._both(all_of_them)

    @rule(device=devices, sequences=st.lists(st.integers(0, 40), max_size=6))
    def ack(self, device: DeviceId, sequences: list[int]) -> None:
        self._both(lambda store: store.ack(mailbox_of(device), sequences))

    @rule(device=devices, sequence=st.integers(0, 40))
    def ack_up_to(self, device: DeviceId, sequence: int) -> None:
        self._both(lambda store: store.ack_up_to(mailbox_of(device), sequence))

    @rule(account=accounts)
    def leave(self, account: AccountId) -> None:
        self._both(lambda store: store.leave(account))

    @rule(seconds=st.sampled_from([0, 100, 3_600, 6_000]))
    def tidy(self, seconds: int) -> None:
        self._both(lambda store: store.tidy(seconds))

    @rule(seconds=st.sampled_from([1, 3_600]))
    def let_time_pass(self, seconds: int) -> None:
        for world in self.worlds:
            world.now += seconds

    @rule()
    def reopen(self) -> None:
        epoch = self.worlds[1].store.epoch
        self.loop.run_until_complete(self.worlds[1].store.close())
        self._open_sqlite()
        assert self.worlds[1].store.epoch == epoch

    @invariant()
    def the_same_is_there(self) -> None:
        if self.worlds:
            self._both(self._everything)
            assert self.woken[0] == self.woken[1]

    @staticmethod
    async def _everything(store: PostOffice) -> list[object]:
        found: list[object] = [await store.stats(), await store.invitations()]
        found.append(await store.accounts_by_name("", "", 9))
        for account in ACCOUNTS:
            questions = [store.devices, store.seal_keys, store.account_usage]
            for question in questions:
                try:
                    found.append(await question(account))
                except StoreError as refused:
                    found.append(type(refused))
        for device in DEVICES:
            found.append(await store.device(device))
            box = mailbox_of(device)
            try:
                found.append(await store.read(box, after=0, max_count=50, max_bytes=1_000))
                found += [await store.usage(box), await store.position(box)]
                found.append(await store.key_state(device))
            except StoreError as refused:
                found.append(type(refused))
        return found

    def teardown(self) -> None:
        for world in self.worlds:
            self.loop.run_until_complete(world.store.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)


TestBothStores = BothStores.TestCase
TestBothStores.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
