"""Two devices with real ratchets: what a test of envelopes needs on both sides."""

from __future__ import annotations

from dataclasses import dataclass, field

from hushpost.crypto.body import Body
from hushpost.crypto.content import Content, Part
from hushpost.crypto.envelope import Arrived, Peer, Route, seal, write
from hushpost.crypto.identity import Device, Manifest, first_manifest
from hushpost.crypto.inner import Party
from hushpost.crypto.prekeys import Bundle, Owner, SealPrekey, SessionPrekey
from hushpost.crypto.primitives import SealOpener, SealSecret
from hushpost.crypto.ratchet import DeviceAccount, NewKey, Session
from hushpost.ids import EnvelopeId, MessageId
from tests.crypto.people import Person

NOW = 1_750_000_000


class Phone:
    """A person's only device, with everything that it has secret."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.olm = DeviceAccount.create()
        keys = self.olm.signing_key, self.olm.dh_key
        self.device = Device.consenting(self.olm, person.account.id, *keys, NOW)
        self.manifest: Manifest = first_manifest(
            person.secret, person.recovery.public, person.name, [self.device]
        )
        self.owner = Owner(person.account.id, self.device)
        self.seal_secret = SealSecret.random()
        self.opener = SealOpener(self.seal_secret)
        self.seal_key = SealPrekey.by(self.olm, self.owner, 7, self.seal_secret.public, NOW + 86_400)
        self.olm.make_one_time_keys(5)
        self.olm.make_fallback_key()
        published = self.olm.unpublished
        assert published.fallback is not None
        self.one_time = [self.signed(key) for key in published.one_time]
        self.fallback = self.signed(published.fallback)
        self.olm.mark_published(published)

    def signed(self, key: NewKey) -> SessionPrekey:
        return SessionPrekey.by(self.olm, self.owner, key.kind, key.key_id, key.key)

    def bundle(self, *, fallback: bool = False) -> Bundle:
        return Bundle(self.owner, self.seal_key, self.fallback if fallback else self.one_time.pop())

    @property
    def party(self) -> Party:
        return Party(self.person.account, self.device.id, self.manifest.hash)

    @property
    def peer(self) -> Peer:
        return Peer.of(self.manifest, self.device)


@dataclass
class Line:
    """One direction between two phones; counts what it sends."""

    sender: Phone
    recipient: Phone
    session: Session
    counter: int = field(default=0)

    @classmethod
    def open(cls, sender: Phone, recipient: Phone, *, fallback: bool = False) -> Line:
        return cls(sender, recipient, sender.olm.open_session(recipient.bundle(fallback=fallback)))

    def body(self, *parts: Part) -> Body:
        return Body.of(MessageId.random(), Content.of(*parts).encode())

    def send(self, *parts: Part, body: Body | None = None, route: Route | None = None) -> Arrived:
        """As it comes out of the recipient's mailbox."""
        self.counter += 1
        body = body or self.body(*parts)
        route = route or Route(self.sender.party, self.recipient.peer)
        header = write(self.session, body, route, counter=self.counter, sent_at=NOW)
        to, envelope = self.recipient.seal_key, EnvelopeId.at(NOW)
        sealed = seal(header, recipient=self.recipient.device.id, to=to, envelope=envelope, body=body.digest)
        return Arrived(envelope, to.key_id, sealed, body.encrypted)
