"""Offers of files: one spelling, everything bounded, and later versions shown as not understood."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hushpost.crypto.content import Content, Text, Unknown
from hushpost.crypto.filekeys import FileDigest, FileKey, ReadToken, ReleaseToken
from hushpost.crypto.filelayout import MAX_SIZE, PART
from hushpost.crypto.layout import u8, u32, u64
from hushpost.crypto.offer import FileOffer, Mode
from hushpost.crypto.primitives import sha256
from hushpost.ids import BlobId

OFFER = FileOffer(
    BlobId(b"b" * 16),
    FileKey(b"k" * 32),
    PART + 1,
    FileDigest(b"d" * 32),
    ReadToken(b"r" * 32),
    ReleaseToken(b"x" * 32),
    "disk.img",
    "application/octet-stream",
)
RAW = OFFER.encode()
SIZE, COUNT, NAME = 50, 58, 158
"""Where these fields stand."""


def test_the_layout_is_that_of_the_specification() -> None:
    head = b"\1\0" + b"b" * 16 + b"k" * 32 + u64(PART + 1) + u32(2) + b"d" * 32 + b"r" * 32 + b"x" * 32
    assert head + b"\x08disk.img\x18application/octet-stream" == RAW
    assert FileOffer.decode(RAW) == OFFER
    assert RAW[1] != replace(OFFER, mode=Mode.FOLDER).encode()[1] == 1


def test_the_hash_of_a_token_is_what_the_server_keeps() -> None:
    assert OFFER.read.hash == sha256(OFFER.read)
    assert OFFER.release.hash == sha256(OFFER.release)


def put(at: int, piece: bytes) -> bytes:
    return RAW[:at] + piece + RAW[at + len(piece) :]


def texts(name: bytes, media_type: bytes) -> bytes:
    return RAW[:NAME] + u8(len(name)) + name + u8(len(media_type)) + media_type


REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "a mode of later times": put(1, b"\2"),
    "a size above the largest": put(SIZE, u64(MAX_SIZE + 1)),
    "a size of 2^63": put(SIZE, (2**63).to_bytes(8, "little")),
    "a part too few": put(COUNT, u32(1)),
    "a part too many": put(COUNT, u32(3)),
    "no name": texts(b"", b"text/plain"),
    "a name that is not UTF-8": texts(b"\xff", b""),
    "a media type that is not UTF-8": texts(b"a", b"\xff/a"),
    "a media type without a slash": texts(b"a", b"text"),
    "a media type with a parameter": texts(b"a", b"text/plain; charset=utf-8"),
    "a media type in capitals": texts(b"a", b"Text/plain"),
    "a media type with a line behind it": texts(b"a", b"text/plain\n"),
    "a media type of other digits": texts(b"a", "text/\u0661".encode()),
    "a media type with half of it too long": texts(b"a", b"text/" + b"a" * 128),
    "a byte behind the end": RAW + b"\0",
    "a name that is longer than everything": RAW[: NAME + 1],
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_malformed_is_refused_with_everything_beside_it(case: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Content.decode(Content.of(Text("hi"), Unknown(16, REFUSED[case])).encode())


@pytest.mark.parametrize("size", range(len(RAW)))
def test_cut_anywhere_it_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        FileOffer.decode(RAW[:size])


def test_another_version_is_kept_and_not_understood() -> None:
    raw = b"\2" + RAW[1:]
    content = Content.decode(Content.of(Text("a caption"), Unknown(16, raw)).encode())
    assert content.get(FileOffer) is None
    assert content.unknown == [Unknown(16, raw)]
    assert content.get(Text) == Text("a caption")


def test_the_limits_themselves_are_fine() -> None:
    for offer in (
        replace(OFFER, size=MAX_SIZE),
        replace(OFFER, size=0),
        replace(OFFER, name="x" * 255),
        replace(OFFER, name="/"),
        replace(OFFER, media_type="a" * 127 + "/" + "b" * 127),
        replace(OFFER, media_type=""),
    ):
        assert FileOffer.decode(offer.encode()) == offer


@pytest.mark.parametrize(
    "offer",
    [
        replace(OFFER, name="é" * 128),
        replace(OFFER, name=""),
        replace(OFFER, media_type="x" * 256),
        replace(OFFER, media_type="no type"),
        replace(OFFER, size=MAX_SIZE + 1),
        replace(OFFER, size=-1),
    ],
)
def test_what_others_would_refuse_is_not_written(offer: FileOffer) -> None:
    with pytest.raises(ValueError, match=r"."):
        Content.of(offer).encode()


def test_nothing_secret_is_printed() -> None:
    shown = repr(OFFER)
    assert not [word for word in ("disk.img", "octet") if word in shown]
    assert not [each for each in (OFFER.key, OFFER.read, OFFER.release) if each.hex() in shown]
