"""A profile's encrypted database: who we are, our keys, others, sessions, post, history, events.

`Store` opens it; a transaction hands out `Tables`, one noun each. Normative text of what must be
kept and when: docs/spec/delivery.md.
"""

from hushpost.client.store.devices import PeerDevice
from hushpost.client.store.downloads import Arrived, Automatic, Offered
from hushpost.client.store.events import StoredEvent
from hushpost.client.store.history import Undecryptable
from hushpost.client.store.me import NO_EPOCH, DeliveryToken, Enrolment, Epoch, Home, Me, OwnToken, Position
from hushpost.client.store.opening import StoreKey
from hushpost.client.store.outbox import Draft, Part, Purpose, Queued, Sent, State
from hushpost.client.store.people import How, Person
from hushpost.client.store.prekeys import Fallback
from hushpost.client.store.seals import OwnSealKey
from hushpost.client.store.sessions import StoredSession
from hushpost.client.store.store import Store, Tables
from hushpost.client.store.thread import StoreThread
from hushpost.client.store.uploads import NO_STAMP, Attempt, SourceKind, Stamp, Upload

__all__ = [
    "NO_EPOCH",
    "NO_STAMP",
    "Arrived",
    "Attempt",
    "Automatic",
    "DeliveryToken",
    "Draft",
    "Enrolment",
    "Epoch",
    "Fallback",
    "Home",
    "How",
    "Me",
    "Offered",
    "OwnSealKey",
    "OwnToken",
    "Part",
    "PeerDevice",
    "Person",
    "Position",
    "Purpose",
    "Queued",
    "Sent",
    "SourceKind",
    "Stamp",
    "State",
    "Store",
    "StoreKey",
    "StoreThread",
    "StoredEvent",
    "StoredSession",
    "Tables",
    "Undecryptable",
    "Upload",
]
