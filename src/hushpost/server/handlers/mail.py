"""Envelopes: sending, reading, acknowledging, subscribing. Normative text: docs/spec/delivery.md."""

from __future__ import annotations

from functools import partial
from hashlib import sha256

from hushpost.ids import AccountId, DeviceId, EnvelopeId, TokenHash
from hushpost.server.handlers.waiting import waiting
from hushpost.server.office import Office, Pending
from hushpost.server.peer import Peer
from hushpost.server.push import POLL_SECONDS, size_of, waiting_envelope
from hushpost.stores.base import Envelope, SealedDelivery, SealedSend
from hushpost.wire.limits import MAX_ENVELOPE, MAX_PAGE_BYTES, MAX_PAGE_COUNT
from hushpost.wire.messages import (
    Acknowledge,
    Acknowledged,
    Envelopes,
    GetEnvelopes,
    SendEnvelope,
    Stored,
    Subscribe,
    Subscribed,
)


def send(office: Office, peer: Peer, request: SendEnvelope) -> Pending[tuple[int, ...]]:
    """No task: the sends of a connection reach the store in their order, and a task would cost more."""
    peer.require_listed()
    office.budgets.sends.take(peer.account)
    token_hash: TokenHash | None = None
    if request.delivery_token:
        token_hash = TokenHash(sha256(request.delivery_token).digest())
    else:
        office.budgets.introductions.take(peer.account)
    deliveries = [
        SealedDelivery(DeviceId(each.device), each.seal_key_id, each.header) for each in request.recipients
    ]
    sealed = SealedSend(
        AccountId(request.account),
        EnvelopeId(request.envelope),
        tuple(deliveries),
        request.body,
        token_hash,
    )
    return Pending(office.store.append_sealed(sealed), partial(_stored, request.number))


def _stored(number: int, sequences: tuple[int, ...]) -> Stored:
    return Stored(number, list(sequences))


@waiting
async def get(office: Office, peer: Peer, request: GetEnvelopes) -> Envelopes:
    office.budgets.fetches.take(peer.account)
    count = min(max(request.max_count, 1), MAX_PAGE_COUNT)
    size = min(request.max_bytes, MAX_PAGE_BYTES)
    # One more, and room for it behind the largest: so what does not fit shows that there is more.
    found = await office.store.read(
        peer.mailbox,
        after=_cursor(office, request.epoch, request.after),
        max_count=count + 1,
        max_bytes=max(size, MAX_ENVELOPE) + MAX_ENVELOPE,
    )
    page = _fitting(found, count, size)
    envelopes = [waiting_envelope(each) for each in page]
    return Envelopes(request.number, office.store.epoch, envelopes, len(page) < len(found))


def _fitting(found: list[Envelope], count: int, size: int) -> list[Envelope]:
    """The first of them, within the bounds, but at least one."""
    total = 0
    for index, each in enumerate(found):
        total += size_of(each)
        if index and (index >= count or total > size):
            return found[:index]
    return found


def _cursor(office: Office, epoch: bytes, after: int) -> int:
    return after if epoch == office.store.epoch else 0


@waiting
async def acknowledge(office: Office, peer: Peer, request: Acknowledge) -> Acknowledged:
    office.budgets.acknowledgements.take(peer.account)
    if request.epoch == office.store.epoch:
        if request.sequences:
            await office.store.ack(peer.mailbox, request.sequences)
        if request.up_to:
            await office.store.ack_up_to(peer.mailbox, request.up_to)
        office.subscriptions.acknowledged(peer.device, request.sequences, request.up_to)
    return Acknowledged(request.number)


def subscribe(office: Office, peer: Peer, request: Subscribe) -> Subscribed:
    office.budgets.subscriptions.take(peer.account)
    after = _cursor(office, request.epoch, request.after)
    window = min(request.window, office.limits.window)
    subscription = office.subscriptions.begin(peer, after, window)
    office.loop.call_soon(subscription.go)  # behind the answer
    peer.outlet.look_at(office.loop.time() + POLL_SECONDS)
    return Subscribed(request.number, office.store.epoch)
