"""The reference implementation of `base.PostOffice`: the guarantees in their plainest form, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hushpost.errors import (
    IdTaken,
    InviteInvalid,
    StaleDevices,
    StaleManifest,
    StaleSeal,
    StoreError,
    UnknownAccount,
)
from hushpost.ids import AccountId, DeviceId, MailboxId, TokenHash
from hushpost.stores import rules
from hushpost.stores.base import (
    Account,
    Answer,
    Blobs,
    Device,
    DeviceList,
    Envelope,
    Invitation,
    KeyState,
    KeyUpdate,
    NewAccount,
    Position,
    SealedSend,
    SealKeys,
    SessionKey,
    Stats,
    StoreLimits,
    Usage,
    mailbox_of,
)
from hushpost.stores.memory import MemoryMailbox, MemoryStore
from hushpost.stores.post.holdings import Holdings
from hushpost.stores.post.memorykeys import MemoryDevice
from hushpost.stores.post.memoryparts import MemoryParts
from hushpost.stores.post.waking import Wakeups


@dataclass(slots=True)
class _Member:
    token_hash: TokenHash
    manifests: list[bytes]
    devices: frozenset[DeviceId]


class MemoryPost(MemoryStore):
    """`base.PostOffice` in memory. To be made inside the running event loop that uses it."""

    def __init__(
        self, blobs: Blobs, limits: StoreLimits | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(blobs, limits, clock)
        self._invitations: dict[TokenHash, Invitation] = {}
        self._members: dict[AccountId, _Member] = {}
        self._devices: dict[DeviceId, MemoryDevice] = {}
        self._wakeups = Wakeups()
        self.parts = MemoryParts(self._limits, self._check_account)
        self._seconds = 0
        self._hours: list[tuple[int, int]] = []

    # Invitations

    async def invite(self, invitation: Invitation) -> None:
        self._check_open()
        rules.check_uses(invitation)
        if invitation.token_hash in self._invitations:
            raise IdTaken("there is such an invitation")
        self._invitations[invitation.token_hash] = invitation

    async def revoke(self, token_hash: TokenHash) -> bool:
        self._check_open()
        return self._invitations.pop(token_hash, None) is not None

    async def invitations(self) -> list[Invitation]:
        good = [each for each in self._invitations.values() if each.expires > self._clock()]
        return sorted(good, key=lambda each: (each.expires, each.token_hash))

    def _used(self, token_hash: TokenHash) -> Invitation:
        """The invitation with one use less."""
        found = self._invitations.get(token_hash)
        if found is None or found.expires <= self._clock():
            raise InviteInvalid("this invitation is not good any more", hint="ask for another one")
        return Invitation(token_hash, found.uses - 1, found.expires)

    # Accounts

    async def enroll(self, account: NewAccount, invitation: TokenHash | None) -> None:
        rules.check_key_ids(account.one_time_keys, account.seal_key)
        self._check_open()
        known = self._members.get(account.id)
        if known and known.manifests == [account.manifest] and self._by_id[account.id].name == account.name:
            return
        used = self._used(invitation) if invitation else None
        keys = rules.new_keys(-1, 0, account.one_time_keys)
        self._register(Account(account.id, account.name, b""), mailbox_of(account.device))
        self._members[account.id] = _Member(
            account.token_hash, [account.manifest], frozenset([account.device])
        )
        self._put_device(account, keys)
        if used and used.uses:
            self._invitations[used.token_hash] = used
        elif used:
            del self._invitations[used.token_hash]

    def _put_device(self, account: NewAccount, keys: Sequence[SessionKey]) -> None:
        device = self._devices[account.device] = MemoryDevice(account.id, seal_key=account.seal_key)
        device.fallback_key = account.fallback_key
        device.add_keys(keys)

    async def account_named(self, name: str) -> Account | None:
        return next((each for each in self._by_id.values() if each.name == name), None)

    async def accounts_by_name(self, prefix: str, after: str, limit: int) -> list[Account]:
        found = [each for each in self._by_id.values() if each.name.startswith(prefix) and each.name > after]
        return sorted(found, key=lambda each: each.name)[:limit]

    async def manifests(self, account: AccountId, after: int, limit: int) -> list[bytes]:
        return self._member(account).manifests[after : after + limit]

    async def put_manifest(
        self, account: AccountId, version: int, manifest: bytes, devices: Sequence[DeviceId]
    ) -> None:
        member = self._member(account)
        if self._is_next(member, version, manifest, recovery=False):
            self._add_manifest(account, member, manifest, devices)

    async def recover(self, account: NewAccount, version: int) -> None:
        rules.check_key_ids(account.one_time_keys, account.seal_key)
        member = self._member(account.id)
        if not self._is_next(member, version, account.manifest, recovery=True):
            return
        keys = rules.new_keys(-1, 0, account.one_time_keys)
        if self._account_of(account.device) == account.id:
            raise IdTaken("a device of this id was listed before")
        self._add_manifest(account.id, member, account.manifest, [account.device])
        self._put_device(account, keys)
        member.token_hash = account.token_hash

    @staticmethod
    def _is_next(member: _Member, version: int, manifest: bytes, *, recovery: bool) -> bool:
        newest = len(member.manifests)
        if version == newest and manifest == member.manifests[-1]:
            return False
        if version != newest + 1:
            raise StaleManifest("this manifest is not the next one", manifest=member.manifests[-1])
        size = sum(map(len, member.manifests)) + len(manifest)
        rules.check_manifests(version, size, recovery=recovery)
        return True

    def _add_manifest(
        self, account: AccountId, member: _Member, manifest: bytes, devices: Sequence[DeviceId]
    ) -> None:
        added = set(devices) - member.devices
        if any(mailbox_of(device) in self._mailboxes for device in added):
            raise IdTaken("a device of this id was listed before")
        rules.check_total(self._limits, self._total, 1)
        for device in member.devices.difference(devices):
            self._devices[device] = MemoryDevice(account, last_version=len(member.manifests))
        for device in added:
            self._devices[device] = MemoryDevice(account)
            self._mailboxes[mailbox_of(device)] = MemoryMailbox()
        member.manifests.append(manifest)
        member.devices = frozenset(devices)

    async def devices(self, account: AccountId) -> DeviceList:
        member = self._member(account)
        return DeviceList(len(member.manifests), member.devices)

    async def device(self, device: DeviceId) -> Device | None:
        self._check_open()
        found = self._devices.get(device)
        if found is None:
            return None
        version = found.last_version or len(self._members[found.account].manifests)
        return Device(found.account, found.listed, version)

    # Keys

    async def publish(self, device: DeviceId, update: KeyUpdate) -> KeyState:
        rules.check_key_ids(update.one_time_keys, update.seal_key)
        found = self._listed(device)
        rules.check_total(self._limits, self._total, 1)
        kept = [] if update.replace_all else found.one_time_keys
        fresh = rules.new_keys(found.last_one_time_id, len(kept), update.one_time_keys)
        if update.seal_key is not None:
            highest = self._mailboxes[mailbox_of(device)].highest
            found.rotate(device, update.seal_key, highest, self._clock())
        found.one_time_keys = list(kept)
        found.add_keys(fresh)
        if update.fallback_key is not None:
            found.fallback_key = update.fallback_key
        if update.token_hash is not None:
            self._members[found.account].token_hash = update.token_hash
        return found.key_state(self._clock())

    async def key_state(self, device: DeviceId) -> KeyState:
        return self._listed(device).key_state(self._clock())

    async def seal_keys(self, account: AccountId) -> SealKeys:
        member = self._member(account)
        keys = {device: self._devices[device].seal_key for device in member.devices}
        return SealKeys(len(member.manifests), {device: key for device, key in keys.items() if key})

    async def take_session_keys(
        self, account: AccountId, devices: Sequence[DeviceId]
    ) -> dict[DeviceId, bytes]:
        member = self._member(account)
        taken: dict[DeviceId, bytes] = {}
        for device in dict.fromkeys(devices):
            found = self._devices[device] if device in member.devices else None
            if found and found.one_time_keys:
                taken[device] = found.one_time_keys.pop(0).signed
            elif found and found.fallback_key is not None:
                taken[device] = found.fallback_key
        return taken

    async def fallback_keys(self, account: AccountId, devices: Sequence[DeviceId]) -> dict[DeviceId, bytes]:
        wanted = self._member(account).devices.intersection(devices)
        keys = {device: self._devices[device].fallback_key for device in wanted}
        return {device: key for device, key in keys.items() if key is not None}

    # Sealed post

    def append_sealed(self, send: SealedSend) -> Answer[tuple[int, ...]]:
        rules.check_sealed_shape(send)
        answer: Answer[tuple[int, ...]] = Answer(loop=self._loop)
        try:
            answer.set_result(self._append_sealed(send))
        except StoreError as refused:
            answer.set_exception(refused)
        return answer

    def _append_sealed(self, send: SealedSend) -> tuple[int, ...]:
        member = self._member(send.account)
        rules.check_age(send.envelope, self._clock())
        boxes = [mailbox_of(each.device) for each in send.deliveries]
        content = rules.fingerprint(send.body)
        if all(self._account_of(each.device) == send.account for each in send.deliveries):
            repeated = self._repeated(send.envelope, boxes, content)
            if repeated is not None:
                return repeated
        if {each.device for each in send.deliveries} != member.devices:
            raise StaleDevices("the account has other devices", manifest=member.manifests[-1])
        self._check_seals(send)
        request = rules.is_request(send.token_hash, member.token_hash)
        envelopes = [
            (
                box,
                Envelope(0, each.header, send.body, send.envelope, None, each.seal_key_id, request),
            )
            for box, each in zip(boxes, send.deliveries, strict=True)
        ]
        if request:
            for box, envelope in envelopes:
                rules.check_requests(self._requests(box), len(envelope.header) + len(envelope.body))
        self._check_room(envelopes)
        sequences = tuple([self._deliver(box, envelope, content) for box, envelope in envelopes])
        self._loop.call_soon(self._wakeups.stored, list(zip(boxes, sequences, strict=True)))
        return sequences

    def _account_of(self, device: DeviceId) -> AccountId | None:
        found = self._devices.get(device)
        return found.account if found else None

    def _check_seals(self, send: SealedSend) -> None:
        stale: dict[bytes, bytes | None] = {}
        for each in send.deliveries:
            key = self._devices[each.device].seal_key
            if key is None or key.id != each.seal_key_id:
                stale[each.device] = key.signed if key else None
        if stale:
            raise StaleSeal("sealed to a key that is not the present one", keys=stale)

    def _requests(self, mailbox: MailboxId) -> Usage:
        sizes = [
            len(envelope.header) + len(envelope.body)
            for envelope in self._mailboxes[mailbox].envelopes.values()
            if envelope.is_request
        ]
        return Usage(len(sizes), sum(sizes))

    async def position(self, mailbox: MailboxId) -> Position:
        box = self._mailbox(mailbox)
        return Position(box.acknowledged, box.highest)

    def subscribe(self, mailbox: MailboxId, wake: Callable[[int], None]) -> Callable[[], None]:
        return self._wakeups.subscribe(mailbox, wake)

    # Upkeep

    async def account_usage(self, account: AccountId) -> dict[str, str]:
        member = self._member(account)
        mine = {device: each for device, each in self._devices.items() if each.account == account}
        waiting = [self._mailboxes[mailbox_of(device)].usage for device in mine]
        requests = [self._requests(mailbox_of(device)) for device in mine]
        return Holdings(
            account=account,
            name=self._by_id[account].name,
            manifests=len(member.manifests),
            manifest_bytes=sum(map(len, member.manifests)),
            listed=len(member.devices),
            removed=len(mine) - len(member.devices),
            envelopes=sum(usage.count for usage in waiting),
            envelope_bytes=sum(usage.size for usage in waiting),
            requests=sum(usage.count for usage in requests),
            request_bytes=sum(usage.size for usage in requests),
            one_time_keys=sum(len(each.one_time_keys) for each in mine.values()),
            fallback_keys=sum(each.fallback_key is not None for each in mine.values()),
            seal_keys=sum(each.seal_key is not None for each in mine.values()),
            retired_seal_keys=sum(len(each.retired) for each in mine.values()),
            blob_days=len(self.parts.sums(account)),
            blob_bytes=sum(self.parts.sums(account).values()),
        ).facts()

    async def leave(self, account: AccountId) -> None:
        self._member(account)
        for device in [device for device, each in self._devices.items() if each.account == account]:
            box = mailbox_of(device)
            await self.ack(box, list(self._mailboxes[box].envelopes))
            del self._devices[device], self._mailboxes[box]
            # Kept by the durable store until they are stale; whoever lists the device again has none.
            self._seen = {key: record for key, record in self._seen.items() if key[1] != box}
        self.parts.forget_sums(account)
        del self._members[account], self._by_id[account]

    async def tidy(self, seconds: int) -> None:
        self._check_open()
        self._invitations = {each.token_hash: each for each in await self.invitations()}
        self._seconds += seconds
        self.parts.tidy(seconds)
        if not self._hours or self._seconds - self._hours[-1][0] >= rules.HOUR:
            self._hours.append((self._seconds, self._sequence))
        due = self._seconds - self._limits.waiting_seconds
        bound = max([last for since, last in self._hours if since <= due], default=0)
        for box in self._mailboxes.values():
            for sequence in [number for number in box.envelopes if number <= bound]:
                envelope = box.envelopes.pop(sequence)
                box.size -= len(envelope.header) + len(envelope.body)
                self._total -= len(envelope.header) + len(envelope.body)

    async def stats(self) -> Stats:
        self._check_open()
        usages = [box.usage for box in self._mailboxes.values()]
        return Stats(
            accounts=len(self._by_id),
            left=len(self._ids) - len(self._by_id),
            mailboxes=len(usages),
            envelopes=sum(usage.count for usage in usages),
            size=self._total,
            requests=sum(self._requests(mailbox).count for mailbox in self._mailboxes),
            one_time_keys=sum(len(each.one_time_keys) for each in self._devices.values()),
            invitations=len(await self.invitations()),
            blobs=self.parts.count,
            blob_bytes=self.parts.received,
            unfinished_blobs=self.parts.unfinished,
        )

    def _check_account(self, account: AccountId) -> None:
        self._member(account)

    def _member(self, account: AccountId) -> _Member:
        self._check_open()
        if account not in self._members:
            raise UnknownAccount("no such account")
        return self._members[account]

    def _listed(self, device: DeviceId) -> MemoryDevice:
        self._check_open()
        found = self._devices.get(device)
        if found is None or not found.listed:
            raise UnknownAccount("this device is not one of an account's")
        return found
