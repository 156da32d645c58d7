"""From what somebody wants to say to the exact bytes for each device.

One transaction holds the ratchets' moves and the bytes that came out of them; whatever happens afterwards,
the same bytes are sent. Normative text: docs/spec/delivery.md, "Sending".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hushpost.client.context import Context, check_may_send, device_account, known_me, own_manifest
from hushpost.client.store import Draft, Part, PeerDevice, Person, Purpose, State, StoredSession, Tables
from hushpost.client.upkeep import own_owner, signed_seal
from hushpost.client.values import Delivery, Message, Standing, Trust
from hushpost.crypto.body import Body
from hushpost.crypto.content import (
    MAX_MANIFESTS,
    Card,
    Content,
    DeliveryToken,
    Introduction,
    SessionReset,
    Text,
)
from hushpost.crypto.content import Part as ContentPart
from hushpost.crypto.envelope import Peer, Route, write
from hushpost.crypto.inner import Party
from hushpost.crypto.ratchet import Session
from hushpost.errors import Blocked, UnknownAccount, UsageError
from hushpost.ids import AccountId, DeviceId, EnvelopeId, MessageId

MAX_INTRODUCED = 96 * 1024
"""Bytes of our manifests in one message: the largest text stays possible beside them."""

MAX_AGAIN = 3
"""Times that one message is sent again on request."""

MAX_AGAIN_PER_HOUR = 64
"""Messages that one account gets again within an hour: two broken sessions' worth."""


@dataclass(frozen=True, slots=True)
class Lacking:
    """What has to be asked of the server before a draft can be encrypted.

    Attributes:
        sessions: devices to begin a new session with; none: only manifests and seal keys are missing.
    """

    sessions: tuple[DeviceId, ...]


def compose(t: Tables, ctx: Context, contact: AccountId, text: str) -> Message:
    """Put a text into history and outbox.

    Raises:
        Blocked: by us, or because a verified person's key was replaced.
        UsageError: an empty text, one that is too long, or nobody that we know.
        OldCopy: nothing is sent from this database any more.
    """
    check_recipient(t, contact)
    now = ctx.clock.now()
    try:
        content = Content.of(Text(text)).encode()
    except ValueError:
        raise UsageError("a text has 1 byte to 128 KiB", hint="send what is longer with --file") from None
    message = Message(MessageId.random(), contact, True, text, now, now, Delivery.QUEUED)
    post(t, ctx, message, content)
    return message


def post(t: Tables, ctx: Context, message: Message, content: bytes) -> None:
    """Put a message of ours into history and outbox."""
    t.history.add(message, ctx.me.device, content)
    t.outbox.add(message.id, message.contact, content, message.stored_at)
    t.story.tell(message.id, "written, and safe on this device", message.stored_at)


def check_recipient(t: Tables, contact: AccountId) -> None:
    """Raises:
    Blocked, UsageError, OldCopy: as `compose`.
    """
    check_may_send(known_me(t))
    person = t.people.get(contact)
    if person is None:
        raise UsageError("this is nobody that you know", hint="add a contact by link or by name first")
    check_may_write(person)


def check_may_write(person: Person) -> None:
    """Raises:
    Blocked: the user has to decide something first.
    """
    if person.standing is Standing.BLOCKED:
        raise Blocked("you have blocked this person", hint="accept them first")
    if person.standing is Standing.REQUEST:
        raise Blocked("this person waits for you to accept or block them", hint="accept them first")
    if person.trust is Trust.CHANGED:
        raise Blocked(
            "this verified person's account key was replaced; nothing is sent until you decide",
            hint="compare safety numbers and verify again, or accept them as unverified; then send it again",
        )


def say(t: Tables, ctx: Context, contact: AccountId, *parts: ContentPart) -> None:
    """Put something into the outbox that stands in no history: a receipt, a token, an empty answer.

    Nobody has asked the user about it. So it is left out where a text of theirs would be refused, too.
    """
    person = t.people.get(contact)
    if person is not None and person.is_open:
        content = Content.of(*parts).encode()
        t.outbox.add(MessageId.random(), contact, content, ctx.clock.now(), Purpose.SERVICE)


def encrypt(t: Tables, ctx: Context, draft: Draft, envelope: EnvelopeId) -> Lacking | None:
    """Encrypt a draft for all devices of its account; None: it was done.

    Raises:
        UnknownAccount: they are not in this database any more.
        Blocked: nothing may be sent to them now.
    """
    person, manifest = t.people.get(draft.account), t.manifests.newest(draft.account)
    if person is None:
        raise UnknownAccount("this person was deleted here")
    check_may_write(person)
    content = Content.decode(draft.content)
    devices = t.devices.listed(draft.account)
    if draft.purpose is Purpose.AGAIN:
        _check_had_it(t, draft, devices)
    lacking = _lacking(t, ctx, devices, content.get(SessionReset))
    if manifest is None or lacking is not None:
        return lacking or Lacking(())
    told = _tell(t, ctx, person, content)
    body = Body.of(draft.message, told.encode())
    us = Party(ctx.me.account, ctx.me.device, own_manifest(t, ctx.me).hash)
    parts = [_part(t, ctx, draft, body, Route(us, Peer.of(manifest, each.device))) for each in devices]
    t.outbox.encrypted(draft.number, envelope, body.encrypted, parts)
    t.story.tell(draft.message, "encrypted", ctx.clock.now())
    return None


def _check_had_it(t: Tables, draft: Draft, devices: tuple[PeerDevice, ...]) -> None:
    """A message goes once more to whom it went before. Whoever took an account over was not among them.

    Raises:
        Blocked: a device is listed that it was not addressed to.
    """
    for each in devices:
        if not t.outbox.was_addressed(draft.message, draft.account, each.id):
            raise Blocked("their devices have changed since it was written")


def _lacking(
    t: Tables, ctx: Context, devices: tuple[PeerDevice, ...], reset: SessionReset | None
) -> Lacking | None:
    """What is missing to write to these devices; None: nothing.

    Seal keys first: who is away for long would otherwise lose a one-time key to each of our attempts.
    """
    now = ctx.clock.now()
    if not can_seal_to(devices, now):
        return Lacking(())
    sessions = tuple(each.id for each in devices if _needs_session(t.sessions.active(each.id), reset, now))
    return Lacking(sessions) if sessions else None


def can_seal_to(devices: Sequence[PeerDevice], now: int) -> bool:
    """Whether these are devices at all, and each has a seal key that is good."""
    return bool(devices) and all(each.seal is not None and not each.seal.is_expired(now) for each in devices)


def _needs_session(active: StoredSession | None, reset: SessionReset | None, now: int) -> bool:
    if active is None or active.is_worn(now):
        return True
    return reset is not None and active.hash == reset.session


def _tell(t: Tables, ctx: Context, person: Person, content: Content) -> Content:
    """The content with what this person should learn on the way: who we are, and how to answer."""
    own, token = own_manifest(t, ctx.me), t.me.token()
    parts = list(content.parts)
    is_new = person.knows != own.hash
    if is_new and content.get(Introduction) is None:
        since = t.manifests.version_of(own.account.id, person.knows) or 0
        seal, owner = t.seals.present() or t.seals.newest(), own_owner(t, ctx)
        chain = _beginning(t.manifests.chain(own.account.id, since))
        if seal is not None and chain:
            parts.append(Introduction(signed_seal(device_account(t), owner, seal).encode(), chain))
    may_know = person.standing is Standing.CONTACT and token is not None
    if may_know and token is not None and (is_new or person.told < token.generation):
        parts.append(Card(DeliveryToken(token.token), ""))
        t.people.told(person.account, token.generation)
    return Content.of(*parts)


def _beginning(chain: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """As many manifests as an introduction takes beside a text. Who needs more of them asks the server."""
    size = 0
    for count, each in enumerate(chain[:MAX_MANIFESTS]):
        size += len(each)
        if size > MAX_INTRODUCED:
            return chain[:count]
    return chain[:MAX_MANIFESTS]


def _part(t: Tables, ctx: Context, draft: Draft, body: Body, route: Route) -> Part:
    """The message for one device: its session moves on, and the bytes are kept."""
    device, now = route.recipient.device.id, ctx.clock.now()
    stored = t.sessions.active(device)
    if stored is None:
        raise ValueError("no session with this device")
    session = Session.unpickle(stored.pickle)
    counter = t.devices.next_counter(draft.account, device, now)
    header = write(session, body, route, counter=counter, sent_at=draft.made_at)
    t.sessions.encrypted(stored, session.pickle())
    return Part(device, header.encode())


def resend(t: Tables, ctx: Context, to: PeerDevice, wanted: Sequence[MessageId]) -> int:
    """Put messages into the outbox again that this device could not open; how many.

    Only what was addressed to this very device, and only while its account lists it: nobody can ask for
    somebody else's messages, or for those from before they were a device. A small request can ask for
    much, so each message goes a few times only, and so many go in an hour.
    """
    account, now, count = to.account, ctx.clock.now(), 0
    person = t.people.get(account)
    if not to.listed or person is None or not person.is_open:
        return 0
    room = MAX_AGAIN_PER_HOUR - t.outbox.sent_again(account, now - 3_600)
    for message in list(dict.fromkeys(wanted))[: max(0, room)]:
        content = t.history.content(account, message, ours=True)
        if content is None or not t.outbox.was_addressed(message, account, to.id):
            continue
        sends = [each for each in t.outbox.of(message) if each.account == account]
        if len(sends) > MAX_AGAIN or any(each.state in (State.DRAFT, State.QUEUED) for each in sends):
            continue
        t.outbox.add(message, account, content, now, Purpose.AGAIN)
        t.story.tell(message, "sent again, since their device could not open it", now)
        count += 1
    return count
