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
from hushpost.crypto.primitives import Label, Signature, derive, digest, transcript
from tests.crypto.people import ALICE, BOB, MALLORY, Hand

HERE = Path(__file__).parent
Case = dict[str, object]

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


FILES = {"v3-identity.json": identity}


def text(contents: dict[str, object]) -> str:
    return json.dumps(contents, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    for name, make in FILES.items():
        (HERE / name).write_text(text(make()))


if __name__ == "__main__":
    main()
