"""A registration that is a recovery: the account exists, and its recovery key puts this device in place.

Nobody is authenticated here, so nothing is told to anybody whose manifest the account's own recovery key has
not signed. Normative text: docs/spec/delivery.md, "Accounts".
"""

from __future__ import annotations

import asyncio

from hushpost.crypto.identity import Manifest, SignedBy, verify_chain
from hushpost.errors import StaleManifest, UnknownAccount
from hushpost.ids import AccountId
from hushpost.server.handlers.offered import new_account
from hushpost.server.office import Office
from hushpost.server.refusals import Refusal
from hushpost.stores.base import PostOffice
from hushpost.wire.messages import ErrorCode, Register, Registered


async def recover(office: Office, request: Register, offered: Manifest) -> Registered:
    """Put the device in place, with its keys, if it is not. A repeat changes nothing.

    It must not: whoever asked for the account's keys can repeat all of the request that is signed, and the
    delivery token is not.

    Raises:
        StaleManifest: it does not follow the newest one; carries that.
        Refusal: DENIED: no such account, or another recovery key; MALFORMED.
        ManifestError, PrekeyError.
        IdTaken: the device was listed before.
    """
    store, account = office.store, offered.account.id
    present = await _present(store, account)
    genuine = offered.signed_by is SignedBy.RECOVERY_KEY and offered.is_signed(present.recovery_key)
    if not genuine or offered.account != present.account:
        raise Refusal(ErrorCode.DENIED)
    if request.manifest == present.encode():
        return Registered(request.number, bytes(account))
    if offered.version != present.version + 1 or offered.previous != present.hash:
        raise StaleManifest("this manifest is not the next one", manifest=present.encode())
    await asyncio.to_thread(verify_chain, present, [request.manifest])
    new = await asyncio.to_thread(new_account, request, offered, int(office.clock()))
    await store.recover(new, offered.version)
    office.peers.list_only(account, [new.device])
    return Registered(request.number, bytes(account))


async def _present(store: PostOffice, account: AccountId) -> Manifest:
    try:
        newest = (await store.devices(account)).version
        (raw,) = await store.manifests(account, newest - 1, 1)
    except UnknownAccount:
        raise Refusal(ErrorCode.DENIED) from None
    return Manifest.decode(raw)
