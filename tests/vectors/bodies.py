"""The parts of an envelope that come out the same each time: padding, body, inner record, content, header."""

from __future__ import annotations

from collections.abc import Iterator

from hushpost.crypto.body import Body, BodyDigest, BodyKey
from hushpost.crypto.content import (
    Card,
    Content,
    DeliveryToken,
    Introduction,
    Receipt,
    ResendRequest,
    SessionReset,
    Text,
    Unknown,
)
from hushpost.crypto.inner import Inner, Party
from hushpost.crypto.olm import SessionHash
from hushpost.crypto.padding import padded_size
from hushpost.crypto.prekeys import SealPrekey
from hushpost.crypto.primitives import Label, seal, transcript
from hushpost.crypto.seal import Binding
from hushpost.ids import EnvelopeId, MessageId
from tests.crypto.people import ALICE, BOB

Case = dict[str, object]

KEY, MESSAGE = BodyKey(bytes(range(32))), MessageId(bytes(range(100, 116)))
SIZES = (0, 1, 159, 160, 319, 320, 20_479, 20_480, 21_503, 21_504, 50_000, 65_535, 131_079, 258_047)


def flipped(raw: bytes, at: int) -> bytes:
    """The same with the lowest bit of one byte changed."""
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def content_cases() -> Iterator[Case]:
    ids = MESSAGE, MessageId(bytes(16))
    manifests = (ALICE.first().encode(), BOB.first().encode())
    good = {
        "empty": Content.of(),
        "text": Content.of(Text("hello 鮑勃")),
        "receipt": Content.of(Receipt(ids)),
        "card": Content.of(Card(DeliveryToken(bytes(range(32))), "Alice")),
        "introduction": Content.of(Introduction(bytes(SealPrekey.SIZE), manifests)),
        "resend request": Content.of(ResendRequest(ids)),
        "session reset": Content.of(SessionReset(SessionHash(bytes(16)))),
        "text, card and a kind of later times": Content.of(
            Text("hi"), Card(DeliveryToken(bytes(32)), ""), Unknown(40, b"later")
        ),
    }
    for title, content in good.items():
        kinds = [part.kind for part in content.parts]
        yield {"case": title, "content": content.encode().hex(), "kinds": kinds, "fails_at": None}
    bad = {
        "nothing": b"",
        "version 2": b"\2\0",
        "a byte behind the end": b"\1\0\0",
        "a text of nothing": b"\1\1\1\0\0\0\0\0",
        "text that is not UTF-8": b"\1\1\1\0\1\0\0\0\xff",
        "a kind twice": b"\1\2\1\0\1\0\0\0a\1\0\1\0\0\0b",
        "kinds out of order": b"\1\2\x28\0\0\0\0\0\1\0\1\0\0\0a",
        "a part longer than everything": b"\1\1\1\0\xff\xff\xff\xffa",
    }
    for title, raw in bad.items():
        yield {"case": title, "content": raw.hex(), "kinds": [], "fails_at": "CONTENT"}


def body_cases() -> Iterator[Case]:
    content = Content.of(Text("hello")).encode()
    raw = Body.under(KEY, MESSAGE, content).encrypted
    about = transcript(Label.BODY, MESSAGE)

    def case(title: str, encrypted: bytes, fails_at: str | None) -> Case:
        return {
            "case": title,
            "key": KEY.hex(),
            "message": MESSAGE.hex(),
            "body": encrypted.hex(),
            "digest": BodyDigest.of(encrypted).hex(),
            "content": "" if fails_at else content.hex(),
            "fails_at": fails_at,
        }

    def padded(padded: bytes) -> bytes:
        return raw[:32] + seal(KEY, bytes(12), padded, about)

    yield case("a body", raw, None)
    yield case("a flipped bit in the commitment", flipped(raw, 31), "BODY_KEY")
    yield case("a flipped bit in the ciphertext", flipped(raw, 32), "BODY")
    yield case("a flipped bit in the tag", flipped(raw, len(raw) - 1), "BODY")
    yield case("cut short", raw[:-1], "BODY")
    yield case("a byte behind the end", raw + b"\0", "BODY")
    yield case("nothing but the commitment", raw[:32], "BODY")
    yield case("no padding", padded(content), "PADDING")
    yield case("a padding of the next size", padded((content + b"\x80").ljust(320, b"\0")), "PADDING")
    yield case(
        "a padding that says something", padded((content + b"\x80").ljust(159, b"\0") + b"\1"), "PADDING"
    )
    yield case("a padding without its mark", padded(bytes(160)), "PADDING")


def bodies() -> dict[str, object]:
    body = Body.under(KEY, MESSAGE, Content.of(Text("hello")).encode())
    alice, bob = ALICE.first(), BOB.first()
    sender = Party(ALICE.account, alice.devices[0].id, alice.hash)
    recipient = Party(BOB.account, bob.devices[0].id, bob.hash)
    inner = Inner(KEY, body.digest, sender, recipient, MESSAGE, 7, 1_750_000_000)
    binding = Binding(recipient.device, 7, EnvelopeId(bytes(range(50, 66))), body.digest)
    return {
        "source": "made by tests/vectors/make_v3.py; bytes are hexadecimal",
        "padding": [{"size": size, "padded": padded_size(size)} for size in SIZES],
        "contents": list(content_cases()),
        "bodies": list(body_cases()),
        "inner": {
            "key": inner.key.hex(),
            "body": inner.body.hex(),
            "sender": [sender.account.hex(), sender.device.hex(), sender.manifest.hex()],
            "recipient": [recipient.account.hex(), recipient.device.hex(), recipient.manifest.hex()],
            "message": inner.message.hex(),
            "counter": inner.counter,
            "sent_at": inner.sent_at,
            "encoded": inner.encode().hex(),
        },
        "header": {
            "recipient": binding.recipient.hex(),
            "seal_key_id": binding.seal_key_id,
            "envelope": binding.envelope.hex(),
            "body": binding.body.hex(),
            "info": binding.info.hex(),
            "session_id": bytes(range(32)).hex(),
            "session_hash": SessionHash.of(bytes(range(32))).hex(),
        },
    }
