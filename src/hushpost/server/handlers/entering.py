"""Who somebody is: hello, registration, authentication. Normative text: docs/spec/auth.md."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import sha256

from hushpost.crypto.identity import ClientNonce, Login, Manifest, ServerNonce, Signature, verify_chain
from hushpost.crypto.identity import Device as ListedDevice
from hushpost.errors import UnknownAccount
from hushpost.ids import AccountId, DeviceId, TokenHash
from hushpost.server.handlers.offered import new_account
from hushpost.server.handlers.recovering import recover
from hushpost.server.handlers.waiting import waiting
from hushpost.server.office import Admission, Office
from hushpost.server.peer import Greeting, Guest, Peer
from hushpost.server.refusals import Refusal
from hushpost.stores.base import NewAccount, PostOffice, mailbox_of
from hushpost.wire.messages import (
    Authenticate,
    Authenticated,
    ErrorCode,
    Hello,
    HelloAnswer,
    Register,
    Registered,
)


def hello(office: Office, guest: Guest, request: Hello) -> HelloAnswer:
    office.budgets.entering.take(guest.origin)
    nonce = ServerNonce.random()
    guest.greet(Greeting(nonce, ClientNonce(request.client_nonce), office.loop.time()))
    statement = guest.shown.statement.encode()
    now = int(office.clock())
    return HelloAnswer(request.number, nonce, now, office.store.epoch, statement, [], office.told)


@waiting
async def register(office: Office, guest: Guest, request: Register) -> Registered:
    """Everything is checked before the store is asked; the store looks at the invitation first."""
    office.budgets.registrations.take(guest.origin)
    offered = Manifest.decode(request.manifest)
    if offered.version > 1:
        return await recover(office, request, offered)
    if not request.invite and not office.settings.open:
        raise Refusal(ErrorCode.INVITE_INVALID)
    invitation = TokenHash(sha256(request.invite).digest()) if request.invite else None
    now = int(office.clock())
    account = await asyncio.to_thread(_checked_account, request, now)
    await office.store.enroll(account, invitation)
    return Registered(request.number, account.id)


def _checked_account(request: Register, now: int) -> NewAccount:
    manifest = verify_chain(Manifest.decode(request.manifest).account, [request.manifest]).newest
    return new_account(request, manifest, now)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A device as a manifest lists it; `listed`: the newest one does."""

    device: ListedDevice
    listed: bool


@waiting
async def authenticate(office: Office, guest: Guest, request: Authenticate) -> Admission:
    """Every refusal is the same: nobody learns which of account, device and signature was wrong."""
    greeting = guest.take_greeting(office.loop.time())
    account, device = AccountId(request.account), DeviceId(request.device)
    login = Login(
        guest.shown.server,
        guest.shown.certificate,
        greeting.server_nonce,
        greeting.client_nonce,
        account,
        device,
    )
    peers = office.peers
    while True:
        changes = peers.changes
        entry = await _entry(office.store, account, device)
        if not login.is_signed(entry.device.signing_key, Signature(request.signature)):
            raise Refusal(ErrorCode.DENIED)
        position = await office.store.position(mailbox_of(device))
        one_time = (await office.store.key_state(device)).one_time_keys if entry.listed else 0
        if changes == peers.changes:  # else the device may have been removed meanwhile
            break
    answer = Authenticated(request.number, position.acknowledged, position.highest, one_time)
    peer = Peer(guest.outlet, account, device, listed=entry.listed)
    peers.add(peer)  # before anything can change again; who is not admitted after all is removed
    return Admission(answer, peer)


async def _entry(store: PostOffice, account: AccountId, device: DeviceId) -> _Entry:
    """The device in the newest manifest that lists it. That is one to read, whoever asks: a guest must not
    be able to have a long chain read by a guess.

    Raises:
        Refusal: DENIED.
    """
    found = await store.device(device)
    if found is None or found.account != account:
        raise Refusal(ErrorCode.DENIED)
    try:
        (raw,) = await store.manifests(account, found.version - 1, 1)
    except UnknownAccount:
        raise Refusal(ErrorCode.DENIED) from None
    entry = Manifest.decode(raw).device(device)
    if entry is None:
        raise Refusal(ErrorCode.DENIED)
    return _Entry(entry, found.listed)
