"""The offer of a file, as a message like any other: written when the server has the file, and read."""

from __future__ import annotations

from hushpost.client import journal
from hushpost.client.context import Context
from hushpost.client.store import SourceKind, Tables, Upload
from hushpost.client.transfers.naming import media_type_of
from hushpost.client.values import (
    AttachedFile,
    Delivery,
    Direction,
    Message,
    Standing,
    TransferEnded,
    TransferState,
)
from hushpost.client.writing import check_recipient, post
from hushpost.crypto.content import Content, Text
from hushpost.crypto.filekeys import FileDigest
from hushpost.crypto.offer import MAX_NAME, FileOffer, Mode
from hushpost.errors import UsageError
from hushpost.ids import AccountId, MessageId


def attached(offer: FileOffer) -> AttachedFile:
    """What a message shows of it."""
    return AttachedFile(offer.name, offer.size, offer.media_type, offer.mode is Mode.FOLDER)


def note_offer(t: Tables, contact: AccountId, message: MessageId, offer: FileOffer, now: int) -> None:
    """Somebody offers a file. What a contact offers may be small enough to be fetched unasked."""
    person, wish = t.people.get(contact), t.downloads.automatic()
    is_contact = person is not None and person.standing is Standing.CONTACT
    unasked = is_contact and offer.size <= wish.below and wish.below > 0
    t.downloads.offered(contact, message, offer, now, target=wish.folder if unasked else "")


def offer_of(upload: Upload, size: int, digest: FileDigest) -> FileOffer:
    """Everything that opens the file."""
    attempt, is_folder = upload.attempt, upload.kind is SourceKind.FOLDER
    return FileOffer(
        attempt.blob,
        attempt.key,
        size,
        digest,
        attempt.read,
        attempt.release,
        upload.name,
        "" if is_folder else media_type_of(upload.name),
        Mode.FOLDER if is_folder else Mode.FILE,
    )


def post_offer(t: Tables, ctx: Context, upload: Upload, size: int, digest: FileDigest) -> None:
    """The server has all of it: tell the recipient. Nothing happens where that was done.

    Raises:
        Blocked: the user has to decide something first; the same call is good afterwards.
    """
    present = t.uploads.get(upload.message)
    if present is None or present.state is TransferState.DONE:
        return
    check_recipient(t, upload.contact)
    offer, now = offer_of(upload, size, digest), ctx.clock.now()
    captions = [Text(upload.caption)] if upload.caption else []
    message = Message(
        upload.message,
        upload.contact,
        True,
        upload.caption,
        now,
        now,
        Delivery.QUEUED,
        file=attached(offer),
    )
    post(t, ctx, message, Content.of(*captions, offer).encode())
    remark = "" if upload.state is TransferState.FAILED else upload.why  # what it failed of is mended
    t.uploads.stands(upload.message, TransferState.DONE, remark)
    about = upload.message, upload.contact, Direction.SENT
    end(t, TransferEnded(journal.UNNUMBERED, now, *about, TransferState.DONE))


def end(t: Tables, event: TransferEnded) -> None:
    """Let everybody know that a transfer has ended."""
    journal.write(t, event)
    told = {TransferState.DONE: "the file is through", TransferState.CANCELLED: "the file was cancelled"}
    t.story.tell(event.message, told.get(event.state, f"the file was given up: {event.why}"), event.at)


def check_words(name: str, caption: str) -> None:
    """Accept what an offer can say.

    Raises:
        UsageError: a name or a caption that does not fit.
    """
    if not 1 <= len(name.encode(errors="replace")) <= MAX_NAME:
        raise UsageError("a file's name has 1 to 255 bytes", hint="give it another one with --as")
    if caption:
        try:
            Content.of(Text(caption)).encode()
        except ValueError:
            raise UsageError("a caption has 1 byte to 128 KiB") from None
