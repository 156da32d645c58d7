"""What the server's refusals are called here: one exception for each error code of docs/spec/errors.md."""

from __future__ import annotations

from collections.abc import Callable

from hushpost.errors import (
    BadDigest,
    BlobConflict,
    BlobIncomplete,
    HushpostError,
    IdConflict,
    InviteInvalid,
    NameTaken,
    QuotaFull,
    Refused,
    RequestsFull,
    StaleDevices,
    StaleId,
    StaleManifest,
    StaleSeal,
    StoreFull,
    UnknownAccount,
    UnknownBlob,
)
from hushpost.wire.messages import Error, ErrorCode

DEFAULT_WAIT = 60
"""Seconds, where the server says that waiting helps and not how long."""

LONGEST_ASKED = 3_600
"""Seconds: a server cannot make a client wait for a year by saying so."""

_SENTENCES = {
    ErrorCode.DENIED: "the server does not let this device in",
    ErrorCode.BAD_SIGNATURE: "the server found a signature wrong",
    ErrorCode.INVITE_INVALID: "this invitation is not good any more",
    ErrorCode.NAME_TAKEN: "this name is taken",
    ErrorCode.UNKNOWN_ACCOUNT: "the server knows no such account",
    ErrorCode.STALE_DEVICES: "the recipient's devices have changed",
    ErrorCode.STALE_SEAL: "the recipient's seal key has changed",
    ErrorCode.STALE_MANIFEST: "the account has changed meanwhile",
    ErrorCode.STALE_ID: "the envelope's id is too old",
    ErrorCode.ID_CONFLICT: "the envelope's id was used before",
    ErrorCode.FULL: "there is no room for this",
    ErrorCode.REQUESTS_FULL: "too many messages of strangers wait there already",
    ErrorCode.TOO_LARGE: "this is larger than the server takes",
    ErrorCode.RATE_LIMITED: "the server wants this to be done more slowly",
    ErrorCode.DEADLINE: "the server did not finish in time",
    ErrorCode.UNAVAILABLE: "the server cannot do this now",
    ErrorCode.UNKNOWN_BLOB: "the server does not have this file, or not any more",
    ErrorCode.BLOB_CONFLICT: "the server has something else in the place of this part",
    ErrorCode.INCOMPLETE: "the server found parts of the file missing",
    ErrorCode.BAD_DIGEST: "a part of the file was damaged on the way",
    ErrorCode.QUOTA: "your files on this server are as large as they may be together",
}
"""Ours, for every code that we know: a server's own sentence is hostile text, and is not repeated."""

_HINTS = {
    ErrorCode.DENIED: "its account was recovered on another machine, or has left, or is younger than the"
    " backup that the server was restored from; with the recovery phrase: hush --profile NEW recover LINK",
    ErrorCode.INVITE_INVALID: "ask whoever gave it to you for a new one",
    ErrorCode.NAME_TAKEN: "choose another --name; the invitation is still good",
    ErrorCode.UNKNOWN_ACCOUNT: "a name has to be exact; or they have left the server",
    ErrorCode.FULL: "try again later; the server's operator can make room",
    ErrorCode.REQUESTS_FULL: "try again later; or ask them to add you as a contact",
}
"""What can be done about it, where that is the same whatever was asked."""


_Maker = Callable[[str, int, Error], HushpostError]


class RetryLater(Refused):
    """A refusal that time mends.

    Attributes:
        retry_after: seconds.
    """

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message, hint=f"try again in {retry_after} seconds")
        self.retry_after = retry_after


class Denied(Refused):
    """The server does not know this device, or does not let it do this."""


def refusal(error: Error) -> HushpostError:
    """The exception that an error answer is; an unknown code is a plain `Refused`, which is final."""
    sentence = _SENTENCES.get(ErrorCode(error.error)) if error.error in set(ErrorCode) else None
    text = sentence or "the server refused the request"
    wait = min(error.retry_after if error.retry_after is not None else DEFAULT_WAIT, LONGEST_ASKED)
    make = _MAKERS.get(error.error)
    if make is not None:
        made = make(text, wait, error)
        made.hint = made.hint or next((_HINTS[each] for each in _HINTS if each == error.error), "")
        return made
    return Refused(text) if error.retry_after is None else RetryLater(text, retry_after=wait)


def _first(error: Error) -> bytes:
    return error.detail[0] if error.detail else b""


def _seal_keys(error: Error) -> dict[bytes, bytes | None]:
    """Each detail: device id 16 | its present signed key, or nothing where it has none."""
    return {each[:16]: each[16:] or None for each in error.detail if len(each) >= 16}


def _plain(kind: type[HushpostError]) -> _Maker:
    return lambda text, wait, error: kind(text)


def _full(kind: type[StoreFull]) -> _Maker:
    return lambda text, wait, error: kind(text, retry_after=wait)


def _later(text: str, wait: int, error: Error) -> HushpostError:
    return RetryLater(text, retry_after=wait)


_MAKERS: dict[str, _Maker] = {
    ErrorCode.DENIED: _plain(Denied),
    ErrorCode.BAD_SIGNATURE: _plain(Denied),
    ErrorCode.INVITE_INVALID: _plain(InviteInvalid),
    ErrorCode.NAME_TAKEN: _plain(NameTaken),
    ErrorCode.UNKNOWN_ACCOUNT: _plain(UnknownAccount),
    ErrorCode.STALE_ID: _plain(StaleId),
    ErrorCode.ID_CONFLICT: _plain(IdConflict),
    ErrorCode.STALE_DEVICES: lambda text, _, error: StaleDevices(text, manifest=_first(error)),
    ErrorCode.STALE_MANIFEST: lambda text, _, error: StaleManifest(text, manifest=_first(error)),
    ErrorCode.STALE_SEAL: lambda text, _, error: StaleSeal(text, keys=_seal_keys(error)),
    ErrorCode.FULL: _full(StoreFull),
    ErrorCode.REQUESTS_FULL: _full(RequestsFull),
    ErrorCode.RATE_LIMITED: _later,
    ErrorCode.DEADLINE: _later,
    ErrorCode.UNAVAILABLE: _later,
    ErrorCode.UNKNOWN_BLOB: _plain(UnknownBlob),
    ErrorCode.BLOB_CONFLICT: _plain(BlobConflict),
    ErrorCode.INCOMPLETE: _plain(BlobIncomplete),
    ErrorCode.BAD_DIGEST: _plain(BadDigest),
    ErrorCode.QUOTA: _full(QuotaFull),
}
