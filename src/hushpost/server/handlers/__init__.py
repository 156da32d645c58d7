"""One function for each request, and the table of them.

A handler is a plain function: it answers at once, gives back a `Pending`, or raises for what it refuses.
Those marked `waiting` are coroutines, and run as a task; sending, the most frequent, is not one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hushpost.server.handlers import accounts, blobs, entering, keys, mail
from hushpost.server.office import Office, Outcome
from hushpost.server.peer import Guest, Peer
from hushpost.wire import limits
from hushpost.wire.messages import (
    Acknowledge,
    Authenticate,
    CommitBlob,
    CreateBlob,
    GetBlobStatus,
    GetEnvelopes,
    GetKeys,
    GetPart,
    GetUsage,
    Hello,
    Leave,
    ListAccounts,
    PublishKeys,
    PutManifest,
    PutPart,
    Register,
    ReleaseBlob,
    RequestMessage,
    SendEnvelope,
    Subscribe,
)

ENTERING: dict[type[RequestMessage], Callable[[Office, Guest, Any], Outcome]] = {
    Hello: entering.hello,
    Register: entering.register,
    Authenticate: entering.authenticate,
}
"""What a guest may ask."""

SERVING: dict[type[RequestMessage], Callable[[Office, Peer, Any], Outcome]] = {
    SendEnvelope: mail.send,
    GetEnvelopes: mail.get,
    Acknowledge: mail.acknowledge,
    Subscribe: mail.subscribe,
    GetKeys: keys.get,
    PublishKeys: keys.publish,
    ListAccounts: accounts.list_accounts,
    PutManifest: accounts.put_manifest,
    GetUsage: accounts.usage,
    Leave: accounts.leave,
    CreateBlob: blobs.create,
    PutPart: blobs.put,
    CommitBlob: blobs.commit,
    GetBlobStatus: blobs.status,
    GetPart: blobs.get,
    ReleaseBlob: blobs.release,
}
"""What a peer may ask."""

_WEIGHTS: dict[type[RequestMessage], int] = {
    GetEnvelopes: limits.MAX_PAGE_BYTES,
    GetKeys: 256 * 1024,
    PublishKeys: 32 * 1024,
    ListAccounts: 64 * 1024,
    PutManifest: 64 * 1024,
    GetBlobStatus: 576 * 1024,
}
"""Bytes of answers, where those are larger than the request."""

_LIGHT = 1024


def begin(office: Office, party: Guest | Peer, request: RequestMessage) -> Outcome:
    """Hand a request to its handler.

    The protocol's table of states has seen to it that only peers send what is for peers.
    """
    office.counts[type(request).__name__] += 1
    if isinstance(party, Peer):
        return SERVING[type(request)](office, party, request)
    return ENTERING[type(request)](office, party, request)


def weight(request: RequestMessage) -> int:
    """Bytes that a request and its answer may hold until it is answered, roughly."""
    if isinstance(request, SendEnvelope):
        return len(request.body) + len(request.recipients) * limits.HEADER_SIZE
    return _WEIGHTS.get(type(request), _LIGHT)
