"""Contents: strict about what we know, patient about what we do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.crypto.body import MAX_CONTENT
from hushpost.crypto.content import (
    MANIFEST_BOUND,
    MAX_MANIFESTS,
    MAX_PARTS,
    MAX_PROFILE_NAME,
    MAX_RECEIPTS,
    MAX_RESENDS,
    MAX_TEXT,
    Card,
    Content,
    DeliveryToken,
    Introduction,
    Part,
    Receipt,
    ResendRequest,
    SessionReset,
    Text,
    Unknown,
)
from hushpost.crypto.filekeys import FileDigest, FileKey, ReadToken, ReleaseToken
from hushpost.crypto.filelayout import MAX_SIZE
from hushpost.crypto.layout import u8, u16, u32
from hushpost.crypto.offer import FileOffer, Mode
from hushpost.crypto.olm import SessionHash
from hushpost.crypto.prekeys import SealPrekey
from hushpost.ids import BlobId, MessageId
from tests.crypto.people import ALICE

SEAL = bytes(SealPrekey.SIZE)


def some(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


def ids(most: int) -> st.SearchStrategy[tuple[MessageId, ...]]:
    return st.lists(some(16).map(MessageId), min_size=1, max_size=most).map(tuple)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300).map(Text)
offers = st.builds(
    FileOffer,
    some(16).map(BlobId),
    some(32).map(FileKey),
    st.integers(0, MAX_SIZE),
    some(32).map(FileDigest),
    some(32).map(ReadToken),
    some(32).map(ReleaseToken),
    st.text("abc鮑😀/.\0", min_size=1, max_size=60),
    st.sampled_from(["", "text/plain", "application/vnd.api+json"]),
    st.sampled_from(Mode),
)
parts: dict[int, st.SearchStrategy[Part]] = {
    1: texts,
    2: st.builds(Receipt, ids(MAX_RECEIPTS)),
    3: st.builds(Card, some(32).map(DeliveryToken), st.text("abc鮑😀", max_size=30)),
    4: st.builds(Introduction, st.just(SEAL), st.lists(st.binary(max_size=99), min_size=1).map(tuple)),
    5: st.builds(ResendRequest, ids(MAX_RESENDS)),
    6: st.builds(SessionReset, some(16).map(SessionHash)),
    16: offers | st.builds(Unknown, st.just(16), st.binary(max_size=99).map(lambda raw: b"\2" + raw)),
    17: st.builds(Unknown, st.just(17), st.binary(max_size=99)),
    65_535: st.builds(Unknown, st.just(65_535), st.binary(max_size=99)),
}
contents = st.sets(st.sampled_from(sorted(parts))).flatmap(
    lambda kinds: st.tuples(*(parts[kind] for kind in sorted(kinds))).map(lambda chosen: Content.of(*chosen))
)


@given(contents)
def test_it_reads_as_it_was_written(content: Content) -> None:
    assert Content.decode(content.encode()) == content


@given(contents, st.data())
def test_no_other_bytes_say_the_same(content: Content, data: st.DataObject) -> None:
    raw = bytearray(content.encode())
    at = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[at // 8] ^= 1 << at % 8
    try:
        assert Content.decode(bytes(raw)) != content
    except ValueError:
        return


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_content_or_a_value_error(raw: bytes) -> None:
    try:
        content = Content.decode(raw)
    except ValueError:
        return
    assert content.encode() == raw


def test_parts_are_found_by_their_kind() -> None:
    content = Content.of(Unknown(20, b"new"), Text("hello"), Receipt((MessageId(bytes(16)),)))
    assert [part.kind for part in content.parts] == [1, 2, 20]
    assert content.get(Text) == Text("hello")
    assert content.get(Card) is None
    assert content.unknown == [Unknown(20, b"new")]
    assert Content.of().encode() == b"\1\0"


def part(kind: int, raw: bytes) -> bytes:
    return u16(kind) + u32(len(raw)) + raw


def whole(*encoded: bytes) -> bytes:
    return u8(1) + u8(len(encoded)) + b"".join(encoded)


REFUSED: dict[str, bytes] = {
    "empty": b"",
    "another version": b"\2\0",
    "bytes behind the last part": whole() + b"\0",
    "cut short": whole(part(1, b"hello"))[:-1],
    "a part that is longer than everything": u8(1) + u8(1) + u16(1) + u32(2**32 - 1) + b"x",
    "a kind twice": whole(part(1, b"a"), part(1, b"b")),
    "an unknown kind twice": whole(part(20, b"a"), part(20, b"b")),
    "kinds out of order": whole(part(2, bytes(16)), part(1, b"a")),
    "a part too many": whole(*(part(number, b"") for number in range(100, 101 + MAX_PARTS))),
    "a text of nothing": whole(part(1, b"")),
    "a text that is not UTF-8": whole(part(1, b"\xff")),
    "a text with a surrogate": whole(part(1, b"\xed\xa0\x80")),
    "a text of one byte more": whole(part(1, b"x" * (MAX_TEXT + 1))),
    "a receipt for nothing": whole(part(2, b"")),
    "a receipt for half a message": whole(part(2, bytes(24))),
    "a receipt for one more": whole(part(2, bytes(16 * (MAX_RECEIPTS + 1)))),
    "a card without a token": whole(part(3, bytes(31))),
    "a card whose name is one byte longer": whole(part(3, bytes(32) + b"x" * (MAX_PROFILE_NAME + 1))),
    "a card whose name is not UTF-8": whole(part(3, bytes(32) + b"\xff")),
    "an introduction without manifests": whole(part(4, SEAL)),
    "an introduction without a seal key": whole(part(4, SEAL[1:])),
    "an introduction that is cut short": whole(part(4, SEAL + u32(3) + b"ab")),
    "an introduction with a large manifest": whole(
        part(4, SEAL + u32(MANIFEST_BOUND + 1) + bytes(MANIFEST_BOUND + 1))
    ),
    "an introduction with a manifest more": whole(part(4, SEAL + u32(0) * (MAX_MANIFESTS + 1))),
    "a resend request for nothing": whole(part(5, b"")),
    "a resend request for one more": whole(part(5, bytes(16 * (MAX_RESENDS + 1)))),
    "a reset without its session": whole(part(6, bytes(15))),
    "a reset with more": whole(part(6, bytes(17))),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_malformed_is_refused(case: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Content.decode(REFUSED[case])


def test_the_limits_themselves_are_fine() -> None:
    for each in (
        part(1, b"x" * MAX_TEXT),
        part(2, bytes(16 * MAX_RECEIPTS)),
        part(3, bytes(32) + b"x" * MAX_PROFILE_NAME),
        part(4, SEAL + u32(MANIFEST_BOUND) + bytes(MANIFEST_BOUND)),
        part(4, SEAL + u32(0) * MAX_MANIFESTS),
        part(5, bytes(16 * MAX_RESENDS)),
    ):
        assert Content.decode(whole(each)).encode() == whole(each)
    most = [part(number, b"") for number in range(100, 100 + MAX_PARTS)]
    assert len(Content.decode(whole(*most)).parts) == MAX_PARTS


def test_what_others_would_refuse_is_not_written() -> None:
    for bad in (
        Content.of(Text("")),
        Content.of(Text("a"), Text("b")),
        Content.of(Receipt(())),
        Content.of(Unknown(20, bytes(MAX_CONTENT))),
        Content((Receipt((MessageId(bytes(16)),)), Text("a"))),
    ):
        with pytest.raises(ValueError, match=r"."):
            bad.encode()


def test_the_largest_manifest_fits() -> None:
    hands = len(ALICE.first().encode()) + 149 * 136 + 254
    assert hands < MANIFEST_BOUND


def test_nothing_private_is_printed() -> None:
    shown = repr(Content.of(Text("a secret"), Card(DeliveryToken(b"t" * 32), "my name"), Unknown(9, b"raw")))
    assert not [word for word in ("a secret", "tttt", "my name", "raw") if word in shown]
