"""A registration that is a recovery: the account exists, and its recovery key puts this device in place.

Nobody is authenticated here, so nothing is told to anybody whose manifest the account's own recovery key has
not signed. Normative text: docs/spec/delivery.md, "Accounts".
"""

from __future__ import annotations

import asyncio

from hushpost.crypto.identity import Manifest, SignedBy, verify_chain
from hushpost.crypto.prekeys import Owner, PrekeyCheck, Upload
from hushpost.errors import StaleManifest, UnknownAccount
from hushpost.ids import AccountId, TokenHash
from hushpost.server.office import Office
from hushpost.server.refusals import Refusal
from hushpost.stores.base import KeyUpdate, PostOffice, SealKey, SessionKey
from hushpost.wire.messages import ErrorCode, Register, Registered


async def recover(office: Office, request: Register, offered: Manifest) -> Registered:
    """Append the manifest, then take in the keys. A repeat, which changes nothing, completes what broke.

    Raises:
        StaleManifest: it does not follow the newest one; carries that.
        Refusal: DENIED: no such account, or another recovery key; MALFORMED.
        ManifestError, PrekeyError.
    """
    store, account = office.store, offered.account.id
    present = await _present(store, account)
    genuine = offered.signed_by is SignedBy.RECOVERY_KEY and offered.is_signed(present.recovery_key)
    if not genuine or offered.account != present.account:
        raise Refusal(ErrorCode.DENIED)
    if len(offered.devices) != 1:
        raise Refusal(ErrorCode.MALFORMED)
    (device,) = offered.devices
    if request.manifest != present.encode():
        if offered.version != present.version + 1 or offered.previous != present.hash:
            raise StaleManifest("this manifest is not the next one", manifest=present.encode())
        await asyncio.to_thread(verify_chain, present, [request.manifest])
    check = PrekeyCheck(Owner(account, device), int(office.clock()))
    upload = await asyncio.to_thread(
        check.upload, request.one_time_keys, request.fallback_key, request.seal_key
    )
    await store.put_manifest(account, offered.version, request.manifest, [device.id])
    office.peers.list_only(account, [device.id])
    await store.publish(device.id, _update(request, upload))
    return Registered(request.number, bytes(account))


def _update(request: Register, upload: Upload) -> KeyUpdate:
    if upload.seal is None:
        raise Refusal(ErrorCode.MALFORMED)
    return KeyUpdate(
        tuple(SessionKey(key.key_id, key.encode()) for key in upload.one_time),
        False,
        request.fallback_key,
        SealKey(upload.seal.key_id, request.seal_key),
        TokenHash(request.delivery_token_hash),
    )


async def _present(store: PostOffice, account: AccountId) -> Manifest:
    try:
        newest = (await store.devices(account)).version
        (raw,) = await store.manifests(account, newest - 1, 1)
    except UnknownAccount:
        raise Refusal(ErrorCode.DENIED) from None
    return Manifest.decode(raw)
