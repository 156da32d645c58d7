"""What becomes of an error: one table from exceptions to the wire's error codes.

The peer is told a code, a sentence of ours and what the code promises; never the text of an exception.
"""

from __future__ import annotations

import asyncio

import structlog

from hushpost.crypto.identity import ManifestFault
from hushpost.crypto.prekeys import PrekeyFault
from hushpost.errors import (
    BadDigest,
    BlobConflict,
    BlobIncomplete,
    IdConflict,
    IdTaken,
    InviteInvalid,
    ManifestError,
    NameTaken,
    PrekeyError,
    QuotaFull,
    RequestsFull,
    StaleDevices,
    StaleId,
    StaleManifest,
    StaleSeal,
    StoreFailed,
    StoreFull,
    TooManyKeys,
    TooManyManifests,
    UnknownAccount,
    UnknownBlob,
    UnknownMailbox,
)
from hushpost.wire.messages import Error, ErrorCode

BUSY_SECONDS = 1
"""`retry_after` of what is refused because there is too much at once."""

FAILED_SECONDS = 60
"""`retry_after` of what failed for a reason that is not the client's."""

SENTENCES = {
    ErrorCode.DENIED: "this is not permitted",
    ErrorCode.BAD_SIGNATURE: "a signature or a consent is not what it should be",
    ErrorCode.MALFORMED: "a field of the request is not what it should be",
    ErrorCode.INVITE_INVALID: "this invitation is not good, or not any more",
    ErrorCode.NAME_TAKEN: "this name is taken",
    ErrorCode.UNKNOWN_ACCOUNT: "there is no such account",
    ErrorCode.STALE_DEVICES: "the account has other devices now",
    ErrorCode.STALE_SEAL: "a device has another seal key now",
    ErrorCode.STALE_MANIFEST: "the account has another manifest now",
    ErrorCode.STALE_ID: "the envelope id is too old, or of the future",
    ErrorCode.ID_CONFLICT: "the envelope id was used for another message",
    ErrorCode.FULL: "there is no room for it now",
    ErrorCode.REQUESTS_FULL: "too many message requests wait there",
    ErrorCode.TOO_LARGE: "it is more than may be kept",
    ErrorCode.RATE_LIMITED: "this was asked for too often",
    ErrorCode.DEADLINE: "it took too long; it may still be done",
    ErrorCode.UNAVAILABLE: "the server cannot do it now",
    ErrorCode.UNKNOWN_BLOB: "there is no such blob, or not with this token",
    ErrorCode.BLOB_CONFLICT: "something else is in this place",
    ErrorCode.INCOMPLETE: "parts are missing, or not of the size that they should have",
    ErrorCode.BAD_DIGEST: "the part is not what its digest says",
    ErrorCode.QUOTA: "your files here are as many bytes as they may be",
}
"""Those of MALFORMED, UNEXPECTED and UNKNOWN_REQUEST that the frame alone shows come from `wire`."""

log = structlog.get_logger()


class Refusal(Exception):
    """A request that the server itself refuses. Never leaves the server's package."""

    def __init__(self, code: ErrorCode, *, retry_after: int | None = None) -> None:
        super().__init__(SENTENCES[code])
        self.code = code
        self.retry_after = retry_after


_CODES: tuple[tuple[type[Exception], ErrorCode], ...] = (
    (StaleDevices, ErrorCode.STALE_DEVICES),
    (StaleSeal, ErrorCode.STALE_SEAL),
    (StaleManifest, ErrorCode.STALE_MANIFEST),
    (StaleId, ErrorCode.STALE_ID),
    (IdConflict, ErrorCode.ID_CONFLICT),
    (RequestsFull, ErrorCode.REQUESTS_FULL),
    (QuotaFull, ErrorCode.QUOTA),
    (StoreFull, ErrorCode.FULL),
    (InviteInvalid, ErrorCode.INVITE_INVALID),
    (NameTaken, ErrorCode.NAME_TAKEN),
    (IdTaken, ErrorCode.DENIED),
    (UnknownAccount, ErrorCode.UNKNOWN_ACCOUNT),
    (UnknownMailbox, ErrorCode.UNKNOWN_ACCOUNT),
    (TooManyKeys, ErrorCode.TOO_LARGE),
    (TooManyManifests, ErrorCode.TOO_LARGE),
    (UnknownBlob, ErrorCode.UNKNOWN_BLOB),
    (BlobConflict, ErrorCode.BLOB_CONFLICT),
    (BlobIncomplete, ErrorCode.INCOMPLETE),
    (BadDigest, ErrorCode.BAD_DIGEST),
)
"""The first that fits counts; whatever else goes wrong is UNAVAILABLE."""

_NOT_ABOUT_SIGNATURES = {
    ManifestFault.MALFORMED,
    PrekeyFault.MALFORMED,
    PrekeyFault.WRONG_KIND,
    PrekeyFault.EXPIRED,
    PrekeyFault.TOO_LONG,
    PrekeyFault.OLD_ID,
    PrekeyFault.REPEATED,
}


_EXPECTED = (StoreFailed, asyncio.CancelledError)
"""The end of the server, which is said once elsewhere."""


def _detail(error: BaseException) -> list[bytes]:
    """What the code promises besides: the newest manifest; or device id 16 | its present signed seal key,
    which is left out where it has published none.
    """
    if isinstance(error, StaleDevices | StaleManifest):
        return [error.manifest] if error.manifest else []
    if isinstance(error, StaleSeal):
        return [device + (key or b"") for device, key in error.keys.items()]
    return []


def _untrusted(error: ManifestError | PrekeyError) -> tuple[ErrorCode, str]:
    """Their reasons are sentences of the specification, which tell nothing about anybody."""
    if error.reason in _NOT_ABOUT_SIGNATURES:
        return ErrorCode.MALFORMED, str(error)
    return ErrorCode.BAD_SIGNATURE, str(error)


def refusal(number: int, error: BaseException) -> Error:
    """The answer to a request that ended with this error. What nobody expected is logged."""
    if isinstance(error, Refusal):
        return Error(number, error.code, SENTENCES[error.code], error.retry_after)
    if isinstance(error, ManifestError | PrekeyError):
        return Error(number, *_untrusted(error))
    for kind, code in _CODES:
        if isinstance(error, kind):
            retry_after = error.retry_after if isinstance(error, StoreFull) else None
            return Error(number, code, SENTENCES[code], retry_after, _detail(error))
    if not isinstance(error, _EXPECTED):
        log.error("internal error", exc_info=error)
    return refusal(number, Refusal(ErrorCode.UNAVAILABLE, retry_after=FAILED_SECONDS))
