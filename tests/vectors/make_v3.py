"""Makes the vectors of version 3: `python -m tests.vectors.make_v3`, from the root of the repository.

Everything is made of the fixed secrets of `tests/crypto/people.py`, so that the files come out the same each
time. A case is {"case", "inputs"..., "fails_at"}: null, or the name of the check that refuses it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hushpost.crypto.identity import (
    AccountSecret,
    CertificateDigest,
    ClientNonce,
    LeafKeyDigest,
    Login,
    Manifest,
    RecoverySeed,
    ServerNonce,
    ServerSecret,
    ServerStatement,
    format_phrase,
    next_manifest,
    safety_number,
)
from hushpost.crypto.prekeys import Kind, Owner, SealPrekey, SessionKey, SessionPrekey
from hushpost.crypto.primitives import Label, SealSecret, Signature, derive, digest, transcript
from tests.crypto.people import ALICE, BOB, MALLORY, Hand
from tests.vectors.bodies import Case, bodies
from tests.vectors.files import files

HERE = Path(__file__).parent

PHONE = Hand(40)
FIRST = ALICE.first()
SECOND = next_manifest(FIRST, ALICE.secret, [*FIRST.devices, PHONE.joins(ALICE.account)])
NEW_SECRET = AccountSecret(b"\x63" * 32)
RECOVERED = next_manifest(SECOND, ALICE.recovery, SECOND.devices, account_key=NEW_SECRET.public)


def primitive_cases() -> Iterator[Case]:
    parts = [b"ab", b"", bytes(range(40))]
    yield {
        "case": "transcript, hash and derivation",
        "purpose": "consent",
        "parts": [part.hex() for part in parts],
        "secret": bytes(32).hex(),
        "transcript": transcript(Label.CONSENT, *parts).hex(),
        "hash": digest(Label.CONSENT, *parts).hex(),
        "kdf": derive(Label.CONSENT, bytes(32), *parts).hex(),
        "signing_seed": ALICE.secret.hex(),
        "public_key": ALICE.secret.public.hex(),
        "signature": ALICE.secret.sign(Label.CONSENT, *parts).hex(),
    }


def chain_cases() -> Iterator[Case]:
    def case(title: str, later: Sequence[Manifest | bytes], fails_at: str | None, known: str = "") -> Case:
        raw = [each if isinstance(each, bytes) else each.encode() for each in later]
        return {
            "case": title,
            "known": known or ALICE.account.hex(),
            "later": [each.hex() for each in raw],
            "fails_at": fails_at,
        }

    def known(manifest: Manifest) -> str:
        return manifest.encode().hex()

    no_consent = replace(PHONE.joins(ALICE.account), consent=MALLORY.hand.joins(ALICE.account).consent)
    fork = next_manifest(FIRST, ALICE.secret, [PHONE.joins(ALICE.account)])
    raw = SECOND.encode()
    yield case("from the pin to the newest", [FIRST, SECOND, RECOVERED], None)
    yield case("from a known manifest", [SECOND, RECOVERED], None, known(FIRST))
    yield case("cut short", [FIRST.encode()[:-1]], "MALFORMED")
    yield case("a byte behind the end", [FIRST.encode() + b"\0"], "MALFORMED")
    yield case("suite 2", [b"\2" + FIRST.encode()[1:]], "MALFORMED")
    yield case("nothing at all", [], "NOT_THE_FIRST")
    yield case("begins with the second", [SECOND], "NOT_THE_FIRST")
    yield case("the account of somebody else", [MALLORY.first()], "WRONG_ACCOUNT")
    yield case(
        "a flipped bit in the signature", [raw[:-1] + bytes([raw[-1] ^ 1])], "BAD_SIGNATURE", known(FIRST)
    )
    forged = replace(RECOVERED, signature=MALLORY.recovery.sign(Label.MANIFEST, RECOVERED.encode()[:-64]))
    yield case("a forged recovery", [forged], "BAD_SIGNATURE", known(SECOND))
    yield case("an older one", [FIRST], "ROLLBACK", known(SECOND))
    yield case("one is missing", [RECOVERED], "GAP", known(FIRST))
    yield case("another second", [fork], "FORK", known(SECOND))
    renamed = replace(SECOND, name="alicia")
    yield case("another name", [renamed.signed(ALICE.secret)], "KEY_CHANGED", known(FIRST))
    idle = SECOND.signed(ALICE.recovery)
    yield case("the recovery key signs what it need not", [idle], "KEY_CHANGED", known(FIRST))
    added = next_manifest(FIRST, ALICE.secret, [*FIRST.devices, no_consent])
    yield case("a device that did not consent", [added], "NO_CONSENT", known(FIRST))


def identity() -> dict[str, object]:
    seed = RecoverySeed(bytes(range(20)))
    server = ServerSecret(b"\x21" * 32)
    statement = ServerStatement.by(server, LeafKeyDigest(b"\x42" * 32), 5, 1_700_000_000, 1_800_000_000)
    login = Login(
        server.public.fingerprint,
        CertificateDigest(b"\x43" * 32),
        ServerNonce(b"\x44" * 32),
        ClientNonce(b"\x45" * 32),
        ALICE.account.id,
        FIRST.devices[0].id,
    )
    return {
        "source": "made by tests/vectors/make_v3.py; bytes are hexadecimal",
        "primitives": list(primitive_cases()),
        "phrase": {"seed": seed.hex(), "phrase": format_phrase(seed), "public_key": seed.secret.public.hex()},
        "account": {
            "account_key": ALICE.secret.public.hex(),
            "recovery_key": ALICE.recovery.public.hex(),
            "fingerprint": ALICE.account.hex(),
            "device_key": ALICE.hand.key.hex(),
            "device_dh_key": ALICE.hand.dh_key.hex(),
            "device_id": FIRST.devices[0].id.hex(),
            "manifest_hash": FIRST.hash.hex(),
        },
        "safety_number": {
            "keys": [ALICE.secret.public.hex(), BOB.secret.public.hex()],
            "accounts": [ALICE.account.hex(), BOB.account.hex()],
            "number": safety_number(ALICE.secret.public, ALICE.account, BOB.secret.public, BOB.account),
        },
        "manifests": list(chain_cases()),
        "server": {
            "fingerprint": server.public.fingerprint.hex(),
            "leaf_key": statement.leaf_key.hex(),
            "statement": statement.encode().hex(),
        },
        "login": {
            "server": login.server.hex(),
            "certificate": login.certificate.hex(),
            "server_nonce": login.server_nonce.hex(),
            "client_nonce": login.client_nonce.hex(),
            "account": login.account.hex(),
            "device": login.device.hex(),
            "device_key": ALICE.hand.key.hex(),
            "signature": login.sign(ALICE.hand.signer).hex(),
            "unsigned": Signature(bytes(64)).hex(),
        },
    }


def prekeys() -> dict[str, object]:
    owner = Owner(ALICE.account.id, FIRST.devices[0])
    signer, now = ALICE.hand.signer, 1_750_000_000
    session_key, seal_key = SessionKey(Hand(101).dh_key), SealSecret(bytes(range(96))).public
    once = SessionPrekey.by(signer, owner, Kind.ONE_TIME, 1, session_key)
    spare = SessionPrekey.by(signer, owner, Kind.FALLBACK, 1, session_key)
    seal = SealPrekey.by(signer, owner, 7, seal_key, now + 90 * 86_400)
    older = SealPrekey.by(signer, owner, 6, SealSecret(bytes(96)).public, now + 86_400)
    twin = SealPrekey.by(signer, owner, 7, SealSecret(bytes(96)).public, now + 86_400)
    low = b"\1" + bytes(8 + 32)
    low += owner.sign(signer, b"\1", bytes(8), bytes(32))

    def case(
        title: str, raw: bytes, fails_at: str | None, *, asked: str = "one-time", later: int = 0
    ) -> Case:
        return {"case": title, "asked": asked, "now": now + later, "raw": raw.hex(), "fails_at": fails_at}

    raw, day = seal.encode(), 86_400
    return {
        "source": "made by tests/vectors/make_v3.py; bytes are hexadecimal",
        "manifest": FIRST.encode().hex(),
        "newest_seal": raw.hex(),
        "seal_secret": bytes(range(96)).hex(),
        "cases": [
            case("a one-time key", once.encode(), None),
            case("a fallback key", spare.encode(), None, asked="fallback"),
            case("a seal key", raw, None, asked="seal"),
            case("cut short", once.encode()[:-1], "MALFORMED"),
            case("a byte behind the end", once.encode() + b"\0", "MALFORMED"),
            case("a point of low order, well signed", low, "MALFORMED"),
            case(
                "a seal key's X25519 half with bit 255",
                raw[:1232] + bytes([raw[1232] | 128]) + raw[1233:],
                "MALFORMED",
                asked="seal",
            ),
            case("a fallback key for a one-time key", spare.encode(), "WRONG_KIND"),
            case("a fallback key said to be a one-time key", b"\1" + spare.encode()[1:], "BAD_SIGNATURE"),
            case("a seal key under another id", raw[:1] + b"\x08" + raw[2:], "BAD_SIGNATURE", asked="seal"),
            case("after its time", raw, "EXPIRED", asked="seal", later=90 * day + 3_601),
            case("for too long a time", raw, "TOO_LONG", asked="seal", later=-3_601),
            case("an older seal key", older.encode(), "OLD_ID", asked="seal"),
            case("another seal key under the same id", twin.encode(), "REPEATED", asked="seal"),
        ],
    }


FILES = {
    "v3-identity.json": identity,
    "v3-prekeys.json": prekeys,
    "v3-body.json": bodies,
    "v3-files.json": files,
}


def text(contents: dict[str, object]) -> str:
    return json.dumps(contents, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    for name, make in FILES.items():
        (HERE / name).write_text(text(make()))


if __name__ == "__main__":
    main()
