"""Two devices with real ratchets: what a test of envelopes needs on both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hushpost.crypto.body import Body
from hushpost.crypto.content import Content, Part, Text
from hushpost.crypto.envelope import (
    Arrived,
    Claim,
    Opened,
    Peer,
    Route,
    Unplaced,
    open_letter,
    open_seal,
    seal,
    write,
)
from hushpost.crypto.faults import EnvelopeFault
from hushpost.crypto.identity import Device, Manifest, first_manifest
from hushpost.crypto.inner import Inner, Party
from hushpost.crypto.olm import PrekeyMessage, SessionHash
from hushpost.crypto.prekeys import Bundle, Owner, SealPrekey, SessionPrekey
from hushpost.crypto.primitives import SealOpener, SealSecret
from hushpost.crypto.ratchet import Decrypted, DeviceAccount, NewKey, Session
from hushpost.crypto.seal import Binding, Header, seal_header
from hushpost.errors import EnvelopeError
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


@dataclass
class Reader:
    """A phone's receiving side, the way a client does it: sessions by hash, and hashes remembered."""

    phone: Phone
    sessions: dict[SessionHash, Session] = field(default_factory=dict)
    remembered: set[SessionHash] = field(default_factory=set)

    def claim(self, arrived: Arrived) -> Claim:
        return open_seal(arrived, self.phone.opener, self.phone.device.id)

    def decrypt(self, claim: Claim) -> Decrypted:
        known = self.sessions.get(claim.session)
        if known is not None:
            return known.decrypt(claim.message)
        if not isinstance(claim.message, PrekeyMessage):
            raise EnvelopeError(EnvelopeFault.NO_SESSION)
        session, proof = self.phone.olm.accept(claim.message, remembered=self.remembered)
        self.sessions[session.hash] = session
        self.remembered.add(session.hash)
        return proof

    def unplaced(self, arrived: Arrived) -> Unplaced:
        claim = self.claim(arrived)
        return open_letter(claim, self.decrypt(claim), self.phone.party)

    def read(self, arrived: Arrived, sender: Phone) -> Opened:
        return self.unplaced(arrived).place(sender.manifest)


def lying(line: Line, change: Callable[[Inner], bytes], *, claimed: Party | None = None) -> Arrived:
    """As the sender's own ratchet writes it, but with another inner record or another claim in the header."""
    body = line.body(Text("hello"))
    sender, recipient = line.sender.party, line.recipient
    inner = Inner(body.key, body.digest, sender, recipient.party, body.message, 1, NOW)
    message = line.session.encrypt(change(inner))
    claimed = claimed or sender
    header = Header(claimed.account, claimed.device, line.session.hash, message)
    envelope = EnvelopeId.at(NOW)
    binding = Binding(recipient.device.id, recipient.seal_key.key_id, envelope, body.digest)
    sealed = seal_header(header, recipient.seal_key.key, binding)
    return Arrived(envelope, recipient.seal_key.key_id, sealed, body.encrypted)
