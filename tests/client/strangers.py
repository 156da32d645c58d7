"""An account that does whatever it likes: made by hand, with no client behind it."""

from __future__ import annotations

from hushpost.crypto.body import Body
from hushpost.crypto.content import Content, Introduction, Part
from hushpost.crypto.envelope import Peer, Route, seal, write
from hushpost.crypto.identity import (
    AccountSecret,
    Device,
    Manifest,
    ManifestHash,
    RecoverySecret,
    account_fingerprint,
    first_manifest,
    next_manifest,
)
from hushpost.crypto.inner import Party
from hushpost.crypto.prekeys import Owner, PrekeyCheck, SealPrekey, SessionPrekey
from hushpost.crypto.primitives import SealSecret, sha256
from hushpost.crypto.ratchet import DeviceAccount, Session
from hushpost.ids import AccountId, DeviceId, EnvelopeId, MessageId, TokenHash
from hushpost.stores.base import NewAccount, SealedDelivery, SealedSend, SealKey, SessionKey
from hushpost.wire.messages import WaitingEnvelope
from tests.client.smallserver import SmallServer

LIFETIME = 30 * 86_400


class Stranger:
    """One account with one device. It knows the server's store, as anybody with an account on it may."""

    def __init__(self, server: SmallServer, name: str = "stranger") -> None:
        self.server = server
        self.now = server.clock.now()
        self.secret = AccountSecret.random()
        self.recovery = RecoverySecret.random()
        self.olm = DeviceAccount.create()
        self.account = account_fingerprint(self.secret.public, self.recovery.public)
        self.device = self.new_device(self.olm)
        self.chain = [first_manifest(self.secret, self.recovery.public, name, [self.device])]
        self.seal_secret = SealSecret.random()
        self.sessions: dict[DeviceId, Session] = {}
        self.counter = 0

    def new_device(self, olm: DeviceAccount) -> Device:
        return Device.consenting(olm, self.account.id, olm.signing_key, olm.dh_key, self.now)

    def list(self, *devices: Device) -> None:
        """The next manifest."""
        self.chain.append(next_manifest(self.chain[-1], self.secret, devices))

    @property
    def seal_key(self) -> bytes:
        owner = Owner(self.account.id, self.device)
        return SealPrekey.by(self.olm, owner, 1, self.seal_secret.public, self.now + LIFETIME).encode()

    @property
    def introduction(self) -> Introduction:
        return Introduction(self.seal_key, tuple(each.encode() for each in self.chain))

    async def enroll(self) -> None:
        """At the server, so that it can be answered."""
        self.olm.make_one_time_keys(5)
        self.olm.make_fallback_key()
        owner, unpublished = Owner(self.account.id, self.device), self.olm.unpublished
        signed = [
            SessionPrekey.by(self.olm, owner, each.kind, each.key_id, each.key).encode()
            for each in (*unpublished.one_time, *([unpublished.fallback] if unpublished.fallback else []))
        ]
        keys = tuple(SessionKey(number + 1, each) for number, each in enumerate(signed[:-1]))
        account = NewAccount(
            self.account.id,
            self.chain[0].name,
            self.chain[0].encode(),
            self.device.id,
            SealKey(1, self.seal_key),
            keys,
            signed[-1],
            TokenHash(sha256(b"")),
        )
        await self.server.store.enroll(account, None)

    async def move(self, olm: DeviceAccount) -> None:
        """To another device. The server knows it; the one before stays listed."""
        before, self.olm, self.device = self.device, olm, self.new_device(olm)
        self.list(*sorted((before, self.device), key=lambda each: each.id))
        self.sessions.clear()
        newest, listed = self.chain[-1], [each.id for each in self.chain[-1].devices]
        await self.server.store.put_manifest(self.account.id, newest.version, newest.encode(), listed)

    async def write(
        self,
        victim: AccountId,
        *parts: Part,
        manifest: ManifestHash | None = None,
        message: MessageId | None = None,
        counter: int | None = None,
        sent_at: int | None = None,
    ) -> SealedSend:
        """An envelope for the victim's devices, which nobody has got yet.

        Args:
            manifest: which one of its own the stranger says to be at.
        """
        store = self.server.store
        newest = Manifest.decode((await store.manifests(victim, 0, 1_000))[-1])
        seals = await store.seal_keys(victim)
        body = Body.of(message or MessageId.random(), Content.of(*parts).encode())
        envelope = EnvelopeId.at(self.now)
        self.counter += 1
        us = Party(self.account, self.device.id, manifest or self.chain[-1].hash)
        deliveries: list[SealedDelivery] = []
        for device in newest.devices:
            seal_key = SealPrekey.decode(seals.keys[device.id].signed)
            session = self.sessions.get(device.id)
            if session is None:
                taken = (await store.take_session_keys(victim, [device.id]))[device.id]
                check = PrekeyCheck(Owner(victim, device), self.now)
                session = self.olm.open_session(check.bundle(seals.keys[device.id].signed, taken))
                self.sessions[device.id] = session
            number = self.counter if counter is None else counter
            header = write(
                session,
                body,
                Route(us, Peer.of(newest, device)),
                counter=number,
                sent_at=self.now if sent_at is None else sent_at,
            )
            sealed = seal(header, recipient=device.id, to=seal_key, envelope=envelope, body=body.digest)
            deliveries.append(SealedDelivery(device.id, seal_key.key_id, sealed))
        return SealedSend(victim, envelope, tuple(deliveries), body.encrypted, None)

    async def send(self, victim: AccountId, *parts: Part) -> None:
        """Into the victim's mailbox."""
        await self.deliver(await self.write(victim, *parts))

    async def deliver(self, send: SealedSend) -> None:
        await self.server.store.append_sealed(send)

    def push(self, send: SealedSend, sequence: int) -> None:
        """As a server that is on the stranger's side does it."""
        for each in send.deliveries:
            envelope = WaitingEnvelope(
                sequence, bytes(send.envelope), each.seal_key_id, each.header, send.body, True
            )
            self.server.push_to(each.device, [envelope])
