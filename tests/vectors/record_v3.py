"""Records the envelopes of version 3: `python -m tests.vectors.record_v3`, from the root of the repository.

HPKE and Olm draw fresh randomness, so the file comes out another each time and is recorded once; what it is
for is to be opened. It holds the secrets of two devices: ratchets as the library's pickles under 32 zero
bytes, seal keys as ML-KEM seed and X25519 key. A case is one envelope for one of them:

    first      cases whose envelopes this device opened before, in this order; or that it dropped its sessions
    fails_at   null, or the check of docs/spec/envelope.md that refuses it
    released   what the reader holds when it fails: nothing, claim, key (that the ratchet proved), content
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from hushpost.crypto.body import Body, BodyDigest, BodyKey
from hushpost.crypto.content import Introduction, Text
from hushpost.crypto.envelope import Arrived
from hushpost.crypto.inner import Inner
from hushpost.crypto.olm import PrekeyMessage
from hushpost.crypto.primitives import LOW_ORDER_X25519
from hushpost.crypto.ratchet import DeviceAccount
from hushpost.crypto.seal import Binding, Header, open_header
from hushpost.ids import DeviceId, EnvelopeId, MessageId
from tests.crypto import hpke
from tests.crypto.pair import NOW, Line, Phone, Reader, lying
from tests.crypto.people import ALICE, BOB, MALLORY
from tests.vectors.bodies import Case, flipped
from tests.vectors.make_v3 import HERE, text

RELEASED = {
    "SEAL": "nothing",
    "HEADER": "nothing",
    "OLM_MESSAGE": "nothing",
    "WRONG_SESSION": "nothing",
    "NO_SESSION": "claim",
    "REPLAYED": "claim",
    "RATCHET": "claim",
    "WRONG_ACCOUNT": "content",
    "WRONG_DEVICE": "content",
}
"""By check; all others fail with the key known."""

DROPPED = "(all sessions are dropped, and their hashes remembered)"
"""In `first`: not a case."""

ENVELOPE = EnvelopeId(NOW.to_bytes(4, "big") + bytes(12))


def case(
    title: str, to: str, arrived: Arrived, fails_at: str | None = None, first: tuple[str, ...] = ()
) -> Case:
    return {
        "case": title,
        "to": to,
        "first": list(first),
        "envelope": arrived.envelope.hex(),
        "seal_key_id": arrived.seal_key_id,
        "header": arrived.header.hex(),
        "body": arrived.body.hex(),
        "fails_at": fails_at,
        "released": "all" if fails_at is None else RELEASED.get(fails_at, "key"),
    }


def seal_raw(to: Phone, plain: bytes, body: Body) -> Arrived:
    """Whatever is sealed properly to somebody."""
    binding = Binding(to.device.id, to.seal_key.key_id, ENVELOPE, body.digest)
    return Arrived(ENVELOPE, to.seal_key.key_id, to.seal_key.key.seal(binding.info, plain), body.encrypted)


def seal_cases(line: Line) -> Iterator[Case]:
    good, other = line.send(Text("one")), line.send(Text("two"))
    header = good.header
    device, digest = line.recipient.device.id, BodyDigest.of(good.body)
    binding = Binding(device, good.seal_key_id, good.envelope, digest)

    def bad(title: str, arrived: Arrived) -> Case:
        return case(title, "bob", arrived, "SEAL")

    def headed(title: str, header: bytes) -> Case:
        return bad(title, replace(good, header=header))

    yield headed("a flipped bit in the ML-KEM half", flipped(header, 0))
    yield headed("a flipped bit in the X25519 half", flipped(header, 1_088))
    yield headed(
        "bit 255 of the X25519 half", header[:1_119] + bytes([header[1_119] | 0x80]) + header[1_120:]
    )
    for number in sorted(LOW_ORDER_X25519):
        low = number.to_bytes(32, "little")
        yield headed(f"an X25519 half of low order: {low[:4].hex()}", header[:1_088] + low + header[1_120:])
    to, info = line.recipient.seal_key.key, binding.info
    plain = open_header(header, line.recipient.opener, binding).encode()
    yield headed("an X25519 half that is another spelling, and opens", hpke.with_bit_255(to, info, plain))
    yield headed("an X25519 half of 0, sealed for it", hpke.of_low_order(to, info, plain))
    yield headed("a flipped bit in the sealed text", flipped(header, 1_120))
    yield headed("a flipped bit in the seal's tag", flipped(header, 1_647))
    yield headed("a header that is cut short", header[:-1])
    yield headed("a byte behind the header", header + b"\0")
    yield bad("another envelope id", replace(good, envelope=other.envelope))
    yield bad("another seal key id", replace(good, seal_key_id=8))
    yield bad("the body of another message", replace(good, body=other.body))
    yield bad("a flipped bit in the body", replace(good, body=flipped(good.body, 40)))
    yield bad("a body that is cut short", replace(good, body=good.body[:-1]))
    yield bad("a byte behind the body", replace(good, body=good.body + b"\0"))
    elsewhere = replace(binding, recipient=DeviceId(bytes(16)))
    yield headed("sealed for another device", to.seal(elsewhere.info, plain))


def header_cases(line: Line) -> Iterator[Case]:
    body = line.body(Text("hello"))
    message = line.session.encrypt(bytes(257))
    assert isinstance(message, PrekeyMessage)
    header = Header(line.sender.person.account, line.sender.device.id, line.session.hash, message)
    plain, olm = header.encode(), message.encoded

    def sealed(title: str, raw: bytes, fails_at: str) -> Case:
        return case(title, "bob", seal_raw(line.recipient, raw, body), fails_at)

    def with_olm(title: str, raw: bytes) -> Case:
        filled = plain[:66] + len(raw).to_bytes(2, "little") + raw
        return sealed(title, filled.ljust(512, b"\0"), "OLM_MESSAGE")

    def high_bit(at: int) -> bytes:
        return olm[:at] + bytes([olm[at] | 0x80]) + olm[at + 1 :]

    yield sealed("a header of version 2", b"\2" + plain[1:], "HEADER")
    yield sealed("an Olm type 2", plain[:65] + b"\2" + plain[66:], "HEADER")
    yield sealed("an Olm size beyond the header", plain[:66] + b"\xff\xff" + plain[68:], "HEADER")
    yield sealed("a padding that says something", plain[:-1] + b"\1", "HEADER")
    yield with_olm("bit 255 of the one-time key", high_bit(34))
    yield with_olm("bit 255 of the base key", high_bit(68))
    yield with_olm("bit 255 of the identity key", high_bit(102))
    yield with_olm("bit 255 of the ratchet key", high_bit(106 + 34))
    yield with_olm("an identity key of low order", olm[:71] + bytes(32) + olm[103:])
    yield with_olm("a field of its own behind the message", olm + b"\x28\1")
    yield with_olm("a field of its own before the message", olm[:1] + b"\x28\1" + olm[1:])
    yield with_olm("a byte behind the message", olm + b"\0")
    yield with_olm("keys in another order", olm[:1] + olm[35:69] + olm[1:35] + olm[69:])
    yield with_olm("a size that is written long", olm[:104] + b"\xc0\x82\x00" + olm[106:])
    yield with_olm("Olm's version 4", b"\4" + olm[1:])
    yield with_olm("nothing", b"")
    yield sealed("the hash of another session", plain[:49] + bytes(16) + plain[65:], "WRONG_SESSION")
    broken = replace(header, message=PrekeyMessage.decode(flipped(olm, len(olm) - 1)))
    yield sealed("a flipped bit in Olm's MAC", broken.encode(), "RATCHET")


def lying_cases(line: Line, alice: Phone) -> Iterator[Case]:
    def lie(title: str, change: Callable[[Inner], Inner], fails_at: str) -> Case:
        return case(title, "bob", lying(line, lambda inner: change(inner).encode()), fails_at)

    other = replace(line.sender.party, device=DeviceId(bytes(16)))
    yield case("an inner record of version 2", "bob", lying(line, lambda i: b"\2" + i.encode()[1:]), "INNER")
    yield lie("another recipient", lambda inner: replace(inner, recipient=inner.sender), "WRONG_RECIPIENT")
    yield lie("another sender", lambda inner: replace(inner, sender=other), "WRONG_SENDER")
    digest = Body.of(MessageId(bytes(16)), b"").digest
    yield lie("another body", lambda inner: replace(inner, body=digest), "WRONG_BODY")
    yield lie("another body key", lambda inner: replace(inner, key=BodyKey(bytes(32))), "BODY_KEY")
    yield lie("another message id", lambda inner: replace(inner, message=MessageId(bytes(16))), "BODY")
    nonsense = Body.of(MessageId(bytes(16)), b"\2nonsense")
    yield case("a content of version 2", "bob", line.send(body=nonsense), "CONTENT")
    mallory = Line.open(Phone(MALLORY), line.recipient)
    yield case("an account that nobody introduced", "bob", mallory.send(Text("hello")), "WRONG_ACCOUNT")

    def as_alice(inner: Inner) -> bytes:
        return replace(inner, sender=alice.party).encode()

    forged = lying(mallory, as_alice, claimed=alice.party)
    yield case("in the name of another", "bob", forged, "WRONG_DEVICE")


def record() -> dict[str, object]:
    alice, bob = Phone(ALICE), Phone(BOB)
    line, spare = Line.open(alice, bob), Line.open(alice, bob, fallback=True)
    bobs_account = bob.olm.pickle()
    introduction = Introduction(alice.seal_key.encode(), (alice.manifest.encode(),))
    first, second = line.send(Text("hello"), introduction), line.send(Text("again"))
    on_fallback = spare.send(Text("hello again"))
    reader = Reader(bob)
    reader.read(first, alice)
    reader.read(on_fallback, alice)
    answer = Line(bob, alice, reader.sessions[line.session.hash]).send(Text("an answer"))
    lost = Line(bob, alice, reader.sessions[spare.session.hash]).send(Text("an answer to nothing"))
    alices_session = line.session.pickle()

    def before(*titles: str) -> tuple[str, ...]:
        return titles

    opening, spared = "the first message, with an introduction", "a first message on the fallback key"
    bob.olm = DeviceAccount.unpickle(bobs_account)
    cases = [
        case(opening, "bob", first),
        case("the second message", "bob", second),
        case("the second message after the first", "bob", second, first=before(opening)),
        case("the first message after the second", "bob", first, first=before("the second message")),
        case(spared, "bob", on_fallback),
        case("an answer", "alice", answer),
        case("an answer in a session that is not there", "alice", lost, "NO_SESSION"),
        case("an answer twice", "alice", answer, "RATCHET", before("an answer")),
        case("the first message twice", "bob", first, "RATCHET", before(opening)),
        case("the fallback key's first message twice", "bob", on_fallback, "RATCHET", before(spared)),
        case(
            "the same when its session was dropped", "bob", on_fallback, "REPLAYED", before(spared, DROPPED)
        ),
        *seal_cases(Line.open(alice, bob)),
        *header_cases(Line.open(alice, bob)),
        *lying_cases(Line.open(alice, bob), alice),
    ]
    return {
        "source": "recorded by tests/vectors/record_v3.py; bytes are hexadecimal",
        "devices": {
            "alice": device(alice, alice.olm.pickle(), [alices_session]),
            "bob": device(bob, bobs_account, []),
        },
        "cases": cases,
    }


def device(phone: Phone, account: bytes, sessions: list[bytes]) -> Case:
    return {
        "manifest": phone.manifest.encode().hex(),
        "seal_key_id": phone.seal_key.key_id,
        "seal_secret": phone.seal_secret.hex(),
        "account": account.decode(),
        "sessions": [{"their_key": each[:32].hex(), "session": each[32:].decode()} for each in sessions],
    }


def main() -> None:
    (HERE / "v3-envelope.json").write_text(text(record()))


if __name__ == "__main__":
    main()
