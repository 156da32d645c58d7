"""The rules of `base` that need no storage, shared by every implementation."""

from __future__ import annotations

from hashlib import blake2b

from hushpost.errors import StaleId, StoreFull
from hushpost.ids import EnvelopeId
from hushpost.stores.base import ID_MAX_AGE, ID_MAX_AHEAD, Send, StoreLimits, Usage


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


def check_age(envelope: EnvelopeId, now: float) -> None:
    """Refuse an id whose record may be gone, or would stay for too long.

    Raises:
        StaleId.
    """
    if not now - ID_MAX_AGE <= envelope.seconds <= now + ID_MAX_AHEAD:
        raise StaleId("the envelope id is too old or too far ahead to be checked for repeats")


def fingerprint(send: Send) -> bytes:
    """16 bytes that tell two contents under one envelope id apart.

    Whoever can make two bodies collide only makes the second of their own sends be dropped.
    """
    digest = blake2b(send.body, digest_size=16)
    if send.attachment:
        digest.update(send.attachment.blob)
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


def check_disk(free: int, min_free: int, adding: int = 0) -> None:
    """`adding` bytes must leave the reserve of the disk alone.

    Raises:
        StoreFull.
    """
    if free - adding < min_free:
        raise StoreFull("the server's disk is nearly full", hint="make room on the server's disk")
