"""A server is the one that was pinned, with the certificate of this connection; so is a login."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from hushpost.crypto.identity import (
    Authority,
    CertificateDigest,
    ClientNonce,
    LeafCertificate,
    LeafKeyDigest,
    Login,
    ServerFault,
    ServerNonce,
    ServerPin,
    ServerSecret,
    ServerStatement,
    verify_server,
)
from hushpost.crypto.primitives import Label, sha256
from hushpost.errors import ServerUntrusted
from tests.crypto.people import ALICE, BOB, MALLORY

SECRET, OTHER = ServerSecret(b"\x21" * 32), ServerSecret(b"\x22" * 32)
PIN = SECRET.public.fingerprint
START, END, HOUR = 1_700_000_000, 1_800_000_000, 3_600


def certificate(number: int, serial: int = 1) -> bytes:
    """A self-signed DER certificate of this key."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hushpost")])
    day = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial, day, day.replace(year=2030))
    return builder.sign(key, None).public_bytes(serialization.Encoding.DER)


LEAF, OTHER_LEAF = certificate(1), certificate(2)
STATEMENT = ServerStatement.by(SECRET, LeafKeyDigest.of(LEAF), 5, START, END)


def refused(
    statement: ServerStatement | bytes,
    *,
    pin: ServerPin = PIN,
    leaf: bytes = LEAF,
    now: int = START,
    known: ServerStatement | None = None,
) -> ServerFault:
    raw = statement if isinstance(statement, bytes) else statement.encode()
    with pytest.raises(ServerUntrusted) as caught:
        verify_server(raw, pin=pin, certificate=leaf, now=now, known=known)
    assert isinstance(caught.value.reason, ServerFault)
    return caught.value.reason


def accepted(statement: ServerStatement, known: ServerStatement | None, now: int = START) -> ServerStatement:
    return verify_server(statement.encode(), pin=PIN, certificate=LEAF, now=now, known=known)


def test_the_pinned_server_is_accepted() -> None:
    assert accepted(STATEMENT, None) == STATEMENT
    assert accepted(STATEMENT, STATEMENT) == STATEMENT
    later = ServerStatement.by(SECRET, LeafKeyDigest.of(LEAF), 6, START, END)
    assert accepted(later, STATEMENT) == later
    assert len(STATEMENT.encode()) == ServerStatement.SIZE
    renewed = verify_server(
        STATEMENT.encode(), pin=PIN, certificate=certificate(1, serial=2), now=START, known=None
    )
    assert renewed == STATEMENT, "a renewed certificate with the same key"


def test_another_server() -> None:
    fake = ServerStatement.by(OTHER, LeafKeyDigest.of(LEAF), 6, START, END)
    assert refused(fake) is ServerFault.WRONG_SERVER
    assert refused(replace(fake, server=SECRET.public)) is ServerFault.BAD_SIGNATURE
    assert refused(fake, pin=Authority.CA, known=STATEMENT) is ServerFault.WRONG_SERVER
    assert refused(replace(STATEMENT, serial=6), pin=Authority.CA) is ServerFault.BAD_SIGNATURE


def test_another_certificate() -> None:
    """The server in between relays the real statement over its own TLS."""
    assert refused(STATEMENT, leaf=OTHER_LEAF) is ServerFault.WRONG_CERTIFICATE
    assert refused(STATEMENT, leaf=b"no certificate") is ServerFault.WRONG_CERTIFICATE


def test_validity_and_the_clock() -> None:
    assert accepted(STATEMENT, None, START - HOUR) == STATEMENT
    assert accepted(STATEMENT, None, END + HOUR) == STATEMENT
    assert refused(STATEMENT, now=START - HOUR - 1) is ServerFault.NOT_YET_VALID
    assert refused(STATEMENT, now=END + HOUR + 1) is ServerFault.EXPIRED


def test_an_older_statement_does_not_come_back() -> None:
    older = ServerStatement.by(SECRET, LeafKeyDigest.of(LEAF), 4, START, END)
    assert refused(older, known=STATEMENT) is ServerFault.OLD_SERIAL
    twin = ServerStatement.by(SECRET, LeafKeyDigest.of(LEAF), 5, START, END + 1)
    assert refused(twin, known=STATEMENT) is ServerFault.TWO_STATEMENTS


@given(st.integers(0, 8 * ServerStatement.SIZE - 1))
def test_any_flipped_bit_is_noticed(bit: int) -> None:
    raw = bytearray(STATEMENT.encode())
    raw[bit // 8] ^= 1 << bit % 8
    assert refused(bytes(raw)) in {
        ServerFault.MALFORMED, ServerFault.WRONG_SERVER, ServerFault.BAD_SIGNATURE,
    }  # fmt: skip


@given(st.integers(0, ServerStatement.SIZE - 1), st.binary(min_size=1, max_size=20))
def test_a_statement_cut_short_or_extended_is_none(size: int, more: bytes) -> None:
    assert refused(STATEMENT.encode()[:size]) is ServerFault.MALFORMED
    assert refused(STATEMENT.encode() + more) is ServerFault.MALFORMED


def test_the_digest_is_of_the_key_in_the_certificate() -> None:
    key = x509.load_der_x509_certificate(LEAF).public_key()
    info = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(info)
    assert LeafKeyDigest.of(LEAF) == digest.finalize()


LOGIN = Login(
    PIN,
    CertificateDigest.of(LEAF),
    ServerNonce(b"s" * 32),
    ClientNonce(b"c" * 32),
    ALICE.account.id,
    ALICE.first().devices[0].id,
)


def test_a_login_fits_its_device_and_connection_only() -> None:
    signature = LOGIN.sign(ALICE.hand.signer)
    assert LOGIN.is_signed(ALICE.hand.key, signature)
    assert not LOGIN.is_signed(MALLORY.hand.key, signature)
    for other in (
        replace(LOGIN, server=OTHER.public.fingerprint),
        replace(LOGIN, certificate=CertificateDigest.of(OTHER_LEAF)),
        replace(LOGIN, certificate=CertificateDigest.of(certificate(1, serial=2))),
        replace(LOGIN, server_nonce=ServerNonce(b"S" * 32)),
        replace(LOGIN, client_nonce=ClientNonce(b"C" * 32)),
        replace(LOGIN, server_nonce=ServerNonce(b"c" * 32), client_nonce=ClientNonce(b"s" * 32)),
        replace(LOGIN, account=BOB.account.id),
        replace(LOGIN, device=BOB.first().devices[0].id),
        replace(LOGIN, version=4),
    ):
        assert not other.is_signed(ALICE.hand.key, signature)


def test_a_login_is_nothing_else() -> None:
    """No signature that a device gives elsewhere passes for a login."""
    same_parts = ALICE.hand.signer.sign(Label.CONSENT, *LOGIN._parts())
    assert not LOGIN.is_signed(ALICE.hand.key, same_parts)
    assert not LOGIN.is_signed(ALICE.hand.key, ALICE.first().devices[0].consent)
    assert CertificateDigest.of(LEAF) == sha256(LEAF)


def test_a_made_certificate_is_fresh_and_tells_no_secret() -> None:
    one, other = LeafCertificate.make(START, END), LeafCertificate.make(START, END)
    assert LeafKeyDigest.of(one.certificate) != LeafKeyDigest.of(other.certificate)
    assert one.secret.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert "PRIVATE" not in repr(one)
    parsed = x509.load_der_x509_certificate(one.certificate)
    assert parsed.not_valid_before_utc.timestamp() == START
    assert parsed.not_valid_after_utc.timestamp() == END


def test_a_certificate_with_an_unknown_kind_of_key_is_refused_like_any_other() -> None:
    leaf = LeafCertificate.make(START, END).certificate
    odd = leaf.replace(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0601"))
    with pytest.raises(ValueError, match="Unknown key type"):
        LeafKeyDigest.of(odd)
    assert refused(STATEMENT, leaf=odd) is ServerFault.WRONG_CERTIFICATE
