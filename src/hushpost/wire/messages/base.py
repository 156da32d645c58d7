"""What every message is, and the refusal that answers any request."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from hushpost.wire import limits
from hushpost.wire.fields import U32, Detail, Sentence, Word

VERSION = 3
"""In every header. A peer that writes another one is not talking to us."""


class Part(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An array inside a message."""


class Message(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Anything that is a payload of version 3."""

    CODE: ClassVar[int]


class RequestMessage(Message, frozen=True):
    """From the client. Each is answered once, with its own number: by its response or by `Error`."""

    number: U32


class ResponseMessage(Message, frozen=True):
    """From the server, with the number of the request that it answers."""

    number: U32


class EventMessage(Message, frozen=True):
    """From the server, unasked."""


class ErrorCode(StrEnum):
    """Why a request was refused. Names never change: docs/spec/errors.md."""

    MALFORMED = "malformed"
    UNEXPECTED = "unexpected"
    UNKNOWN_REQUEST = "unknown-request"
    DENIED = "denied"
    BAD_SIGNATURE = "bad-signature"
    INVITE_INVALID = "invite-invalid"
    NAME_TAKEN = "name-taken"
    UNKNOWN_ACCOUNT = "unknown-account"
    STALE_DEVICES = "stale-devices"
    STALE_SEAL = "stale-seal"
    STALE_MANIFEST = "stale-manifest"
    STALE_ID = "stale-id"
    ID_CONFLICT = "id-conflict"
    FULL = "full"
    REQUESTS_FULL = "requests-full"
    TOO_LARGE = "too-large"
    RATE_LIMITED = "rate-limited"
    DEADLINE = "deadline"
    UNAVAILABLE = "unavailable"
    UNKNOWN_BLOB = "unknown-blob"
    BLOB_CONFLICT = "blob-conflict"
    INCOMPLETE = "incomplete"
    BAD_DIGEST = "bad-digest"
    QUOTA = "quota"


class Error(ResponseMessage, frozen=True):
    """The request was refused and has changed nothing, unless its error says otherwise.

    Attributes:
        error: one of the error codes; a client treats an unknown one as final.
        sentence: for people; hostile text like any other from outside.
        retry_after: seconds after which the same request may succeed; nil where waiting does not help.
        detail: what the error code says.
    """

    CODE: ClassVar[int] = 9000
    error: Word
    sentence: Sentence
    retry_after: U32 | None = None
    detail: Annotated[list[Detail], Meta(max_length=limits.MAX_DEVICES)] = msgspec.field(default_factory=list)
