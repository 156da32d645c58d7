"""Events as they are kept: references, so that a text stands in the history and nowhere else."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from hushpost.client.store import Person, StoredEvent, Tables
from hushpost.client.values import (
    Alarm,
    Alarmed,
    Contact,
    Delivery,
    DeliveryChanged,
    Direction,
    Event,
    Received,
    Requested,
    TransferEnded,
    TransferState,
)
from hushpost.ids import AccountId, MessageId


class Kind(StrEnum):
    """What happened."""

    RECEIVED = "received"
    DELIVERY = "delivery"
    REQUESTED = "requested"
    ALARM = "alarm"
    SENT = "sent"
    FETCHED = "fetched"


class Note(msgspec.Struct, array_like=True, frozen=True):
    """An event, at rest.

    Attributes:
        contact, message: ids; empty: none.
        what: a `Delivery`, an `Alarm`, or of a file a `TransferState`.
        detail: a sentence.
    """

    kind: Kind
    contact: bytes = b""
    message: bytes = b""
    what: str = ""
    detail: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Note).decode


UNNUMBERED = 0
"""The number of an event that is about to be written: the store gives it its own."""


LASTING = frozenset({Alarm.CANNOT_CONNECT})
"""Found anew by every connection that is tried."""


def write(t: Tables, event: Event) -> None:
    """Keep it; what it refers to stands in the other tables already."""
    match event:
        case Received(message=message):
            note = Note(Kind.RECEIVED, bytes(message.contact), bytes(message.id))
        case DeliveryChanged(message=name, contact=account, delivery=delivery, why=why):
            note = Note(Kind.DELIVERY, bytes(account), bytes(name), delivery.value, why)
        case TransferEnded(contact=account, message=name, direction=direction, state=state, why=why):
            kind = Kind.SENT if direction is Direction.SENT else Kind.FETCHED
            note = Note(kind, bytes(account), bytes(name), state.value, why)
        case Requested(contact=contact):
            note = Note(Kind.REQUESTED, bytes(contact.account))
        case Alarmed():
            about = bytes(event.contact or b""), bytes(event.message or b"")
            note = Note(Kind.ALARM, *about, event.alarm.name, event.detail)
        case _:
            raise TypeError(f"no event: {type(event).__name__}")
    t.events.add(_encode(note), event.at)


def progress(t: Tables, change: DeliveryChanged) -> None:
    """A message of ours has come further, or was given up. Nothing happens where that was known."""
    if t.history.progress(change.contact, change.message, change.delivery, change.why):
        write(t, change)


def alarm(t: Tables, what: Alarm, now: int, contact: AccountId | None = None, detail: str = "") -> None:
    """Something must be shown. What lasts is told once, and again when something else has happened since."""
    event = Alarmed(UNNUMBERED, now, what, contact, None, detail)
    if what in LASTING:
        for last in t.events.after(t.events.newest() - 1):
            if read(t, last) == msgspec.structs.replace(event, number=last.number, at=last.at):
                return
    write(t, event)


def read(t: Tables, stored: StoredEvent) -> Event | None:
    """The event; None: what it was about was deleted since."""
    note = _decode(stored.payload)
    number, at = stored.number, stored.at
    contact = AccountId(note.contact) if note.contact else None
    message = MessageId(note.message) if note.message else None
    event: Event | None = None
    match note.kind:
        case Kind.RECEIVED if contact and message:
            found = t.history.get(contact, message, ours=False)
            event = Received(number, at, found) if found else None
        case Kind.DELIVERY if contact and message:
            event = DeliveryChanged(number, at, message, contact, Delivery(note.what), note.detail)
        case Kind.SENT | Kind.FETCHED if contact and message:
            direction = Direction.SENT if note.kind is Kind.SENT else Direction.RECEIVED
            state = TransferState(note.what)
            event = TransferEnded(number, at, message, contact, direction, state, note.detail)
        case Kind.REQUESTED if contact:
            person = t.people.get(contact)
            event = Requested(number, at, as_contact(t, person)) if person else None
        case Kind.ALARM if note.what in Alarm.__members__:
            event = Alarmed(number, at, Alarm[note.what], contact, message, note.detail)
        case _:
            event = None
    return event


def as_contact(t: Tables, person: Person) -> Contact:
    """A person as the library shows them."""
    devices = tuple(device.id for device in t.devices.listed(person.account))
    return Contact(
        person.account, person.name, person.alias, person.standing, person.trust, devices, person.since
    )
