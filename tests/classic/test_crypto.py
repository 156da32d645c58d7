"""The classic cryptography against the recorded vectors, and against everything that is damaged."""

from __future__ import annotations

import base64
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from hushpost.classic import crypto
from hushpost.classic.crypto import PIECE, PairKey, PrivateKey
from hushpost.errors import ProtocolError, Undecryptable
from tests.wire.events import cut

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors/classic.json").read_text())
RSA, AES = VECTORS["rsa"], VECTORS["aes"]
KEY = PairKey.parse(AES["key_hex"])
OTHER_KEY = PairKey(b"another pair key")
WHO = ("alice", "bob")

pair_keys = st.binary(min_size=16, max_size=16).map(PairKey)


def private_key(who: str) -> PrivateKey:
    return PrivateKey.decode(bytes.fromhex(VECTORS["private_key_pkcs8_der_hex"][who]))


def sealed(key: PairKey, *pieces: bytes) -> bytes:
    return b"".join(bytes(piece) for piece in crypto.seal_pieces(key, pieces))


def opened(key: PairKey, *pieces: bytes) -> bytes:
    return b"".join(bytes(piece) for piece in crypto.open_pieces(key, pieces))


@pytest.mark.parametrize("who", WHO)
def test_private_keys_of_the_original_read_and_write_the_same(who: str) -> None:
    der = bytes.fromhex(VECTORS["private_key_pkcs8_der_hex"][who])
    assert private_key(who).encode() == der
    assert PrivateKey.decode(der.ljust(1000, b"\0")).encode() == der
    assert private_key(who).public_key == bytes.fromhex(VECTORS["public_key_spki_der_hex"][who])


def test_the_originals_key_message_opens() -> None:
    assert private_key("alice").unwrap(bytes.fromhex(RSA["ciphertext_hex"])) == bytes.fromhex(
        RSA["symmetric_key_hex"]
    )


@pytest.mark.parametrize("text", AES["texts"], ids=lambda text: text["text"])
def test_the_originals_texts_both_ways(text: dict[str, str]) -> None:
    content = bytes.fromhex(text["ciphertext_hex"])
    assert crypto.open_text(KEY, content) == crypto.OpenedText(text["text"], strict=True, readable=True)
    assert crypto.seal_text(KEY, text["text"]) == content


@pytest.mark.parametrize("name", ["file_small", "file_empty"])
def test_the_originals_files_both_ways(name: str) -> None:
    plain, content = (bytes.fromhex(AES[name][part]) for part in ("plaintext_hex", "ciphertext_hex"))
    assert opened(KEY, content) == plain
    assert sealed(KEY, plain) == content
    assert crypto.sealed_size(len(plain)) == len(content)


def test_a_generated_key_is_one_of_the_protocol() -> None:
    key = PrivateKey.generate()
    public = serialization.load_der_public_key(key.public_key)
    assert isinstance(public, rsa.RSAPublicKey)
    assert (len(key.public_key), public.key_size, public.public_numbers().e) == (160, 1024, 17)
    assert len(key.encode()) <= 1000
    content = crypto.wrap(KEY, key.public_key)
    assert len(content) == 128
    assert PrivateKey.decode(key.encode()).unwrap(content) == KEY


def test_a_key_message_is_for_one_reader_only() -> None:
    content = crypto.wrap(KEY, private_key("alice").public_key)
    with pytest.raises(Undecryptable):
        private_key("bob").unwrap(content)


@pytest.mark.parametrize("content", [b"", b"x" * 127, b"x" * 128, bytes(128), b"\xff" * 128, b"x" * 129])
def test_garbage_as_a_key_message_is_told(content: bytes) -> None:
    with pytest.raises(Undecryptable):
        private_key("alice").unwrap(content)


def test_a_wrapped_key_of_another_length_is_no_key() -> None:
    public = serialization.load_der_public_key(private_key("alice").public_key)
    assert isinstance(public, rsa.RSAPublicKey)
    with pytest.raises(Undecryptable):
        private_key("alice").unwrap(public.encrypt(bytes(17), crypto._OAEP))


@pytest.mark.parametrize("registered", [bytes(160), b"\x30" * 160, b""])
def test_nothing_is_sealed_for_what_is_no_public_key(registered: bytes) -> None:
    with pytest.raises(ProtocolError):
        crypto.wrap(KEY, registered)


def test_nothing_is_sealed_for_a_key_of_another_size() -> None:
    weak = rsa.generate_private_key(65537, 2048).public_key()
    spki = weak.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ProtocolError):
        crypto.wrap(KEY, spki)


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30\x82",
        bytes(1000),
        bytes.fromhex(VECTORS["private_key_pkcs8_der_hex"]["bob"])[:-1],
        bytes.fromhex(VECTORS["private_key_pkcs8_der_hex"]["bob"]) + b"x",
        bytes.fromhex(VECTORS["public_key_spki_der_hex"]["bob"]),
        rsa.generate_private_key(65537, 1024).private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    ],
    ids=["empty", "header", "zeros", "cut", "trailing", "public", "e=65537"],
)
def test_bad_private_keys_are_refused(der: bytes) -> None:
    with pytest.raises(ValueError, match="not"):
        PrivateKey.decode(der)


@given(key=pair_keys, plain=st.binary(max_size=200), seal_at=st.lists(st.integers(0, 400)))
def test_any_cutting_seals_to_the_same_and_opens_again(
    key: PairKey, plain: bytes, seal_at: list[int]
) -> None:
    content = sealed(key, plain)
    assert sealed(key, *cut(plain, seal_at)) == content
    assert len(content) == crypto.sealed_size(len(plain))
    assert opened(key, *cut(content, seal_at)) == plain


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 16])
def test_pieces_larger_than_the_buffer_are_cut(size: int) -> None:
    plain = bytes(range(251)) * (size // 251 + 1)
    content = sealed(KEY, plain[:size])
    assert opened(KEY, content) == plain[:size]
    assert opened(KEY, content[:7], content[7:]) == plain[:size]


@given(plain=st.binary(max_size=100), missing=st.integers(1, 116))
def test_a_cut_content_is_never_taken_for_whole(plain: bytes, missing: int) -> None:
    content = sealed(KEY, plain)
    short = content[: max(0, len(content) - missing)]
    if short and len(short) % 16 == 0:
        return  # whole blocks: only the padding can tell, and does so 255 times in 256
    with pytest.raises(Undecryptable):
        opened(KEY, short)


def test_what_is_added_to_a_content_is_noticed() -> None:
    with pytest.raises(Undecryptable, match="whole number of blocks"):
        opened(KEY, sealed(KEY, b"some plaintext") + b"x")


def test_a_wrong_key_is_noticed() -> None:
    with pytest.raises(Undecryptable):
        opened(OTHER_KEY, sealed(KEY, b"some plaintext"))


@pytest.mark.parametrize("padding", [b"\0", b"\x11", b"\xff", b"\x01\x02", b"\x02\x03\x03"])
def test_every_byte_of_the_padding_counts(padding: bytes) -> None:
    plain = b"x" * (16 - len(padding)) + padding
    content = sealed(KEY, plain)[:16]
    with pytest.raises(Undecryptable):
        opened(KEY, content)
    assert crypto.padding_under(KEY, bytes(16), content) == 0


@given(size=st.integers(0, 40))
def test_the_padding_is_found_without_decrypting_the_whole(size: int) -> None:
    content = bytes(16) + sealed(KEY, bytes(size))
    assert crypto.padding_under(KEY, content[-32:-16], content[-16:]) == 16 - size % 16


@given(key=pair_keys, text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_texts_round_trip(key: PairKey, text: str) -> None:
    assert crypto.open_text(key, crypto.seal_text(key, text)).text == text


@pytest.mark.parametrize(
    ("raw", "text", "strict", "readable"),
    [
        (b"no terminator", "no terminator", False, True),
        (b"cut\0here\0", "cut", False, True),
        (b"two\0\0", "two", False, True),
        (b"bad \xff\0", "bad \ufffd", False, False),
        (b"fine\0\xff", "fine", False, True),
        (b"\0", "", True, True),
        (b"", "", False, True),
    ],
)
def test_texts_as_other_clients_may_send_them(raw: bytes, text: str, strict: bool, readable: bool) -> None:
    assert crypto.open_text(KEY, sealed(KEY, raw)) == crypto.OpenedText(
        text, strict=strict, readable=readable
    )


@pytest.mark.parametrize("text", ["a\0b", "\0", "\ud800"])
def test_a_text_that_would_arrive_otherwise_is_not_sealed(text: str) -> None:
    with pytest.raises(ValueError, match=r"NUL|surrogates"):
        crypto.seal_text(KEY, text)


def test_memory_is_constant_for_large_contents() -> None:
    block = bytes(PIECE)
    tracemalloc.start()
    try:
        sizes = [
            len(piece)
            for piece in crypto.open_pieces(KEY, crypto.seal_pieces(KEY, (block for _ in range(64))))
        ]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(sizes) == 64 * PIECE
    assert peak < 8 * PIECE


def test_a_pair_key_does_not_print_itself() -> None:
    assert KEY.hex() not in f"{KEY} {KEY!r} {[KEY]}"
    assert base64.b64encode(KEY).decode() not in repr(KEY)
