"""Texts of 200 bytes encrypted and sealed, opened and decrypted, on one core, without disk or network."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import median

import vodozemac
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

from benchmarks.report import Row, at_least, show
from benchmarks.scale import scale
from hushpost.crypto.body import Body
from hushpost.crypto.content import Content, Text
from hushpost.crypto.envelope import Arrived, Opened, Peer, Route, open_letter, open_seal, seal, write
from hushpost.crypto.identity import (
    AccountSecret,
    Device,
    RecoverySecret,
    account_fingerprint,
    first_manifest,
)
from hushpost.crypto.inner import Inner, Party
from hushpost.crypto.olm import PrekeyMessage
from hushpost.crypto.prekeys import Bundle, Owner, SealPrekey, SessionPrekey
from hushpost.crypto.primitives import SealOpener, SealSecret
from hushpost.crypto.ratchet import DeviceAccount, Session
from hushpost.ids import EnvelopeId, MessageId

COUNT = scale(2_000, 40)
ROUNDS = scale(5, 1)
TEXT = "x" * 200
NOW = 1_750_000_000


class End:
    """One person's device."""

    def __init__(self, name: str) -> None:
        self.olm = DeviceAccount.create()
        account, recovery = AccountSecret.random(), RecoverySecret.random().public
        fingerprint = account_fingerprint(account.public, recovery)
        keys = self.olm.signing_key, self.olm.dh_key
        device = Device.consenting(self.olm, fingerprint.id, *keys, NOW)
        self.manifest = first_manifest(account, recovery, name, [device])
        self.peer = Peer.of(self.manifest, device)
        self.party: Party = self.peer.party
        secret = SealSecret.random()
        self.opener = SealOpener(secret)
        self.owner = Owner(fingerprint.id, device)
        self.seal_key = SealPrekey.by(self.olm, self.owner, 1, secret.public, NOW + 86_400)

    def bundle(self) -> Bundle:
        self.olm.make_one_time_keys(1)
        (key,) = self.olm.unpublished.one_time
        signed = SessionPrekey.by(self.olm, self.owner, key.kind, key.key_id, key.key)
        return Bundle(self.owner, self.seal_key, signed)


def send(session: Session, sender: End, recipient: End, counter: int) -> Arrived:
    body = Body.of(MessageId.random(), Content.of(Text(TEXT)).encode())
    route = Route(sender.party, recipient.peer)
    header = write(session, body, route, counter=counter, sent_at=NOW)
    to, envelope, device = recipient.seal_key, EnvelopeId.at(NOW), recipient.party.device
    sealed = seal(header, recipient=device, to=to, envelope=envelope, body=body.digest)
    return Arrived(envelope, to.key_id, sealed, body.encrypted)


def receive(session: Session, recipient: End, sender: End, arrived: Arrived) -> Opened:
    claim = open_seal(arrived, recipient.opener, recipient.party.device)
    return open_letter(claim, session.decrypt(claim.message), recipient.party).place(sender.manifest)


def pair(one: End, other: End) -> tuple[Session, Session]:
    """A session in which both have written."""
    ours = one.olm.open_session(other.bundle())
    claim = open_seal(send(ours, one, other, 1), other.opener, other.party.device)
    if not isinstance(claim.message, PrekeyMessage):
        raise RuntimeError("the first message opens no session")
    theirs, _ = other.olm.accept(claim.message, remembered=frozenset())
    receive(ours, one, other, send(theirs, other, one, 1))
    return ours, theirs


def rate(work: Callable[[], object], count: int = COUNT) -> float:
    begun = time.perf_counter()
    for _ in range(count):
        work()
    return count / (time.perf_counter() - begun)


def main(_folder: Path) -> None:
    one, other = End("one"), End("other")
    rounds = [{**_messages(one, other), **_xwing(), **_ratchet()} for _ in range(ROUNDS)]
    rates = {name: median(each[name] for each in rounds) for name in rounds[0]}
    show(
        "Envelopes: 200-byte texts, one core, cryptography alone",
        [
            at_least("encrypt + seal", rates["send"], 4_000, "/s"),
            at_least("open + decrypt, every check", rates["receive"], 5_000, "/s"),
            Row("both of it, every message an answer, so with new ratchet keys", rates["turn"], "/s"),
            Row("bare X-Wing: encapsulate", rates["encapsulate"], "/s"),
            Row("bare X-Wing: decapsulate", rates["decapsulate"], "/s"),
            Row("bare Olm: encrypt an inner record", rates["encrypt"], "/s"),
            Row("bare Olm: decrypt it", rates["decrypt"], "/s"),
            Row("bare parts' share of encrypt + seal", _share(rates, "send", "encapsulate", "encrypt"), "%"),
            Row(
                "bare parts' share of open + decrypt", _share(rates, "receive", "decapsulate", "decrypt"), "%"
            ),
        ],
        {"messages": f"{ROUNDS} x {COUNT:,}"},
    )


def _messages(one: End, other: End) -> dict[str, float]:
    ours, theirs = pair(one, other)
    arrived: deque[Arrived] = deque()

    def turn() -> None:
        receive(theirs, other, one, send(ours, one, other, 1))
        receive(ours, one, other, send(theirs, other, one, 1))

    return {
        "send": rate(lambda: arrived.append(send(ours, one, other, len(arrived) + 2))),
        "receive": rate(lambda: receive(theirs, other, one, arrived.popleft())),
        "turn": 2 * rate(turn, COUNT // 4),
    }


def _share(rates: dict[str, float], whole: str, *parts: str) -> float:
    return rates[whole] * sum(1 / rates[part] for part in parts) * 100


def _xwing() -> dict[str, float]:
    """The two key agreements and nothing else: no key schedule, no AEAD."""
    post_quantum, classical = mlkem.MLKEM768PrivateKey.generate(), x25519.X25519PrivateKey.generate()
    public, theirs = post_quantum.public_key(), classical.public_key()
    ephemeral = x25519.X25519PrivateKey.generate()
    _secret, ciphertext = public.encapsulate()

    def encapsulate() -> None:
        public.encapsulate()
        fresh = x25519.X25519PrivateKey.generate()
        fresh.public_key().public_bytes_raw()
        fresh.exchange(theirs)

    def decapsulate() -> None:
        post_quantum.decapsulate(ciphertext)
        classical.exchange(ephemeral.public_key())

    return {"encapsulate": rate(encapsulate), "decapsulate": rate(decapsulate)}


def _ratchet() -> dict[str, float]:
    one, other = vodozemac.Account(), vodozemac.Account()
    other.generate_one_time_keys(1)
    (key,) = other.one_time_keys.values()
    ours = one.create_outbound_session(other.curve25519_key, key)
    first = ours.encrypt(bytes(Inner.SIZE)).to_pre_key()
    if first is None:
        raise RuntimeError("the first message opens no session")
    theirs, _ = other.create_inbound_session(one.curve25519_key, first)
    ours.decrypt(theirs.encrypt(b""))
    messages: deque[vodozemac.AnyOlmMessage] = deque()
    encrypt = rate(lambda: messages.append(ours.encrypt(bytes(Inner.SIZE))))
    return {"encrypt": encrypt, "decrypt": rate(lambda: theirs.decrypt(messages.popleft()))}
