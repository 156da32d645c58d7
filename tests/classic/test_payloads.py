"""The classic payloads: codecs both ways, and sizes at their limits and one beyond."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.classic.payloads import (
    REFUSAL,
    REGISTER_SIZE,
    SEND_PREFIX,
    ClientId,
    ContentEnd,
    ListedClient,
    MessageHeader,
    MessagesDecoder,
    MessageType,
    Registration,
    SendPrefix,
)
from hushpost.errors import ProtocolError
from tests.wire.events import cut, single_bytes

ALICE, BOB = ClientId(b"alice".ljust(16)), ClientId(b"bob".ljust(16))

u32 = st.integers(0, 2**32 - 1)
client_ids = st.binary(min_size=16, max_size=16).map(ClientId)
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=2).filter(
    lambda name: len(name.encode()) <= 254
)
Entry = tuple[MessageHeader, bytes]
entries = st.builds(
    lambda sender, message_id, kind, content: (
        MessageHeader(sender, message_id, kind, len(content)),
        content,
    ),
    client_ids,
    u32,
    st.integers(0, 255),
    st.binary(max_size=60),
)


def read_all(pieces: Iterable[bytes]) -> list[Entry]:
    decoder = MessagesDecoder()
    found: list[Entry] = []
    content = bytearray()
    header: MessageHeader | None = None
    for data in pieces:
        for event in decoder.feed(data):
            if isinstance(event, MessageHeader):
                assert header is None
                header = event
            elif isinstance(event, ContentEnd):
                assert header is not None
                found.append((header, bytes(content)))
                content.clear()
                header = None
            else:
                assert event, "a piece is never empty"
                content += event
    decoder.finish()
    return found


def encoded(messages: Iterable[Entry]) -> bytes:
    return b"".join(header.encode() + content for header, content in messages)


@given(names, st.binary(min_size=160, max_size=160))
def test_registration_goes_both_ways(name: str, key: bytes) -> None:
    raw = Registration(name, key).encode()
    assert len(raw) == REGISTER_SIZE == 415
    assert Registration.decode(raw) == Registration(name, key)


@pytest.mark.parametrize("name", ["xy", "x" * 254, "é" * 127, "שלום", "two words\nand a line", "🖂🖂"])
def test_names_within_the_limits(name: str) -> None:
    assert Registration.decode(Registration(name, bytes(160)).encode()).name == name


@pytest.mark.parametrize("name", ["", "x", "é", "🖂", "x" * 255, "é" * 128, "a\0b", "\ud800\ud800"])
def test_names_outside_them_cannot_be_encoded(name: str) -> None:
    with pytest.raises(ValueError, match=r"name|surrogates"):
        Registration(name, bytes(160)).encode()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"ab".ljust(414, b"\0"),
        b"ab".ljust(416, b"\0"),
        b"x" * 255 + bytes(160),
        b"x".ljust(415, b"\0"),
        bytes(415),
        b"ab\0\xff".ljust(415, b"\0"),
        b"\xc3\x28".ljust(415, b"\0"),
        "x".ljust(253, "x").encode() + b"\0\xc3" + bytes(160),
    ],
)
def test_registrations_that_are_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        Registration.decode(payload)


def test_what_follows_the_first_nul_of_a_name_is_ignored() -> None:
    field = b"ab\0and more".ljust(255, b"\0")
    assert Registration.decode(field + bytes(160)).name == "ab"


@given(client_ids, names)
def test_list_entries_go_both_ways(client_id: ClientId, name: str) -> None:
    raw = ListedClient(client_id, name).encode()
    assert len(raw) == 271
    assert ListedClient.decode(raw) == ListedClient(client_id, name)


def test_a_listed_name_is_read_whatever_the_server_sent() -> None:
    assert ListedClient.decode(ALICE + b"\xffx".ljust(255, b"\0")).name == "\ufffdx"
    assert ListedClient.decode(ALICE + b"x" * 255).name == "x" * 255
    assert ListedClient.decode(ALICE + bytes(255)).name == ""


@given(client_ids, st.sampled_from([kind for kind in MessageType if kind > 1]), st.integers(0, 2**32 - 22))
def test_send_prefixes_go_both_ways(recipient: ClientId, kind: MessageType, size: int) -> None:
    prefix = SendPrefix(recipient, kind, size)
    assert SendPrefix.decode(prefix.encode(), SEND_PREFIX.size + size) == prefix


@pytest.mark.parametrize(
    ("prefix", "payload_size"),
    [
        (b"", 0),
        (SEND_PREFIX.pack(BOB, 3, 0)[:20], 20),
        (SEND_PREFIX.pack(BOB, 3, 10), 30),
        (SEND_PREFIX.pack(BOB, 3, 10), 32),
        (SEND_PREFIX.pack(BOB, 1, 1), 22),
        (SEND_PREFIX.pack(BOB, 0, 0), 21),
        (SEND_PREFIX.pack(BOB, 5, 0), 21),
        (SEND_PREFIX.pack(BOB, 255, 4), 25),
    ],
)
def test_send_prefixes_that_are_refused(prefix: bytes, payload_size: int) -> None:
    with pytest.raises(ProtocolError):
        SendPrefix.decode(prefix, payload_size)


@pytest.mark.parametrize("kind", list(MessageType))
def test_every_type_may_be_empty(kind: MessageType) -> None:
    assert SendPrefix.decode(SEND_PREFIX.pack(BOB, kind, 0), 21) == SendPrefix(BOB, kind, 0)


@given(st.lists(entries, max_size=5), st.lists(st.integers(0, 500), max_size=12))
def test_any_splitting_of_messages_gives_the_same(messages: list[Entry], places: list[int]) -> None:
    data = encoded(messages)
    assert read_all(cut(data, places)) == read_all(single_bytes(data)) == read_all([data]) == messages


def test_messages_that_end_inside_an_entry_are_refused() -> None:
    first = encoded([(MessageHeader(ALICE, 1, 1, 0), b"")])
    data = first + encoded([(MessageHeader(BOB, 2, 3, 4), b"four")])
    for end in range(len(data) + 1):
        if end in {0, len(first), len(data)}:
            read_all([data[:end]])
        else:
            with pytest.raises(ProtocolError, match="middle of a message"):
                read_all([data[:end]])


def test_contents_are_views_and_no_copies() -> None:
    data = encoded([(MessageHeader(ALICE, 1, 4, 5), b"01234")])
    pieces = [event for event in MessagesDecoder().feed(data) if isinstance(event, memoryview)]
    assert [piece.obj is data for piece in pieces] == [True]


def test_the_refusal_is_seven_bytes() -> None:
    assert REFUSAL.hex() == "02282300000000"
