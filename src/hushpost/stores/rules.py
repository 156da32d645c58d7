"""The rules of `base` that need no storage, shared by every implementation."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from hmac import compare_digest

from hushpost.errors import RequestsFull, StaleId, StaleSeal, StoreFull, TooManyKeys, TooManyManifests
from hushpost.ids import DeviceId, EnvelopeId, TokenHash
from hushpost.stores.base import (
    ID_MAX_AGE,
    ID_MAX_AHEAD,
    MANIFESTS_BYTES,
    MANIFESTS_COUNT,
    MAX_ONE_TIME_KEYS,
    RECOVERIES_COUNT,
    REQUESTS_BYTES,
    REQUESTS_COUNT,
    Attachment,
    Invitation,
    SealedSend,
    SealKey,
    Send,
    SessionKey,
    StoreLimits,
    Usage,
)

MAX_NUMBER = 2**63 - 1
"""The largest integer of a database."""

HOUR = 3_600
"""Seconds between two notes of how far the sequence numbers have come."""


def check_shape(send: Send) -> None:
    """Refuse a send that no caller may make.

    Raises:
        ValueError: no delivery, two into one mailbox, or an attachment with several deliveries.
    """
    if len(send.deliveries) == 1:
        return
    mailboxes = {delivery.mailbox for delivery in send.deliveries}
    if not mailboxes or len(mailboxes) != len(send.deliveries):
        raise ValueError("a send has one delivery for each of its mailboxes, and at least one")
    if send.attachment and len(mailboxes) > 1:
        raise ValueError("an attachment belongs to a single envelope")


def check_sealed_shape(send: SealedSend) -> None:
    """Refuse a sealed send that no caller may make.

    Raises:
        ValueError: no delivery, or two to one device.
    """
    if len(send.deliveries) == 1:
        return
    if not send.deliveries or len({each.device for each in send.deliveries}) != len(send.deliveries):
        raise ValueError("a sealed send has one delivery for each of its devices, and at least one")


def is_request(presented: TokenHash | None, expected: bytes) -> bool:
    """Whether it goes to the requests lane: no delivery token, or not the account's."""
    return presented is None or not compare_digest(presented, expected)


def check_requests(waiting: Usage, adding: int) -> None:
    """One more request of `adding` bytes must fit beside those that wait in its mailbox.

    Raises:
        RequestsFull.
    """
    if waiting.count >= REQUESTS_COUNT or waiting.size + adding > REQUESTS_BYTES:
        raise RequestsFull(
            "too many message requests wait there", hint="the recipient has to answer or block them"
        )


def new_keys(last: int, count: int, offered: Sequence[SessionKey]) -> list[SessionKey]:
    """Those of the one-time keys that were never taken in, in the order of their ids.

    Args:
        last: the highest id that was ever taken in.
        count: keys that are there, and stay.

    Raises:
        TooManyKeys: all together would be too many.
    """
    fresh = {key.id: key for key in offered if key.id > last}
    if count + len(fresh) > MAX_ONE_TIME_KEYS:
        raise TooManyKeys(f"a device has at most {MAX_ONE_TIME_KEYS} unused one-time keys")
    return [fresh[number] for number in sorted(fresh)]


def check_manifests(count: int, size: int, *, recovery: bool) -> None:
    """So many manifests of so many bytes may be kept of an account.

    Raises:
        TooManyManifests.
    """
    most = MANIFESTS_COUNT + RECOVERIES_COUNT if recovery else MANIFESTS_COUNT
    if count > most or (size > MANIFESTS_BYTES and not recovery):
        raise TooManyManifests("the devices of this account were changed as often as they may be")


def is_newer_seal(present: SealKey | None, offered: SealKey, device: DeviceId) -> bool:
    """Whether a seal key replaces the present one; not if it is the same.

    Raises:
        StaleSeal: its id is not above.
    """
    if present is None or offered.id > present.id:
        return True
    if offered == present:
        return False
    raise StaleSeal("the id of a seal key has to grow", keys={device: present.signed})


def check_key_ids(one_time_keys: Sequence[SessionKey], seal_key: SealKey | None) -> None:
    """Refuse ids that no database can hold.

    Raises:
        ValueError: an id below 0, or of 2^63 or above.
    """
    ids = [key.id for key in one_time_keys] + ([seal_key.id] if seal_key else [])
    if ids and not 0 <= min(ids) <= max(ids) <= MAX_NUMBER:
        raise ValueError("the id of a key has 63 bits")


def check_uses(invitation: Invitation) -> None:
    """Raises:
    ValueError: nobody could use it.
    """
    if invitation.uses < 1:
        raise ValueError("an invitation has at least one use")


def check_age(envelope: EnvelopeId, now: float) -> None:
    """Refuse an id whose record may be gone, or would stay for too long.

    Raises:
        StaleId.
    """
    if not now - ID_MAX_AGE <= envelope.seconds <= now + ID_MAX_AHEAD:
        raise StaleId("the envelope id is too old or too far ahead to be checked for repeats")


def fingerprint(body: bytes, attachment: Attachment | None = None) -> bytes:
    """16 bytes that tell two contents under one envelope id apart.

    Whoever can make two bodies collide only makes the second of their own sends be dropped.
    """
    digest = blake2b(body, digest_size=16)
    if attachment:
        digest.update(attachment.blob)
    return digest.digest()


def check_mailbox(limits: StoreLimits, waiting: Usage, adding: int) -> None:
    """One more envelope of `adding` bytes must fit beside what waits in its mailbox.

    Raises:
        StoreFull.
    """
    if waiting.count >= limits.mailbox_count or waiting.size + adding > limits.mailbox_bytes:
        raise StoreFull("this mailbox is full", hint="its owner has to fetch what is waiting")


def check_total(limits: StoreLimits, total: int, adding: int) -> None:
    """`adding` bytes must fit under the high-water mark.

    Raises:
        StoreFull.
    """
    if total + adding > limits.total_bytes:
        raise StoreFull("the server holds as much as it may", hint="raise the storage limit")


def check_sequence(limits: StoreLimits, last: int, adding: int) -> None:
    """`adding` envelopes must get numbers above `last`.

    Raises:
        StoreFull.
    """
    if last + adding > limits.max_sequence:
        raise StoreFull("the server has used up its message numbers", hint="start another one")


def check_disk(free: int, min_free: int, adding: int = 0) -> None:
    """`adding` bytes must leave the reserve of the disk alone.

    Raises:
        StoreFull.
    """
    if free - adding < min_free:
        raise StoreFull("the server's disk is nearly full", hint="make room on the server's disk")
