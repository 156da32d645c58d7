"""Files, as blobs of parts. Normative text: docs/spec/delivery.md, section "Blobs"."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from hushpost.ids import BlobId, TokenHash
from hushpost.server.handlers.waiting import waiting
from hushpost.server.office import Office, Pending
from hushpost.server.parts.outgoing import Delivery
from hushpost.server.peer import Peer
from hushpost.server.refusals import Refusal
from hushpost.stores.base import NewBlob, parts_of
from hushpost.wire.limits import MAX_STATUS_PARTS, PART_SIZE
from hushpost.wire.messages import (
    BlobCommitted,
    BlobCreated,
    BlobReleased,
    BlobStatus,
    CommitBlob,
    CreateBlob,
    ErrorCode,
    GetBlobStatus,
    GetPart,
    PartContent,
    PutPart,
    ReleaseBlob,
)


@waiting
async def create(office: Office, peer: Peer, request: CreateBlob) -> BlobCreated:
    peer.require_listed()
    office.budgets.files.take(peer.account)
    releases = tuple(map(TokenHash, request.release_hashes))
    blob = NewBlob(BlobId(request.blob), request.size, TokenHash(request.read_hash), releases)
    await office.store.parts.create(peer.account, blob)
    return BlobCreated(request.number)


def put(office: Office, peer: Peer, request: PutPart) -> Pending[Any]:
    """Its data follows; it has as much time to come as the slowest line needs."""
    peer.require_listed()
    office.budgets.parts.take(peer.account)
    size = peer.outlet.to_come
    if size > PART_SIZE:
        raise Refusal(ErrorCode.TOO_LARGE)
    pending = office.run(request.number, peer.outlet.traffic.receive(request))
    pending.patience = size / office.settings.listen_limits.min_rate
    return pending


@waiting
async def commit(office: Office, peer: Peer, request: CommitBlob) -> BlobCommitted:
    peer.require_listed()
    office.budgets.file_questions.take(peer.account)
    await office.store.parts.commit(peer.account, BlobId(request.blob), request.size)
    return BlobCommitted(request.number)


@waiting
async def status(office: Office, peer: Peer, request: GetBlobStatus) -> BlobStatus:
    office.budgets.file_questions.take(peer.account)
    limit = min(request.limit, MAX_STATUS_PARTS)
    state = await office.store.parts.state(
        BlobId(request.blob), _hash(request.read_token), request.first, limit
    )
    return BlobStatus(
        request.number,
        state.size,
        parts_of(state.size),
        state.present,
        state.committed,
        [digest or b"" for digest in state.digests],
    )


@waiting
async def get(office: Office, peer: Peer, request: GetPart) -> Delivery:
    office.budgets.parts.take(peer.account)
    part = await office.store.parts.find_part(BlobId(request.blob), _hash(request.read_token), request.index)
    if request.offset > part.size:
        raise Refusal(ErrorCode.MALFORMED)
    return Delivery(PartContent(request.number, part.size, part.digest), part, request.offset)


@waiting
async def release(office: Office, peer: Peer, request: ReleaseBlob) -> BlobReleased:
    office.budgets.file_questions.take(peer.account)
    tokens = list(map(_hash, request.release_tokens))
    return BlobReleased(
        request.number, await office.store.parts.release(peer.account, BlobId(request.blob), tokens)
    )


def _hash(token: bytes) -> TokenHash:
    """What the store knows of a token."""
    return TokenHash(sha256(token).digest())
