"""Messages from end to end: the parts of this package put together, and taken apart with every check.

Writing has two steps, since the first may happen once and the second as often as it takes:

    header = write(session, body, route, counter, sent_at)     # stored with the session
    sealed = seal(header, device, seal key, envelope id, body) # for each attempt

Reading has four, and each has a type of its own, so that nothing is taken for more than it is:

    claim    = open_seal(arrived, opener, device)         Claim: somebody says that this one wrote
    proof    = session.decrypt(claim.message)             Decrypted: whoever has this key wrote
    unplaced = open_letter(claim, proof, us)              Unplaced: to us, with this body, all of one piece
    opened   = unplaced.place(manifest)                   Opened: the key is this device's of this account

Normative text, with the order of the checks: docs/spec/envelope.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from hushpost.crypto.body import Body, BodyDigest, open_body
from hushpost.crypto.content import Content, Introduction
from hushpost.crypto.faults import EnvelopeFault
from hushpost.crypto.identity.keys import AccountFingerprint
from hushpost.crypto.identity.manifest import Device, Manifest, ManifestHash
from hushpost.crypto.inner import Inner, Party
from hushpost.crypto.olm import OlmMessage, SessionHash
from hushpost.crypto.prekeys import SealPrekey
from hushpost.crypto.primitives import SealOpener, equal
from hushpost.crypto.ratchet import Decrypted, Session
from hushpost.crypto.seal import Binding, Header, open_header, seal_header
from hushpost.errors import EnvelopeError
from hushpost.ids import DeviceId, EnvelopeId, MessageId


@dataclass(frozen=True, slots=True)
class Peer:
    """A device that is written to.

    Attributes:
        manifest: the newest one of its account that we have verified.
    """

    account: AccountFingerprint
    device: Device
    manifest: ManifestHash

    @classmethod
    def of(cls, manifest: Manifest, device: Device) -> Self:
        """As a verified manifest lists it."""
        return cls(manifest.account, device, manifest.hash)

    @property
    def party(self) -> Party:
        return Party(self.account, self.device.id, self.manifest)


@dataclass(frozen=True, slots=True)
class Route:
    """From this device of ours to that one of theirs."""

    sender: Party
    recipient: Peer


def write(session: Session, body: Body, route: Route, *, counter: int, sent_at: int) -> Header:
    """Encrypt the inner record for one device; moves the session on. To be stored in one transaction with it.

    Args:
        counter: of messages on this route, 1 for the first.
        sent_at: seconds since 1970.

    Raises:
        ValueError: the session is with another device. It was not used.
    """
    sender, recipient = route.sender, route.recipient
    if session.their_key != recipient.device.dh_key:
        raise ValueError("a session with another device")
    inner = Inner(body.key, body.digest, sender, recipient.party, body.message, counter, sent_at)
    message = session.encrypt(inner.encode())
    return Header(sender.account, sender.device, session.hash, message)


def seal(
    header: Header, *, recipient: DeviceId, to: SealPrekey, envelope: EnvelopeId, body: BodyDigest
) -> bytes:
    """One attempt: the 1,648 bytes for one device. Another envelope id or seal key needs another seal."""
    return seal_header(header, to.key, Binding(recipient, to.key_id, envelope, body))


# --- reading


@dataclass(frozen=True, slots=True)
class Arrived:
    """An envelope as it came out of the mailbox."""

    envelope: EnvelopeId
    seal_key_id: int
    header: bytes = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """Out of the seal, and proven by nothing: who is said to have written, and the ratchet's message.

    Attributes:
        session: which one to decrypt the message with; if there is none and the message is a
            `PrekeyMessage`, `DeviceAccount.accept` opens it.
    """

    claimed_account: AccountFingerprint
    claimed_device: DeviceId
    session: SessionHash
    message: OlmMessage
    body: bytes = field(repr=False)
    body_digest: BodyDigest


@dataclass(frozen=True, slots=True)
class Opened:
    """A message whose writer is proven.

    Attributes:
        sender: account, device, and the manifest that its writer was at.
        device: as the manifest lists it, or listed it.
        is_removed: it is listed no more; the message was under way, and is shown marked.
        their_manifest_differs: the sender was at another manifest of its account than we: fetch. If
            that one is not in the chain, there is a fork.
        our_manifest_differs: the sender knows another manifest of ours than our newest: introduce.
        encoded: the content, as it came.
        counter: of messages from that device to ours: what is missing in between was lost or is late.
        sent_at: seconds since 1970, by the sender's clock: a claim of the proven sender.
    """

    sender: Party
    device: Device
    is_removed: bool
    their_manifest_differs: bool
    our_manifest_differs: bool
    message: MessageId
    content: Content
    encoded: bytes = field(repr=False)
    counter: int
    sent_at: int


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Written to us, whole, by whoever has the secret of one Curve25519 key; whose key that is, is open.

    Attributes:
        claimed: who says to have written; `place` finds out.
        introduction: of a sender that we may not know. It is to be verified like anything that a server
            sends; with the manifest that comes out of it, `place` finds out, too.
    """

    claimed: Party
    introduction: Introduction | None
    _proof: Decrypted
    _inner: Inner = field(repr=False)
    _content: Content = field(repr=False)
    _encoded: bytes = field(repr=False)
    _our_manifest: ManifestHash

    def place(self, manifest: Manifest, removed: Sequence[Device] = ()) -> Opened:
        """Compare with what is proven about an account.

        Args:
            manifest: the newest of the claimed account that we have verified.
            removed: its devices that earlier manifests listed.

        Raises:
            EnvelopeError: WRONG_ACCOUNT, or WRONG_DEVICE: neither list has the device with this key. A newer
                manifest may.
        """
        if not equal(manifest.account, self.claimed.account):
            raise EnvelopeError(EnvelopeFault.WRONG_ACCOUNT)
        for device in (*manifest.devices, *removed):
            if device.id == self.claimed.device and equal(device.dh_key, self._proof.their_key):
                break
        else:
            raise EnvelopeError(EnvelopeFault.WRONG_DEVICE)
        return Opened(
            sender=self.claimed,
            device=device,
            is_removed=device not in manifest.devices,
            their_manifest_differs=self.claimed.manifest != manifest.hash,
            our_manifest_differs=self._inner.recipient.manifest != self._our_manifest,
            message=self._inner.message,
            content=self._content,
            encoded=self._encoded,
            counter=self._inner.counter,
            sent_at=self._inner.sent_at,
        )


def open_seal(arrived: Arrived, opener: SealOpener, device: DeviceId) -> Claim:
    """The first step.

    Args:
        opener: of the seal key that `arrived` names.
        device: ours.

    Raises:
        EnvelopeError: SEAL, HEADER, OLM_MESSAGE or WRONG_SESSION.
    """
    body_digest = BodyDigest.of(arrived.body)
    binding = Binding(device, arrived.seal_key_id, arrived.envelope, body_digest)
    header = open_header(arrived.header, opener, binding)
    sender = header.claimed_account, header.claimed_device
    return Claim(*sender, header.session, header.message, arrived.body, body_digest)


def open_letter(claim: Claim, proof: Decrypted, us: Party) -> Unplaced:
    """The third step: what the ratchet opened, against everything that was used on the way, then the body.

    Args:
        proof: of `claim.message`.
        us: our account and device, and our newest manifest.

    Raises:
        EnvelopeError: WRONG_SESSION, or any from INNER to CONTENT. The message is then as lost as one that
            the ratchet refuses, and the session has not moved: its pickle is not to be stored.
    """
    if proof.session != claim.session:
        raise EnvelopeError(EnvelopeFault.WRONG_SESSION)
    try:
        inner = Inner.decode(proof.plaintext)
    except ValueError:
        raise EnvelopeError(EnvelopeFault.INNER) from None
    for fault, fits in _checks(inner, claim, us):
        if not fits:
            raise EnvelopeError(fault)
    raw = open_body(inner.key, inner.message, claim.body)
    try:
        content = Content.decode(raw)
    except ValueError:
        raise EnvelopeError(EnvelopeFault.CONTENT) from None
    introduction = content.get(Introduction)
    return Unplaced(inner.sender, introduction, proof, inner, content, raw, us.manifest)


def _checks(inner: Inner, claim: Claim, us: Party) -> list[tuple[EnvelopeFault, bool]]:
    """Each field with whether it fits, in the order of docs/spec/envelope.md. Manifests may differ."""
    return [
        (EnvelopeFault.WRONG_RECIPIENT, equal(inner.recipient.account, us.account)),
        (EnvelopeFault.WRONG_RECIPIENT, equal(inner.recipient.device, us.device)),
        (EnvelopeFault.WRONG_SENDER, equal(inner.sender.account, claim.claimed_account)),
        (EnvelopeFault.WRONG_SENDER, equal(inner.sender.device, claim.claimed_device)),
        (EnvelopeFault.WRONG_BODY, equal(inner.body, claim.body_digest)),
    ]
