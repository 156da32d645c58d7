"""What the library tells and is told: people, messages, and what happened to them.

Names and texts come from other people: they are hostile to a terminal until they are escaped.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from hushpost.ids import AccountId, DeviceId, MessageId


class Standing(StrEnum):
    """What somebody is to us."""

    CONTACT = "contact"
    REQUEST = "request"  # has written, and we have not decided
    BLOCKED = "blocked"  # what comes is dropped, and our delivery token was changed


class Trust(StrEnum):
    """How sure it is that a key is this person's."""

    VERIFIED = "verified"  # by link, or by safety number
    UNVERIFIED = "unverified"  # trust on first use
    CHANGED = "changed"  # was verified, and now has another account key: the user must decide


class Delivery(StrEnum):
    """How far a message of ours has come."""

    QUEUED = "queued"  # durable here, and nowhere else
    ACCEPTED = "accepted"  # durable at the server
    DELIVERED = "delivered"  # the recipient's device has it, and said so
    FAILED = "failed"  # given up; the message says why


class Contact(msgspec.Struct, frozen=True):
    """Somebody that we know, or who has written to us.

    Attributes:
        name: as their manifest says; unique on the server, for ever.
        alias: what we call them; empty: the name.
        devices: as of the newest manifest.
        since: seconds since 1970.
    """

    account: AccountId
    name: str
    alias: str
    standing: Standing
    trust: Trust
    devices: tuple[DeviceId, ...]
    since: int

    @property
    def shown(self) -> str:
        """What to call them."""
        return self.alias or self.name


class AttachedFile(msgspec.Struct, frozen=True):
    """The file that a message offers.

    Attributes:
        name: what its sender calls it: hostile to a file system, see `hushpost.filenames`.
        size: bytes; of a folder, those of its tar stream.
        media_type: what its sender says that it is, or empty.
    """

    name: str
    size: int
    media_type: str
    is_folder: bool


class Message(msgspec.Struct, frozen=True):
    """A text between us and somebody, or a file, or both.

    Attributes:
        contact: the other side, whoever wrote.
        text: with a file its caption, which may be empty.
        sent_at: seconds since 1970, by the writer's clock: a claim.
        stored_at: by ours, when it came to be here.
        delivery: of ours; theirs are `DELIVERED`.
        remark: what the user should know about it, as a sentence; empty: nothing.
    """

    id: MessageId
    contact: AccountId
    ours: bool
    text: str
    sent_at: int
    stored_at: int
    delivery: Delivery
    remark: str = ""
    file: AttachedFile | None = None


class Direction(StrEnum):
    """Which way a file goes."""

    SENT = "sent"
    RECEIVED = "received"


class TransferState(StrEnum):
    """How far a file has come."""

    OFFERED = "offered"  # somebody offers it, and nobody has asked for it here
    WAITING = "waiting"  # begun, and carried by nobody at the moment: it can be resumed
    RUNNING = "running"  # a process of this profile carries it
    DONE = "done"  # the server has all of it, or we have
    FAILED = "failed"  # given up; `why` is the sentence
    CANCELLED = "cancelled"


class Transfer(msgspec.Struct, frozen=True):
    """A file on its way.

    Attributes:
        id: of the message that offers it, or will when the server has all of it.
        name: as its sender calls it.
        size: bytes; None: it comes from a pipe whose end nobody knows.
        carried: how many of them are through, as far as was noted.
        path: where it comes from, or where it was put; empty: nowhere yet, or a pipe.
        why: a sentence about `state`; may be empty.
        since: seconds since 1970.
    """

    id: MessageId
    contact: AccountId
    direction: Direction
    name: str
    size: int | None
    is_folder: bool
    state: TransferState
    carried: int
    path: str
    why: str
    since: int


class Progress(msgspec.Struct, frozen=True):
    """How far a running transfer is, told again and again.

    Attributes:
        carried: bytes that are through, those of earlier attempts included.
        size: of how many; None: nobody knows yet.
        restarted: the source has changed, and all of it is sent anew.
        held_up: why it stands still at the moment, and will be tried again; empty: it does not.
    """

    id: MessageId
    carried: int
    size: int | None
    restarted: bool = False
    held_up: str = ""


class Alarm(StrEnum):
    """What must be shown. Each is also the sentence."""

    KEY_REPLACED = "this person's account key was replaced with their recovery phrase"
    VERIFIED_KEY_REPLACED = "a verified person's account key was replaced: compare safety numbers, or stop"
    FORK = "there are two versions of this person's device list: somebody signed both with their key"
    ROLLBACK = "the server showed an older device list of this person than before"
    BAD_MANIFEST = "the server showed a device list of this person that is not theirs"
    BAD_PREKEY = "the server gave out a key that is not this person's"
    UNDECRYPTABLE = "a message came that does not open"
    SESSION_RESET = "a broken session with this device was replaced"
    REMOVED_DEVICE = "a message came from a device that was removed since"
    MISSING = "messages of this person have not come: they are held back, or were lost"
    SEAL_NOT_TAKEN = (
        "the server takes no new key of this device: what is recorded stays readable to a later thief"
    )
    SEAL_KEPT_LONG = "a key was deleted after thirty days although mail for it may be missing"
    RESTORED = "the server was restored from a backup: what it took since then may be lost"
    OLD_COPY = "this database is an old copy: nothing is sent from it"
    CANNOT_CONNECT = "the server is not the one that the link named"


class Event(msgspec.Struct, frozen=True, tag=True):
    """Something that happened, for good.

    Attributes:
        number: grows by each event of this profile, and is never used again.
        at: seconds since 1970, by our clock.
    """

    number: int
    at: int


class Received(Event, frozen=True):
    """A message came, is decrypted and is stored."""

    message: Message


class DeliveryChanged(Event, frozen=True):
    """A message of ours has come further, or was given up; `why` is a sentence then."""

    message: MessageId
    contact: AccountId
    delivery: Delivery
    why: str = ""


class TransferEnded(Event, frozen=True):
    """A file has come to where it should be, or was given up or cancelled; `why` is a sentence then."""

    message: MessageId
    contact: AccountId
    direction: Direction
    state: TransferState
    why: str = ""


class Requested(Event, frozen=True):
    """Somebody unknown has written: accept or block."""

    contact: Contact


class Alarmed(Event, frozen=True):
    """Something is not as it should be.

    Attributes:
        contact: whom it is about, or who claims to have sent it; None: nobody, or ourselves.
        message: which message, where it is known.
        detail: more for people; may be empty.
    """

    alarm: Alarm
    contact: AccountId | None = None
    message: MessageId | None = None
    detail: str = ""
