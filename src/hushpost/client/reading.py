"""One envelope: opened, checked, and taken into the database, or refused with its reason. No network here.

Everything that can be refused is refused before anything is written, so that a refused envelope moves no
ratchet. What is written belongs to the caller's transaction, which also notes how far the mailbox was read;
only then is the server told. Normative text: docs/spec/envelope.md, "Reading", and
docs/spec/delivery.md, "Receiving, on the device".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hushpost.client import journal
from hushpost.client.clock import jittered
from hushpost.client.context import Context, own_manifest
from hushpost.client.following import Followed, absorb, follow
from hushpost.client.ratchets import First, Ratchet, Ratchets
from hushpost.client.store import Tables, Undecryptable
from hushpost.client.store.me import DeliveryToken
from hushpost.client.transfers.offers import attached, note_offer
from hushpost.client.values import Alarm, Delivery, DeliveryChanged, Message, Received, Requested, Standing
from hushpost.client.writing import resend, say
from hushpost.crypto.content import Card, Introduction, Receipt, ResendRequest, SessionReset, Text
from hushpost.crypto.envelope import Arrived, Claim, Opened, Unplaced, open_letter, open_seal
from hushpost.crypto.faults import EnvelopeFault
from hushpost.crypto.identity import NO_MANIFEST, Device, Manifest, ManifestFault, ManifestHash
from hushpost.crypto.inner import Party
from hushpost.crypto.offer import FileOffer
from hushpost.crypto.prekeys import Owner, PrekeyCheck
from hushpost.crypto.primitives import SealOpener, sha256
from hushpost.errors import EnvelopeError, ManifestError, PrekeyError
from hushpost.ids import AccountId, EnvelopeId, MessageId
from hushpost.wire.messages import WaitingEnvelope

RECEIPT_DELAY = 4.0
"""Seconds at most until a receipt goes out, and half of it at least: several go together, and whoever watches
the server sees no answer follow a message at once."""

RESEND_WINDOW = 14 * 86_400
"""Seconds: what a broken session swallowed longer ago is not sent again by itself."""

OUT_OF_ORDER = "this was written before messages that came earlier"
"""Whoever carries the mail can change its order, and so what an answer seems to answer."""

MAX_RESENT = 32
"""Messages that are sent again for one broken session."""

_MENDED = {EnvelopeFault.NO_SESSION, EnvelopeFault.RATCHET}
"""What a new session mends."""


@dataclass(frozen=True, slots=True)
class Unlisted:
    """The sender's device is not in the manifest that we have: fetch a newer one, then read again."""

    account: AccountId


class Unknown(Exception):
    """As `Unlisted`, inside."""

    def __init__(self, account: AccountId) -> None:
        super().__init__("the sender is not known well enough")
        self.account = account


@dataclass(frozen=True, slots=True)
class Page:
    """What one transaction reads.

    Attributes:
        receipts_due: when the receipts of its messages go out, seconds since 1970.
    """

    t: Tables
    ratchets: Ratchets
    receipts_due: int


class Reader:
    """Reads the envelopes of one mailbox."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._unseen: dict[AccountId, ManifestHash] = {}
        self._openers: dict[int, SealOpener] = {}

    def begin(self, t: Tables) -> Page:
        """A transaction that reads. All of it is to be read within this one."""
        due = self._ctx.clock.now() + max(1, round(jittered(RECEIPT_DELAY)))
        return Page(t, Ratchets(t), due)

    def take(self, page: Page, waiting: WaitingEnvelope, *, again: bool = False) -> Unlisted | None:
        """Read one envelope into the database.

        Args:
            again: the sender's manifests were fetched meanwhile: there is nothing more to wait for.

        Returns:
            Nothing, or what must be fetched first; then nothing was written.
        """
        t, envelope = page.t, EnvelopeId(waiting.envelope)
        try:
            claim = self._open(t, waiting)
        except EnvelopeError as error:  # nobody has claimed anything: anybody makes as many as they like
            t.story.tell(envelope, f"dropped: {error}", self._ctx.clock.now())
            return None
        if _is_blocked(t, claim):
            t.story.tell(envelope, "dropped: from somebody blocked", self._ctx.clock.now())
            return None
        try:
            self._read(page, claim)
        except Unknown as unknown:
            nobody = unknown.account != self._ctx.me.account.id and t.people.get(unknown.account) is None
            if nobody and not t.people.has_room():
                t.people.turn_away()
                t.story.tell(envelope, "dropped: too many strangers wait", self._ctx.clock.now())
                return None
            if not again:
                return Unlisted(unknown.account)
            if nobody:  # what was fetched of them is of no use without them
                t.people.forget(unknown.account)
            self._lost(t, waiting, claim, EnvelopeError(EnvelopeFault.WRONG_DEVICE))
        except EnvelopeError as error:
            if _is_repeat(t, claim):
                t.story.tell(envelope, "dropped: a repeat", self._ctx.clock.now())
            else:
                self._lost(t, waiting, claim, error)
        return None

    def put_aside(self, t: Tables, waiting: WaitingEnvelope, reason: str) -> None:
        """What could not be read to an end, for a reason that nobody thought of, is kept for a look.

        Nothing is said about its sender: whatever was found out before is not to be relied upon.
        """
        now, envelope = self._ctx.clock.now(), EnvelopeId(waiting.envelope)
        t.undecryptable.add(Undecryptable(envelope, now, reason, None, None, waiting.header, waiting.body))
        t.story.tell(envelope, f"did not open: {reason}", now)
        journal.alarm(t, Alarm.UNDECRYPTABLE, now, detail=reason)

    def take_unseen(self) -> list[tuple[AccountId, ManifestHash]]:
        """The manifests that senders named and that we do not have; each once."""
        unseen, self._unseen = self._unseen, {}
        return list(unseen.items())

    # --- opening

    def _open(self, t: Tables, waiting: WaitingEnvelope) -> Claim:
        key_id = waiting.seal_key_id
        key = t.seals.find(key_id)
        if key is None:  # an opener of a key that was deleted must open nothing
            self._openers.pop(key_id, None)
            raise EnvelopeError(EnvelopeFault.SEAL)
        opener = self._openers.get(key_id)
        if opener is None:
            opener = self._openers[key_id] = SealOpener(key.secret)
        arrived = Arrived(EnvelopeId(waiting.envelope), key_id, waiting.header, waiting.body)
        return open_seal(arrived, opener, self._ctx.me.device)

    def forget_keys(self) -> None:
        """Let go of opened seal keys: some may be deleted in the database, and must not be left in memory."""
        self._openers.clear()

    def _read(self, page: Page, claim: Claim) -> None:
        ratchet = page.ratchets.decrypt(claim)
        try:
            taken = self._take(page, claim, ratchet)
        except (EnvelopeError, Unknown):
            page.ratchets.refuse(ratchet)
            raise
        if not taken:
            page.ratchets.refuse(ratchet)

    def _take(self, page: Page, claim: Claim, ratchet: Ratchet) -> bool:
        """What the ratchet opened. False: it is of a stranger for whom there is no room."""
        t, now = page.t, self._ctx.clock.now()
        own = own_manifest(t, self._ctx.me)
        us = Party(self._ctx.me.account, self._ctx.me.device, own.hash)
        letter = open_letter(claim, ratchet.proof, us)
        followed = self._follow(t, letter)
        opened = _place(t, letter, followed.newest)
        if opened.is_removed and isinstance(ratchet, First):
            raise EnvelopeError(EnvelopeFault.WRONG_DEVICE)
        # Nothing was written up to here; behind this, nothing is refused.
        is_new = t.people.get(letter.claimed.account.id) is None
        standing = _admit(t, followed.newest, now)
        if standing is None:
            return False
        manifest = absorb(t, followed, now)
        person = t.people.get(manifest.account.id)
        if is_new and person is not None:
            journal.write(t, Requested(journal.UNNUMBERED, now, journal.as_contact(t, person)))
        if standing is Standing.CONTACT:
            self._note_newer(t, opened)
        if letter.introduction is not None:
            _keep_seal(t, manifest, opened.device, letter.introduction, now)
        page.ratchets.keep(ratchet, claim, opened.device.id, now)
        account = manifest.account.id
        is_late = standing is Standing.CONTACT and _note_gap(t, account, opened, now)
        speaks = not all(isinstance(each, Introduction | Card) for each in opened.content.parts)
        t.devices.heard(account, opened.device.id, opened.counter, now, speaks=speaks)
        t.people.knows(account, NO_MANIFEST if opened.our_manifest_differs else own.hash)
        if t.received.add(opened.device.id, opened.message, _trace(claim), now):
            self._say(page, account, opened, standing)
            if is_late:
                t.history.remark(account, opened.message, OUT_OF_ORDER)
        return True

    def _follow(self, t: Tables, letter: Unplaced) -> Followed:
        """The sender's account as far as it is verified, with what their introduction says.

        Raises:
            Unknown: nobody knows them.
            EnvelopeError: WRONG_ACCOUNT: what they say of themselves does not hold.
        """
        pin = letter.claimed.account
        known = t.manifests.newest(pin.id)
        if letter.introduction is not None and (known is None or known.hash != letter.claimed.manifest):
            try:
                return follow(t, pin, _since(known, letter.introduction.manifests))
            except ManifestError as error:
                if known is None:
                    raise EnvelopeError(EnvelopeFault.WRONG_ACCOUNT) from None
                if error.reason == ManifestFault.FORK:
                    journal.alarm(t, Alarm.FORK, self._ctx.clock.now(), pin.id)
        if known is None:
            raise Unknown(pin.id)
        return Followed(known, (), known, ())

    def _note_newer(self, t: Tables, opened: Opened) -> None:
        """They are at a manifest of theirs that we have not seen: somebody has to ask for it."""
        sender = opened.sender
        if opened.their_manifest_differs:
            known = t.manifests.version_of(sender.account.id, sender.manifest)
            if known is None:
                self._unseen[sender.account.id] = sender.manifest

    # --- keeping

    def _say(self, page: Page, account: AccountId, opened: Opened, standing: Standing) -> None:
        """Do what the message says. A repeat does not come here."""
        t, content, now = page.t, opened.content, self._ctx.clock.now()
        text, offer = content.get(Text), content.get(FileOffer)
        if text is not None or offer is not None:
            self._keep_message(t, account, opened)
            if offer is not None:
                note_offer(t, account, opened.message, offer, now)
            if standing is Standing.CONTACT and t.me.sends_receipts():
                t.outbox.owe_receipt(account, opened.message, page.receipts_due)
        # Of a stranger, too: they tell it once, and it serves when they are accepted. Not of a device that
        # was removed: it would shut its account's other devices out.
        if (card := content.get(Card)) is not None and not opened.is_removed:
            t.people.gave_token(account, DeliveryToken(card.token))
            t.outbox.let_in(account)
        if standing is not Standing.CONTACT:
            return
        if (receipt := content.get(Receipt)) is not None:
            for message in receipt.messages:
                if t.outbox.delivered(message, account, opened.device.id, now):
                    t.story.tell(message, "delivered: their device has it", now)
                    change = (journal.UNNUMBERED, now, message, account, Delivery.DELIVERED)
                    journal.progress(t, DeliveryChanged(*change))
        self._mend(t, account, opened)

    def _keep_message(self, t: Tables, account: AccountId, opened: Opened) -> None:
        now, text, offer = self._ctx.clock.now(), opened.content.get(Text), opened.content.get(FileOffer)
        remark = ""
        if opened.is_removed:
            remark = str(Alarm.REMOVED_DEVICE)
            journal.alarm(t, Alarm.REMOVED_DEVICE, now, account)
        message = Message(
            opened.message,
            account,
            False,
            text.text if text else "",
            opened.sent_at,
            now,
            Delivery.DELIVERED,
            remark,
            attached(offer) if offer else None,
        )
        if t.history.add(message, opened.device.id, opened.encoded):
            t.story.tell(opened.message, "received, decrypted and stored", now)
            journal.write(t, Received(journal.UNNUMBERED, now, message))

    def _mend(self, t: Tables, account: AccountId, opened: Opened) -> None:
        """What their device could not open is sent again, as far as it was meant for it."""
        now, device = self._ctx.clock.now(), t.devices.get(account, opened.device.id)
        if device is None:
            return
        wanted: list[MessageId] = []
        if (request := opened.content.get(ResendRequest)) is not None:
            wanted += request.messages
        if opened.content.get(SessionReset) is not None:
            wanted += t.repair.unconfirmed(account, device.id, now - RESEND_WINDOW, MAX_RESENT)
        resend(t, self._ctx, device, wanted[:MAX_RESENT])

    # --- what did not open

    def _lost(self, t: Tables, waiting: WaitingEnvelope, claim: Claim, error: EnvelopeError) -> None:
        """Keep it for a look, show it, and offer a new session: once an hour for each claimed device."""
        now, reason = self._ctx.clock.now(), str(error)
        envelope = EnvelopeId(waiting.envelope)
        claimed = claim.claimed_account.id, claim.claimed_device
        t.undecryptable.add(Undecryptable(envelope, now, reason, *claimed, waiting.header, waiting.body))
        t.story.tell(envelope, f"did not open: {reason}", now)
        person, device = t.people.get(claimed[0]), t.devices.get(*claimed)
        journal.alarm(t, Alarm.UNDECRYPTABLE, now, person.account if person else None, reason)
        if person is None or person.standing is not Standing.CONTACT or device is None or not device.listed:
            return
        if error.reason in _MENDED and t.sessions.may_reset(device.id, now):
            say(t, self._ctx, person.account, SessionReset(claim.session))
            journal.alarm(t, Alarm.SESSION_RESET, now, person.account)


def _since(known: Manifest | None, manifests: Sequence[bytes]) -> list[bytes]:
    """Of a chain that the sender chose, what we do not have: we may know more than they thought."""
    first = known.version if known else 0
    return [raw for raw in manifests if Manifest.decode(raw).version >= first]


def _is_blocked(t: Tables, claim: Claim) -> bool:
    """Of somebody whom the user does not want to hear."""
    person = t.people.get(claim.claimed_account.id)
    return person is not None and person.standing is Standing.BLOCKED


def _is_repeat(t: Tables, claim: Claim) -> bool:
    """Whether what did not open are the very bytes of a ratchet message that was taken already.

    A server can hand out an envelope again, and a sender that heard no answer seals the same message anew: no
    ratchet opens it twice, and neither means that anything is broken.
    """
    return t.received.has(claim.claimed_device, _trace(claim))


def _trace(claim: Claim) -> MessageId:
    """What the very bytes of a ratchet message are remembered by, beside the ids of messages."""
    return MessageId(sha256(claim.message.encoded)[: MessageId.SIZE])


def _place(t: Tables, letter: Unplaced, manifest: Manifest) -> Opened:
    """Raises:
    Unknown: a newer manifest may list the device.
    EnvelopeError: WRONG_ACCOUNT.
    """
    known = t.devices.get(manifest.account.id, letter.claimed.device)
    removed = () if known is None else (known.device,)  # perhaps by what this very message brings
    try:
        return letter.place(manifest, removed)
    except EnvelopeError as error:
        if error.reason == EnvelopeFault.WRONG_DEVICE:
            raise Unknown(manifest.account.id) from None
        raise


def _admit(t: Tables, manifest: Manifest, now: int) -> Standing | None:
    """What the sender is to us; None: a stranger for whom there is no room."""
    account = manifest.account
    person = t.people.get(account.id)
    if person is not None and person.standing is Standing.CONTACT:
        return Standing.CONTACT
    if not t.people.ask(account, manifest.name, now):
        return None
    return Standing.REQUEST


def _note_gap(t: Tables, account: AccountId, opened: Opened, now: int) -> bool:
    """Note whether messages of this device are missing in front of this one; or it was missing itself.

    Returns:
        Whether it was: others that were written after it are here already.
    """
    device = t.devices.get(account, opened.device.id)
    highest = device.received if device else 0
    if (count := opened.counter - highest - 1) > 0:
        t.gaps.skipped(account, opened.device.id, highest + 1, opened.counter - 1, now)
        t.story.tell(opened.message, f"before it, {count} of their messages are missing or late", now)
    elif count < 0 and t.gaps.came(opened.device.id, opened.counter):
        t.story.tell(opened.message, "came late: later ones were here before it", now)
        return True
    return False


def _keep_seal(t: Tables, manifest: Manifest, device: Device, shown: Introduction, now: int) -> None:
    """The sender's seal key, so that the server need not be asked, and does not learn whom we answer."""
    known = t.devices.get(manifest.account.id, device.id)
    check = PrekeyCheck(Owner(manifest.account.id, device), now, known.seal if known else None)
    try:
        t.devices.keep_seal(manifest.account.id, device.id, check.seal(shown.seal))
    except PrekeyError:
        return  # an old one, after a newer came from elsewhere: the message itself is whole
