"""Accounts: the directory, changes of devices, what is stored, leaving."""

from __future__ import annotations

import asyncio

from hushpost.crypto.identity import Manifest, verify_chain
from hushpost.errors import StaleManifest
from hushpost.server.handlers.keys import newest_manifest
from hushpost.server.handlers.waiting import waiting
from hushpost.server.office import Office
from hushpost.server.peer import Peer
from hushpost.server.refusals import Refusal
from hushpost.settings import DirectoryPolicy
from hushpost.wire.limits import MAX_DIRECTORY_PAGE
from hushpost.wire.messages import (
    Accounts,
    ErrorCode,
    GetUsage,
    Leave,
    Left,
    ListAccounts,
    ListedAccount,
    ManifestPut,
    PutManifest,
    UsageAnswer,
)


@waiting
async def list_accounts(office: Office, peer: Peer, request: ListAccounts) -> Accounts:
    peer.require_listed()
    if office.settings.directory is DirectoryPolicy.CLOSED:
        raise Refusal(ErrorCode.DENIED)
    office.budgets.listings.take(peer.account)
    limit = min(max(request.limit, 1), MAX_DIRECTORY_PAGE)
    found = await office.store.accounts_by_name(request.prefix, request.after, limit + 1)
    listed = [ListedAccount(each.id, each.name) for each in found[:limit]]
    return Accounts(request.number, listed, len(found) > limit)


@waiting
async def put_manifest(office: Office, peer: Peer, request: PutManifest) -> ManifestPut:
    peer.require_listed()
    office.budgets.manifests.take(peer.account)
    present = await newest_manifest(office.store, peer.account)
    if request.manifest == present.encode():
        return ManifestPut(request.number)
    offered = Manifest.decode(request.manifest)
    if offered.version != present.version + 1:
        raise StaleManifest("this manifest is not the next one", manifest=present.encode())
    await asyncio.to_thread(verify_chain, present, [request.manifest])
    devices = [device.id for device in offered.devices]
    await office.store.put_manifest(peer.account, offered.version, request.manifest, devices)
    office.peers.list_only(peer.account, devices)
    return ManifestPut(request.number)


@waiting
async def usage(office: Office, peer: Peer, request: GetUsage) -> UsageAnswer:
    """What the store holds, and what this process knows beyond it."""
    office.budgets.questions.take(peer.account)
    facts = await office.store.account_usage(peer.account)
    connections = len(office.peers.of(peer.account))
    return UsageAnswer(request.number, {**facts, "open-connections": str(connections)})


@waiting
async def leave(office: Office, peer: Peer, request: Leave) -> Left:
    peer.require_listed()
    office.budgets.questions.take(peer.account)
    if request.account != peer.account:
        raise Refusal(ErrorCode.DENIED)
    await office.store.leave(peer.account)
    office.peers.dismiss(peer.account, except_for=peer)
    return Left(request.number)
