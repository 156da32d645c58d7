"""What a device offers to be kept: keys and manifests, checked, as the store takes them."""

from __future__ import annotations

from hushpost.crypto.identity import Manifest
from hushpost.crypto.prekeys import Owner, PrekeyCheck, Upload
from hushpost.ids import TokenHash
from hushpost.server.refusals import Refusal
from hushpost.stores.base import NewAccount, SealKey, SessionKey
from hushpost.wire.messages import ErrorCode, Register


def new_account(request: Register, manifest: Manifest, now: int) -> NewAccount:
    """A device alone with all its keys. The manifest is that of the request, and verified.

    A hundred signatures: 10 ms, in a thread.

    Raises:
        Refusal: MALFORMED: another number of devices, or no seal key.
        PrekeyError.
    """
    if len(manifest.devices) != 1:
        raise Refusal(ErrorCode.MALFORMED)
    (device,) = manifest.devices
    check = PrekeyCheck(Owner(manifest.account.id, device), now)
    upload = check.upload(request.one_time_keys, request.fallback_key, request.seal_key)
    if upload.seal is None:
        raise Refusal(ErrorCode.MALFORMED)
    return NewAccount(
        manifest.account.id,
        manifest.name,
        request.manifest,
        device.id,
        SealKey(upload.seal.key_id, request.seal_key),
        session_keys(upload),
        request.fallback_key,
        TokenHash(request.delivery_token_hash),
    )


def session_keys(upload: Upload) -> tuple[SessionKey, ...]:
    """One-time keys as the store takes them."""
    return tuple(SessionKey(key.key_id, key.encode()) for key in upload.one_time)
