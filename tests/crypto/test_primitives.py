"""The borrowed parts do what the specification asks of them, and refuse what it refuses."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from hushpost.crypto import primitives
from hushpost.crypto.primitives import (
    HPKE_OVERHEAD,
    LOW_ORDER_ED25519,
    LOW_ORDER_X25519,
    TAG_SIZE,
    ChunkCipher,
    DhKey,
    Label,
    P,
    SealKey,
    SealOpener,
    SealSecret,
    Secret,
    Signature,
    SigningSecret,
    VerifyKey,
    WrapKey,
    derive,
    digest,
    seal,
    stretch,
    transcript,
    unseal,
    verify,
)
from hushpost.errors import Undecryptable

SEAL_SECRET = SealSecret(bytes(range(96)))
SIGNER = SigningSecret(b"\x07" * 32)
parts = st.lists(st.binary(max_size=40), max_size=5)


def le(number: int) -> bytes:
    return number.to_bytes(32, "little")


@given(parts, parts, st.sampled_from(Label), st.sampled_from(Label))
def test_a_transcript_has_one_reading(one: list[bytes], other: list[bytes], a: Label, b: Label) -> None:
    assert (transcript(a, *one) == transcript(b, *other)) == (one == other and a is b)


def test_a_transcript_is_what_the_specification_says() -> None:
    raw = b"\x12\0\0\0hushpost/consent/1" + b"\x02\0\0\0ab" + bytes(4)
    assert transcript(Label.CONSENT, b"ab", b"") == raw
    assert digest(Label.CONSENT, b"ab", b"") == hashlib.sha256(transcript(Label.CONSENT, b"ab", b"")).digest()


def test_labels_have_one_shape() -> None:
    for label in Label:
        name, purpose, version = label.value.decode().split("/")
        assert (name, version) == ("hushpost", "1")
        assert purpose.replace("-", "").isalpha()


def test_a_derivation_depends_on_everything() -> None:
    base = derive(Label.BODY, b"secret", b"context", salt=b"salt")
    others = {
        derive(Label.HEADER, b"secret", b"context", salt=b"salt"),
        derive(Label.BODY, b"Secret", b"context", salt=b"salt"),
        derive(Label.BODY, b"secret", b"contex", b"t", salt=b"salt"),
        derive(Label.BODY, b"secret", b"context", salt=b"Salt"),
    }
    assert len(others | {base}) == 5
    assert derive(Label.BODY, b"secret", b"context", salt=b"salt", size=64)[:32] == base


@pytest.mark.parametrize("kind", [Secret, SigningSecret, SealSecret, WrapKey])
def test_secrets_are_not_printed(kind: type[Secret]) -> None:
    value = kind(b"\xab" * kind.SIZE)
    for text in (repr(value), str(value), f"{value}", f"{value!r:>5}", repr([value])):
        assert "abab" not in text
        assert "\\xab" not in text
    with pytest.raises(ValueError, match="bytes, not 5") as caught:
        kind(b"abcde")
    assert "abcde" not in str(caught.value)


def test_secrets_compare_by_value_and_stay_hashable() -> None:
    assert Secret(bytes(32)) == Secret(bytes(32)) != Secret(b"\x01" * 32)
    assert Secret(bytes(32)) != "text"
    assert {Secret(bytes(32)): 1}[Secret(bytes(32))] == 1
    assert type(WrapKey.random()) is WrapKey
    assert WrapKey.random() != WrapKey.random()


def test_public_keys_are_not_printed() -> None:
    assert repr(VerifyKey(SIGNER.public_bytes())) == str(VerifyKey(SIGNER.public_bytes()))
    assert repr(VerifyKey(SIGNER.public_bytes())) == "VerifyKey(redacted)"


@pytest.mark.parametrize("u", [*LOW_ORDER_X25519, P, P + 1, 2**255 - 1, 2**255 + 9, 2**256 - 1])
def test_x25519_keys_of_low_order_or_another_spelling_are_refused(u: int) -> None:
    with pytest.raises(ValueError, match="usable DhKey"):
        DhKey(le(u))


@pytest.mark.parametrize("u", LOW_ORDER_X25519)
def test_the_low_order_points_are_those(u: int) -> None:
    with pytest.raises(ValueError, match="shared key"):
        x25519.X25519PrivateKey.generate().exchange(x25519.X25519PublicKey.from_public_bytes(le(u)))


@given(st.binary(min_size=32, max_size=32))
def test_every_honest_x25519_key_passes(seed: bytes) -> None:
    raw = x25519.X25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    assert DhKey(raw) == raw
    with pytest.raises(ValueError, match="usable DhKey"):
        DhKey(raw[:31] + bytes([raw[31] | 0x80]))


@pytest.mark.parametrize("sign_bit", [0, 1])
@pytest.mark.parametrize("y", [*LOW_ORDER_ED25519, P, P + 1, 2**255 - 1])
def test_ed25519_keys_of_low_order_or_another_spelling_are_refused(y: int, sign_bit: int) -> None:
    with pytest.raises(ValueError, match="usable VerifyKey"):
        VerifyKey(le(y | sign_bit << 255))


def test_a_low_order_ed25519_key_would_fit_any_message() -> None:
    """Why they are refused: this is what the library below accepts."""
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

    key = ed25519.Ed25519PublicKey.from_public_bytes(le(1))
    key.verify(le(1) + bytes(32), b"anything at all")


@given(parts, st.integers(0, 511))
def test_a_signature_fits_its_purpose_and_parts_only(said: list[bytes], bit: int) -> None:
    key, signature = VerifyKey(SIGNER.public_bytes()), SIGNER.sign(Label.CONSENT, *said)
    assert verify(key, signature, Label.CONSENT, *said)
    assert not verify(key, signature, Label.PREKEY, *said)
    assert not verify(key, signature, Label.CONSENT, *said, b"")
    broken = bytearray(signature)
    broken[bit // 8] ^= 1 << bit % 8
    assert not verify(key, Signature(bytes(broken)), Label.CONSENT, *said)
    other = VerifyKey(SigningSecret(b"\x08" * 32).public_bytes())
    assert not verify(other, signature, Label.CONSENT, *said)


def test_a_signature_has_one_spelling() -> None:
    """S and S + L are the same number to a verifier that does not look."""
    order = 2**252 + 27742317777372353535851937790883648493
    raw = SIGNER.sign(Label.CONSENT)
    other = raw[:32] + le(int.from_bytes(raw[32:], "little") + order)
    assert not verify(VerifyKey(SIGNER.public_bytes()), Signature(other), Label.CONSENT)


@given(st.binary(max_size=100))
def test_a_chunk_is_sealed_with_aes_and_opens(text: bytes) -> None:
    key, nonce = Secret(bytes(range(32))), bytes(range(12))
    cipher, sealed, back = ChunkCipher(key), bytearray(len(text) + TAG_SIZE), bytearray(len(text))
    cipher.seal(nonce, text, sealed)
    encryptor = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
    assert sealed == encryptor.update(text) + encryptor.finalize() + encryptor.tag
    cipher.unseal(nonce, sealed, back)
    assert back == text
    sealed[-1] ^= 1
    with pytest.raises(Undecryptable):
        cipher.unseal(nonce, sealed, back)


def test_the_published_vector_of_aes() -> None:
    """Test case 14 of McGrew and Viega, "The Galois/Counter Mode of Operation"."""
    sealed = bytearray(16 + TAG_SIZE)
    ChunkCipher(Secret(bytes(32))).seal(bytes(12), bytes(16), sealed)
    assert sealed.hex() == "cea7403d4d606b6e074ec5d3baf39d18" + "d0d1c8a799996bf0265b98b5d48ab919"


@given(st.binary(max_size=300), st.binary(max_size=30), st.data())
def test_sealed_text_opens_with_everything_right_only(text: bytes, ad: bytes, data: st.DataObject) -> None:
    key, nonce = Secret(b"k" * 32), bytes(12)
    sealed = seal(key, nonce, text, ad)
    assert unseal(key, nonce, sealed, ad) == text
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    broken = bytearray(sealed)
    broken[bit // 8] ^= 1 << bit % 8
    for attempt in (
        (key, nonce, bytes(broken), ad),
        (key, nonce, sealed[:-1], ad),
        (key, nonce, sealed + b"\0", ad),
        (key, nonce, b"", ad),
        (key, nonce, sealed, ad + b"\0"),
        (key, b"\1" * 12, sealed, ad),
        (Secret(b"K" * 32), nonce, sealed, ad),
    ):
        with pytest.raises(Undecryptable):
            unseal(*attempt)


def test_hpke_opens_with_the_rebuilt_key_only() -> None:
    opener = SealOpener(SEAL_SECRET)
    sealed = SEAL_SECRET.public.seal(b"info", b"plain")
    assert len(sealed) == len(b"plain") + HPKE_OVERHEAD
    assert opener.open(b"info", sealed) == b"plain"
    for attempt in (b"", sealed[:-1], sealed + b"\0", sealed[:1119], sealed[:1120], sealed[:1135]):
        with pytest.raises(Undecryptable):
            opener.open(b"info", attempt)
    with pytest.raises(Undecryptable):
        opener.open(b"inf", sealed)
    with pytest.raises(Undecryptable):
        SealOpener(SealSecret(bytes(96))).open(b"info", sealed)


@given(st.integers(0, 8 * (5 + HPKE_OVERHEAD) - 1))
def test_hpke_notices_every_flipped_bit(bit: int) -> None:
    broken = bytearray(SEAL_SECRET.public.seal(b"info", b"plain"))
    broken[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Undecryptable):
        SealOpener(SEAL_SECRET).open(b"info", bytes(broken))


@pytest.mark.parametrize("u", [*LOW_ORDER_X25519, P, P + 9, 2**255 + 9])
def test_a_seal_key_with_a_bad_x25519_half_is_refused(u: int) -> None:
    with pytest.raises(ValueError, match="usable SealKey"):
        SealKey(SEAL_SECRET.public[:1184] + le(u))


def test_a_seal_key_with_a_bad_mlkem_half_is_refused() -> None:
    """Coefficients of 4,095 are not reduced: FIPS 203 asks for this check, and a key has one spelling."""
    with pytest.raises(ValueError, match="usable SealKey"):
        SealKey(b"\xff" * 1152 + SEAL_SECRET.public[1152:])


@pytest.mark.parametrize("u", [0, 1, P - 1, P + 9, 2**255 + 9])
def test_a_sealed_text_from_a_bad_x25519_key_is_refused_before_it_is_tried(
    u: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Never:
        def decrypt(self, *_: object, **__: object) -> bytes:
            raise AssertionError("tried")

    opener, sealed = SealOpener(SEAL_SECRET), SEAL_SECRET.public.seal(b"", b"plain")
    monkeypatch.setattr(primitives, "_SUITE", Never())
    with pytest.raises(Undecryptable):
        opener.open(b"", sealed[:1088] + le(u) + sealed[1120:])


def test_the_stored_halves_give_the_published_key() -> None:
    post_quantum = mlkem.MLKEM768PrivateKey.from_seed_bytes(SEAL_SECRET[:64])
    classical = x25519.X25519PrivateKey.from_private_bytes(SEAL_SECRET[64:])
    assert SEAL_SECRET.public[:1184] == post_quantum.public_key().public_bytes_raw()
    assert SEAL_SECRET.public[1184:] == classical.public_key().public_bytes_raw()


def test_a_passphrase_is_stretched_with_its_salt() -> None:
    quick = stretch(b"passphrase", b"s" * 16, memory_kib=64)
    assert quick == stretch(b"passphrase", b"s" * 16, memory_kib=64)
    assert quick != stretch(b"passphrase", b"S" * 16, memory_kib=64)
    assert quick != stretch(b"Passphrase", b"s" * 16, memory_kib=64)
    assert quick != stretch(b"passphrase", b"s" * 16, memory_kib=128)


def test_what_is_not_a_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"."):
        primitives.leaf_key_digest(b"not DER")
