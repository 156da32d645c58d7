"""The keys that others need to write to a device."""

from __future__ import annotations

import asyncio

from hushpost.crypto.identity import Manifest
from hushpost.crypto.prekeys import Owner, PrekeyCheck
from hushpost.errors import UnknownAccount
from hushpost.ids import AccountId, DeviceId, TokenHash
from hushpost.server.handlers.offered import session_keys
from hushpost.server.handlers.waiting import waiting
from hushpost.server.office import Office
from hushpost.server.peer import Peer
from hushpost.server.refusals import BUSY_SECONDS, Refusal
from hushpost.stores.base import KeyState, KeyUpdate, PostOffice, SealKey, SealKeys
from hushpost.wire.limits import MAX_MANIFESTS
from hushpost.wire.messages import (
    DeviceKeys,
    ErrorCode,
    GetKeys,
    Keys,
    KeysPublished,
    PublishKeys,
    RetiredSeal,
)

ATTEMPTS = 3
"""To read manifests and keys that belong together, while somebody changes them."""


@waiting
async def get(office: Office, peer: Peer, request: GetKeys) -> Keys:
    """One-time keys are handed out last, and only with an answer that needs no second request."""
    peer.require_listed()
    store = office.store
    office.budgets.lookups.take(peer.account)  # whatever is wanted besides: names are guessed with anything
    account = await _find(store, request)
    for _ in range(ATTEMPTS):
        manifests = await store.manifests(account, request.known_version, MAX_MANIFESTS)
        seals = await store.seal_keys(account)
        newest = request.known_version + len(manifests)
        if newest < seals.version and len(manifests) == MAX_MANIFESTS:
            return Keys(request.number, account, manifests, [], more=True)
        if newest >= seals.version:
            takes = [DeviceId(each) for each in request.want_sessions if DeviceId(each) in seals.keys]
            sessions = await _session_keys(office, peer, account, takes) if takes else {}
            devices = _device_keys(seals, sessions)
            return Keys(request.number, account, manifests, devices)
    raise Refusal(ErrorCode.UNAVAILABLE, retry_after=BUSY_SECONDS)


async def _find(store: PostOffice, request: GetKeys) -> AccountId:
    if request.account:
        return AccountId(request.account)
    found = await store.account_named(request.name)
    if found is None:
        raise UnknownAccount("no account of this name")
    return found.id


async def _session_keys(
    office: Office, peer: Peer, account: AccountId, devices: list[DeviceId]
) -> dict[DeviceId, bytes]:
    """Where too many have been handed out to everybody, the fallback keys: a refusal would let some accounts
    keep all others from writing to this one.
    """
    office.budgets.prekeys.take(peer.account + account)
    try:
        office.budgets.prekeys_of_one.take(account)
    except Refusal:
        return await office.store.fallback_keys(account, devices)
    return await office.store.take_session_keys(account, devices)


def _device_keys(seals: SealKeys, sessions: dict[DeviceId, bytes]) -> list[DeviceKeys]:
    """Devices that have published nothing yet are left out: nobody can write to them."""
    return [DeviceKeys(device, seal.signed, sessions.get(device, b"")) for device, seal in seals.keys.items()]


@waiting
async def publish(office: Office, peer: Peer, request: PublishKeys) -> KeysPublished:
    peer.require_listed()
    office.budgets.publications.take(peer.account)
    manifest = await newest_manifest(office.store, peer.account)
    device = manifest.device(peer.device)
    if device is None:
        raise Refusal(ErrorCode.DENIED)
    check = PrekeyCheck(Owner(peer.account, device), int(office.clock()))
    upload = await asyncio.to_thread(
        check.upload, request.one_time_keys, request.fallback_key, request.seal_key
    )
    update = KeyUpdate(
        session_keys(upload),
        request.replace_all,
        request.fallback_key or None,
        SealKey(upload.seal.key_id, request.seal_key) if upload.seal else None,
        TokenHash(request.delivery_token_hash) if request.delivery_token_hash else None,
    )
    return _published(request.number, await office.store.publish(peer.device, update))


def _published(number: int, state: KeyState) -> KeysPublished:
    retired = [RetiredSeal(each.id, each.up_to) for each in state.retired]
    return KeysPublished(number, state.one_time_keys, retired)


async def newest_manifest(store: PostOffice, account: AccountId) -> Manifest:
    """Raises:
    UnknownAccount.
    """
    version = (await store.devices(account)).version
    return Manifest.decode((await store.manifests(account, version - 1, MAX_MANIFESTS))[-1])
