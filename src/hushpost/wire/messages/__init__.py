"""The requests, responses and events of version 3: one struct each, and the table of codes.

A payload is a MessagePack array of the fields in the order given here. Requests and responses begin with
the `number` of the request; events have none. A field with a default may be missing, and unknown fields
behind the last are ignored. Normative text, with every field's size: docs/spec/wire.md, whose tables are
made of these structs. Decoding enforces every bound; building a struct in code does not.
"""

from __future__ import annotations

from hushpost.wire.messages.accounts import (
    Accounts,
    Authenticate,
    Authenticated,
    GetUsage,
    Hello,
    HelloAnswer,
    Leave,
    Left,
    ListAccounts,
    ListedAccount,
    ManifestPut,
    PutManifest,
    Register,
    Registered,
    UsageAnswer,
)
from hushpost.wire.messages.base import (
    VERSION,
    Error,
    ErrorCode,
    EventMessage,
    Message,
    Part,
    RequestMessage,
    ResponseMessage,
)
from hushpost.wire.messages.blobs import (
    BlobCommitted,
    BlobCreated,
    BlobReleased,
    BlobStatus,
    CommitBlob,
    CreateBlob,
    GetBlobStatus,
    GetPart,
    PartContent,
    PartPut,
    PutPart,
    ReleaseBlob,
)
from hushpost.wire.messages.keys import DeviceKeys, GetKeys, Keys, KeysPublished, PublishKeys, RetiredSeal
from hushpost.wire.messages.mail import (
    Acknowledge,
    Acknowledged,
    Envelopes,
    GetEnvelopes,
    Push,
    Recipient,
    SendEnvelope,
    Stored,
    Subscribe,
    Subscribed,
    Taken,
    WaitingEnvelope,
)

__all__ = [
    "ANSWERS",
    "CARRYING",
    "EVENTS",
    "REQUESTS",
    "RESPONSES",
    "VERSION",
    "Accounts",
    "Acknowledge",
    "Acknowledged",
    "Authenticate",
    "Authenticated",
    "BlobCommitted",
    "BlobCreated",
    "BlobReleased",
    "BlobStatus",
    "CommitBlob",
    "CreateBlob",
    "DeviceKeys",
    "Envelopes",
    "Error",
    "ErrorCode",
    "EventMessage",
    "GetBlobStatus",
    "GetEnvelopes",
    "GetKeys",
    "GetPart",
    "GetUsage",
    "Hello",
    "HelloAnswer",
    "Keys",
    "KeysPublished",
    "Leave",
    "Left",
    "ListAccounts",
    "ListedAccount",
    "ManifestPut",
    "Message",
    "Part",
    "PartContent",
    "PartPut",
    "PublishKeys",
    "Push",
    "PutManifest",
    "PutPart",
    "Recipient",
    "Register",
    "Registered",
    "ReleaseBlob",
    "RequestMessage",
    "ResponseMessage",
    "RetiredSeal",
    "SendEnvelope",
    "Stored",
    "Subscribe",
    "Subscribed",
    "Taken",
    "UsageAnswer",
    "WaitingEnvelope",
]

ANSWERS: dict[type[RequestMessage], type[ResponseMessage]] = {
    Hello: HelloAnswer,
    Authenticate: Authenticated,
    Register: Registered,
    ListAccounts: Accounts,
    GetKeys: Keys,
    SendEnvelope: Stored,
    GetEnvelopes: Envelopes,
    Acknowledge: Acknowledged,
    Subscribe: Subscribed,
    PublishKeys: KeysPublished,
    PutManifest: ManifestPut,
    GetUsage: UsageAnswer,
    Leave: Left,
    CreateBlob: BlobCreated,
    PutPart: PartPut,
    CommitBlob: BlobCommitted,
    GetBlobStatus: BlobStatus,
    GetPart: PartContent,
    ReleaseBlob: BlobReleased,
}
"""Each request, and what it is answered with unless with `Error`."""

_responses: tuple[type[ResponseMessage], ...] = (*ANSWERS.values(), Error)
_events: tuple[type[EventMessage], ...] = (Push, Taken)

REQUESTS: dict[int, type[RequestMessage]] = {each.CODE: each for each in ANSWERS}
RESPONSES: dict[int, type[ResponseMessage]] = {each.CODE: each for each in _responses}
EVENTS: dict[int, type[EventMessage]] = {each.CODE: each for each in _events}

CARRYING: frozenset[int] = frozenset({PutPart.CODE, PartContent.CODE})
"""The codes of messages behind whose fields comes data: see `messages.blobs`."""
