"""A device of version 3 for load tests: it registers and logs in, and encrypts nothing."""

from __future__ import annotations

import time
from hashlib import sha256

from hushpost.crypto.identity import (
    AccountSecret,
    CertificateDigest,
    ClientNonce,
    Device,
    DeviceDhKey,
    DeviceKey,
    Login,
    RecoverySecret,
    ServerNonce,
    ServerStatement,
    account_fingerprint,
    first_manifest,
)
from hushpost.crypto.prekeys import Kind, Owner, SealPrekey, SessionKey, SessionPrekey
from hushpost.crypto.primitives import SealSecret, SigningSecret
from hushpost.ids import EnvelopeId
from hushpost.wire.limits import HEADER_SIZE
from hushpost.wire.messages import Authenticate, HelloAnswer, Recipient, Register, SendEnvelope

SEAL = SealSecret.random().public
"""One for all: nobody opens anything here."""

SEAL_ID = 1


def _dh_key() -> bytes:
    """Nobody has its secret."""
    return SigningSecret.random()[:31] + b"\x01"


class LoadDevice:
    """An account with one device, all its secrets fresh."""

    def __init__(self, name: str) -> None:
        secret, recovery = AccountSecret.random(), RecoverySecret.random()
        self.signer = SigningSecret.random()
        self.account = account_fingerprint(secret.public, recovery.public)
        key, dh_key = DeviceKey(self.signer.public_bytes()), DeviceDhKey(_dh_key())
        self.device = Device.consenting(self.signer, self.account.id, key, dh_key, int(time.time()))
        self.manifest = first_manifest(secret, recovery.public, name, [self.device])
        self.delivery_token = bytes(SigningSecret.random())

    def register(self, invite: bytes, one_time_keys: int = 1) -> Register:
        owner = Owner(self.account.id, self.device)
        keys = [
            SessionPrekey.by(self.signer, owner, Kind.ONE_TIME, number, SessionKey(_dh_key())).encode()
            for number in range(one_time_keys)
        ]
        fallback = SessionPrekey.by(self.signer, owner, Kind.FALLBACK, 0, SessionKey(_dh_key()))
        seal = SealPrekey.by(self.signer, owner, SEAL_ID, SEAL, int(time.time()) + 30 * 86_400)
        token_hash = sha256(self.delivery_token).digest()
        return Register(0, invite, self.manifest.encode(), seal.encode(), keys, fallback.encode(), token_hash)

    def authenticate(self, hello: HelloAnswer, certificate: bytes, nonce: bytes) -> Authenticate:
        """After a hello with this nonce, on a connection that showed this certificate."""
        login = Login(
            ServerStatement.decode(hello.certificate_statement).server.fingerprint,
            CertificateDigest.of(certificate),
            ServerNonce(hello.server_nonce),
            ClientNonce(nonce),
            self.account.id,
            self.device.id,
        )
        return Authenticate(0, self.account.id, self.device.id, login.sign(self.signer))

    def letter(self, body: bytes) -> SendEnvelope:
        """Something sealed to this device, by somebody."""
        recipient = Recipient(self.device.id, SEAL_ID, bytes(HEADER_SIZE))
        envelope = EnvelopeId.at(int(time.time()))
        return SendEnvelope(0, self.account.id, envelope, [recipient], body, self.delivery_token)
