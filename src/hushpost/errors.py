"""Every exception of Hushpost, with the exit code that the command line gives it.

    HushpostError                    1
    ├── UsageError                   2   the command line or a settings file asks for the impossible
    │   ├── LinkError                2   a link that is none
    │   ├── PhraseError              2   a recovery phrase with a slip in it
    │   └── Blocked                  2   the user has to decide about somebody before anything is sent to them
    ├── ProfileError                 3   a local file (me.info, server.info, port.info, ...) is missing or bad
    │   ├── ProfileLocked           12   the key of a profile's database cannot be had
    │   │   └── WrongPassphrase     12
    │   └── OldCopy                 13   a profile's database is an old copy of itself: it must not be used
    ├── Unreachable                  4   no connection, or it broke before the answer
    ├── Refused                      5   the server answered 9000
    ├── ProtocolError                6   the peer broke the protocol
    ├── StoreError                   1
    │   ├── StoreUnusable            7   locked, corrupt, newer, foreign or unreadable; left untouched
    │   ├── StoreFailed              8   the disk failed while running: nothing more can be promised
    │   ├── StoreFull                5   a limit is reached; carries the reason and `retry_after`
    │   │   ├── RequestsFull         5   too many wait that came without a delivery token
    │   │   └── QuotaFull            5   an account's files are as many bytes as they may be
    │   ├── NameTaken, IdTaken       5
    │   ├── UnknownMailbox           5
    │   ├── UnknownAccount           5
    │   ├── InviteInvalid            5   unknown, expired, used up or revoked
    │   ├── IdConflict, StaleId      5   see `stores.base`
    │   ├── StaleDevices, StaleSeal  5   what a sender knew is out of date; they carry what is newer
    │   ├── StaleManifest            5   somebody else appended first
    │   ├── TooManyKeys              5
    │   ├── TooManyManifests         5
    │   ├── UnknownBlob              5   no such blob, or not with this token
    │   ├── BlobConflict             5   something else is there, or somebody else is putting it
    │   ├── BlobIncomplete           5   parts of a blob are missing, or not of the size that was told
    │   ├── BadDigest                5   a part is not what its digest says
    │   └── BlobMissing              8   a stored envelope's content is gone from the disk
    ├── AddressUnavailable           9   the listening address cannot be had
    ├── Undecryptable               10   wrong key or damaged content
    │   ├── EnvelopeError           10   a message that does not open, or is not what it says
    │   └── FileError               10   a file that does not open, or is not the one that was offered
    └── Untrusted                   11   keys or statements that do not prove what they should
        ├── ManifestError           11   an account's signed list of devices
        ├── PrekeyError             11   a device's signed keys for first messages
        └── ServerUntrusted         11   the server is not the one that a link named

No exception text ever holds a key, a plaintext, or a name. `hint` says what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

_NONE: Mapping[bytes, bytes | None] = MappingProxyType({})


class ExitCode(IntEnum):
    """What `hush` returns to the shell. Documented in docs/reference/exit-codes.md."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PROFILE = 3
    UNREACHABLE = 4
    REFUSED = 5
    PROTOCOL = 6
    STORE_UNUSABLE = 7
    STORE_FAILED = 8
    ADDRESS_UNAVAILABLE = 9
    UNDECRYPTABLE = 10
    UNTRUSTED = 11
    PROFILE_LOCKED = 12
    OLD_COPY = 13
    PENDING = 14
    INTERRUPTED = 130


class HushpostError(Exception):
    """Base of all. `str()` is one sentence for people; `hint` is the way out, or empty."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(HushpostError):
    """The request itself makes no sense, whatever the state of things."""

    exit_code = ExitCode.USAGE


class LinkError(UsageError):
    """A text that should be a `hush://` link and is not, or not a whole one."""


class PhraseError(UsageError):
    """A recovery phrase that is not one: too short, too long, or its check does not fit."""


class Blocked(UsageError):
    """Nothing is sent to this person: blocked, not accepted yet, or once verified under another key."""


class ProfileError(HushpostError):
    """A local file is missing, unreadable or malformed."""

    exit_code = ExitCode.PROFILE


class ProfileLocked(ProfileError):
    """The key of a profile's database cannot be had: no keyring, or nobody who knows the passphrase."""

    exit_code = ExitCode.PROFILE_LOCKED


class WrongPassphrase(ProfileLocked):
    """The passphrase does not open the profile's key."""


class OldCopy(ProfileError):
    """The profile's database is an old copy: the server knows of more than it does.

    Its ratchets have been used further elsewhere. Sending with them again would use keys twice.
    """

    exit_code = ExitCode.OLD_COPY


class Unreachable(HushpostError):
    """No connection to the server, or it ended before the answer was complete."""

    exit_code = ExitCode.UNREACHABLE


class Refused(HushpostError):
    """The server understood and said no."""

    exit_code = ExitCode.REFUSED


class ProtocolError(HushpostError):
    """The peer sent what the protocol does not allow. The connection stays failed."""

    exit_code = ExitCode.PROTOCOL


class StoreError(HushpostError):
    """Base of everything a store answers instead of doing what it was asked."""


class StoreUnusable(StoreError):
    """The database cannot be used as it is, and was not touched."""

    exit_code = ExitCode.STORE_UNUSABLE


class StoreFailed(StoreError):
    """The disk refused a write or a sync: fatal, since nothing can be promised any more."""

    exit_code = ExitCode.STORE_FAILED


class StoreFull(StoreError):
    """A quota or the high-water mark is reached. Reading and acknowledging still work.

    Attributes:
        retry_after: seconds after which trying again may help.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, message: str, *, retry_after: int = 60, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class RequestsFull(StoreFull):
    """As many envelopes of strangers wait as may; only the recipient can make room."""


class QuotaFull(StoreFull):
    """The files that an account has put are as many bytes as it may have; some expire every day."""


class NameTaken(StoreError):
    """A name belongs to the first account that took it, for ever."""

    exit_code = ExitCode.REFUSED


class IdTaken(StoreError):
    """An account or mailbox with this id exists already."""

    exit_code = ExitCode.REFUSED


class UnknownMailbox(StoreError):
    """No such mailbox."""

    exit_code = ExitCode.REFUSED


class UnknownAccount(StoreError):
    """No account or device of this id; or it has left."""

    exit_code = ExitCode.REFUSED


class InviteInvalid(StoreError):
    """No invitation, or none that is good any more."""

    exit_code = ExitCode.REFUSED


class StaleDevices(StoreError):
    """The sender's list of an account's devices is not the present one.

    Attributes:
        manifest: the newest one, signed.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, message: str, *, manifest: bytes = b"", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.manifest = manifest


class StaleSeal(StoreError):
    """A seal key that is not the present one.

    Attributes:
        keys: the ids of the devices concerned, with their present signed keys (None: none published yet).
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, message: str, *, keys: Mapping[bytes, bytes | None] = _NONE, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.keys = keys


class StaleManifest(StoreError):
    """A manifest that is not the next one.

    Attributes:
        manifest: the newest one, signed.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, message: str, *, manifest: bytes = b"", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.manifest = manifest


class TooManyKeys(StoreError):
    """More unused one-time keys than a device may have."""

    exit_code = ExitCode.REFUSED


class TooManyManifests(StoreError):
    """More versions of an account's manifest, or more bytes of them, than are kept."""

    exit_code = ExitCode.REFUSED


class IdConflict(StoreError):
    """This envelope id was used before for another body."""

    exit_code = ExitCode.REFUSED


class StaleId(StoreError):
    """The envelope id's time is too old, or too far ahead, to be checked for repeats."""

    exit_code = ExitCode.REFUSED


class UnknownBlob(StoreError):
    """No blob of this id, or none that this token is for: which of both is not told."""

    exit_code = ExitCode.REFUSED


class BlobConflict(StoreError):
    """Another blob has this id, another part is in this place, or somebody else is putting it."""

    exit_code = ExitCode.REFUSED


class BlobIncomplete(StoreError):
    """Not all parts are there, or they are not of the sizes that they should have."""

    exit_code = ExitCode.REFUSED


class BadDigest(StoreError):
    """The bytes of a part are not those that its digest is of. Nothing was kept."""

    exit_code = ExitCode.REFUSED


class BlobMissing(StoreError):
    """A blob that should be there is not, or is shorter than it should be."""

    exit_code = ExitCode.STORE_FAILED


class AddressUnavailable(HushpostError):
    """The address to listen on is in use, not ours, or not permitted."""

    exit_code = ExitCode.ADDRESS_UNAVAILABLE


class Undecryptable(HushpostError):
    """A content that does not open: wrong key, or damaged."""

    exit_code = ExitCode.UNDECRYPTABLE


class EnvelopeError(Undecryptable):
    """A message that does not open, or whose inside contradicts its outside.

    Attributes:
        reason: which check of docs/spec/envelope.md it failed: a `StrEnum` that is also the sentence.
    """

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__(str(reason), hint=hint)
        self.reason = reason


class FileError(Undecryptable):
    """A file that does not open, or is not the one that was offered.

    Attributes:
        reason: which check of docs/spec/files.md it failed: a `StrEnum` that is also the sentence.
    """

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__(str(reason), hint=hint)
        self.reason = reason


class Untrusted(HushpostError):
    """Keys or statements from outside that do not prove what they should. Nothing of them was used.

    Attributes:
        reason: which check failed: a `StrEnum` that is also the sentence.
    """

    exit_code = ExitCode.UNTRUSTED

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__(str(reason), hint=hint)
        self.reason = reason


class ManifestError(Untrusted):
    """An account's manifest that is not the signed continuation of what is known."""


class PrekeyError(Untrusted):
    """A device's prekey that is not its own, not current, or not a key."""


class ServerUntrusted(Untrusted):
    """The server could not prove that it is the one that the link named."""
