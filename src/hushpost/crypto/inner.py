"""The inner record: what the ratchet encrypts for one device. It says again everything that it depends on.

    version u8 = 1 | body key 32 | body's SHA-256 32
    | sender   : account fingerprint 32, device id 16, manifest hash 32
    | recipient: account fingerprint 32, device id 16, manifest hash 32
    | message id 16 | counter u64 | time u64

257 bytes, always. Olm authenticates neither ids nor accounts, and a header comes from whoever knows a public
key: each field here is compared with what was used. Normative text: docs/spec/envelope.md, "Inner record".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from hushpost.crypto.body import BodyDigest, BodyKey
from hushpost.crypto.identity.keys import AccountFingerprint
from hushpost.crypto.identity.manifest import ManifestHash
from hushpost.crypto.layout import Reader, u8, u64
from hushpost.ids import DeviceId, MessageId

VERSION = 1


@dataclass(frozen=True, slots=True)
class Party:
    """A device as one of the two sides sees it.

    Attributes:
        manifest: of the newest manifest of this account that the writer of the message had verified.
    """

    SIZE: ClassVar[int] = 80

    account: AccountFingerprint
    device: DeviceId
    manifest: ManifestHash

    def encode(self) -> bytes:
        return self.account + self.device + self.manifest

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        return cls(
            AccountFingerprint(reader.take(32)), DeviceId(reader.take(16)), ManifestHash(reader.take(32))
        )


@dataclass(frozen=True, slots=True)
class Inner:
    """See the module.

    Attributes:
        counter: of this sender's device to this recipient's: 1 for the first message, then one more each.
        sent_at: seconds since 1970 by the sender's clock.
    """

    SIZE: ClassVar[int] = 257

    key: BodyKey
    body: BodyDigest
    sender: Party
    recipient: Party
    message: MessageId
    counter: int
    sent_at: int

    def encode(self) -> bytes:
        parties = self.sender.encode() + self.recipient.encode()
        numbers = u64(self.counter) + u64(self.sent_at)
        return u8(VERSION) + self.key + self.body + parties + self.message + numbers

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read one. Raises ValueError: it is none."""
        reader = Reader(raw)
        reader.constant(VERSION)
        keys = BodyKey(reader.take(32)), BodyDigest(reader.take(32))
        parties = Party.decode(reader), Party.decode(reader)
        inner = cls(*keys, *parties, MessageId(reader.take(16)), reader.u64(), reader.u64())
        reader.end()
        return inner
