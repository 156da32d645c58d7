"""The recorded vectors of version 3: read from the files, not from the code that made them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hushpost.crypto import identity
from hushpost.crypto.identity import AccountFingerprint, Manifest, Signature
from hushpost.crypto.prekeys import Kind, Owner, PrekeyCheck, PrekeyFault, SealPrekey
from hushpost.crypto.primitives import Label, SigningSecret, VerifyKey, derive, digest, transcript, verify
from hushpost.errors import ManifestError, PrekeyError
from tests.vectors import make_v3


def load(name: str) -> Any:
    return json.loads((make_v3.HERE / name).read_text())


IDENTITY = load("v3-identity.json")
PREKEYS = load("v3-prekeys.json")
un = bytes.fromhex


@pytest.mark.parametrize("name", make_v3.FILES)
def test_the_files_are_what_the_script_makes(name: str) -> None:
    assert (make_v3.HERE / name).read_text() == make_v3.text(make_v3.FILES[name]())


@pytest.mark.parametrize("case", IDENTITY["primitives"], ids=lambda case: case["case"])
def test_primitives(case: Any) -> None:
    label = Label(f"hushpost/{case['purpose']}/1".encode())
    parts = [un(part) for part in case["parts"]]
    assert transcript(label, *parts) == un(case["transcript"])
    assert digest(label, *parts) == un(case["hash"])
    assert derive(label, un(case["secret"]), *parts) == un(case["kdf"])
    secret = SigningSecret(un(case["signing_seed"]))
    assert secret.public_bytes() == un(case["public_key"])
    assert secret.sign(label, *parts) == un(case["signature"])
    assert verify(VerifyKey(un(case["public_key"])), Signature(un(case["signature"])), label, *parts)


def test_ids_and_phrase() -> None:
    account = IDENTITY["account"]
    keys = identity.AccountKey(un(account["account_key"])), identity.RecoveryKey(un(account["recovery_key"]))
    assert identity.account_fingerprint(*keys) == un(account["fingerprint"])
    device = identity.DeviceKey(un(account["device_key"])), identity.DeviceDhKey(un(account["device_dh_key"]))
    assert identity.device_id(*device) == un(account["device_id"])
    seed = identity.parse_phrase(IDENTITY["phrase"]["phrase"])
    assert seed == un(IDENTITY["phrase"]["seed"])
    assert seed.secret.public == un(IDENTITY["phrase"]["public_key"])


@pytest.mark.parametrize("case", IDENTITY["manifests"], ids=lambda case: case["case"])
def test_manifests(case: Any) -> None:
    raw = un(case["known"])
    known = AccountFingerprint(raw) if len(raw) == 32 else Manifest.decode(raw)
    later = [un(each) for each in case["later"]]
    if case["fails_at"] is None:
        assert identity.verify_chain(known, later).newest.encode() == later[-1]
        return
    with pytest.raises(ManifestError) as caught:
        identity.verify_chain(known, later)
    assert caught.value.reason is identity.ManifestFault[case["fails_at"]]


def test_every_way_to_refuse_a_manifest_has_a_vector() -> None:
    assert {case["fails_at"] for case in IDENTITY["manifests"]} - {None} == set(
        identity.ManifestFault.__members__
    )


def test_safety_number() -> None:
    (one, other), (a, b) = IDENTITY["safety_number"]["keys"], IDENTITY["safety_number"]["accounts"]
    number = identity.safety_number(
        identity.AccountKey(un(other)),
        AccountFingerprint(un(b)),
        identity.AccountKey(un(one)),
        AccountFingerprint(un(a)),
    )
    assert number == IDENTITY["safety_number"]["number"]


def test_server_and_login() -> None:
    case = IDENTITY["server"]
    statement = identity.ServerStatement.decode(un(case["statement"]))
    assert statement.is_signed()
    assert statement.server.fingerprint == un(case["fingerprint"])
    assert statement.leaf_key == un(case["leaf_key"])
    case = IDENTITY["login"]
    login = identity.Login(
        identity.ServerFingerprint(un(case["server"])),
        identity.CertificateDigest(un(case["certificate"])),
        identity.ServerNonce(un(case["server_nonce"])),
        identity.ClientNonce(un(case["client_nonce"])),
        identity.AccountFingerprint(un(case["account"]) + bytes(16)).id,
        make_v3.FIRST.devices[0].id,
    )
    key = identity.DeviceKey(un(case["device_key"]))
    assert login.is_signed(key, Signature(un(case["signature"])))
    assert not login.is_signed(key, Signature(un(case["unsigned"])))


@pytest.mark.parametrize("case", PREKEYS["cases"], ids=lambda case: case["case"])
def test_prekeys(case: Any) -> None:
    manifest = Manifest.decode(un(PREKEYS["manifest"]))
    owner = Owner(manifest.account.id, manifest.devices[0])
    check = PrekeyCheck(owner, case["now"], SealPrekey.decode(un(PREKEYS["newest_seal"])))

    def read() -> bytes:
        if case["asked"] == "seal":
            return check.seal(un(case["raw"])).encode()
        return check.session(un(case["raw"]), {Kind[case["asked"].upper().replace("-", "_")]}).encode()

    if case["fails_at"] is None:
        assert read() == un(case["raw"])
        return
    with pytest.raises(PrekeyError) as caught:
        read()
    assert caught.value.reason is PrekeyFault[case["fails_at"]]


def test_every_way_to_refuse_a_prekey_has_a_vector() -> None:
    assert {case["fails_at"] for case in PREKEYS["cases"]} - {None} == set(PrekeyFault.__members__)
