"""The spool: what was fetched survives a dying process, a cut answer and a power failure."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hushpost.classic.client.spool import MAX_PUT_OFF, Fate, Spool
from hushpost.classic.payloads import ClientId, MessageHeader
from hushpost.errors import ProtocolError
from tests.wire.events import cut

SENDER = ClientId(b"sender".ljust(16))


def entry(message_id: int, content: bytes, kind: int = 3) -> bytes:
    return MessageHeader(SENDER, message_id, kind, len(content)).encode() + content


def filled(path: Path, *pieces: bytes) -> Spool:
    spool = Spool(path)
    for piece in pieces:
        spool.write(memoryview(piece))
    spool.commit()
    return spool


def contents(spool: Spool) -> list[bytes]:
    return [message.content() for message in spool.messages()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "me.spool"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_contents=st.lists(st.binary(max_size=60)), places=st.lists(st.integers(0, 400)))
def test_messages_come_back_whatever_way_they_came(
    path: Path, given_contents: list[bytes], places: list[int]
) -> None:
    payload = b"".join(entry(number, content) for number, content in enumerate(given_contents, start=1))
    spool = filled(path, *cut(payload, places), b"")
    read = [
        (item.header.message_id, item.content(), b"".join(map(bytes, item.pieces())))
        for item in spool.messages()
    ]
    spool.remove()
    assert read == [(number, content, content) for number, content in enumerate(given_contents, start=1)]


def test_a_digest_covers_header_and_content(path: Path) -> None:
    spool = filled(
        path, entry(1, b"a"), entry(2, b"a"), entry(1, b"b"), entry(1, b"a", kind=4), entry(1, b"a")
    )
    digests = [message.digest for message in spool.messages()]
    assert digests[0] == digests[4] == hashlib.sha256(entry(1, b"a")).digest()
    assert len(set(digests)) == 4


def test_the_last_bytes_of_a_content(path: Path) -> None:
    [message] = filled(path, entry(1, b"0123456789")).messages()
    assert [message.content(last=count) for count in (0, 3, 10, 99)] == [
        b"",
        b"789",
        b"0123456789",
        b"0123456789",
    ]


def test_large_contents_come_in_pieces(path: Path) -> None:
    content = bytes(3 << 20)
    [message] = filled(path, entry(1, content)).messages()
    sizes = [len(piece) for piece in message.pieces()]
    assert (sum(sizes), max(sizes)) == (3 << 20, 1 << 20)


def test_a_process_that_died_goes_on_where_it_was(path: Path) -> None:
    spool = filled(path, entry(1, b"a"), entry(2, b"b"), entry(3, b"c"))
    messages = spool.messages()
    next(messages)
    next(messages)  # the first is dealt with; the second is not
    spool.close()
    again = [(message.content(), message.fate) for message in Spool(path).messages()]
    assert again == [(b"a", Fate.DEALT_WITH), (b"b", Fate.WAITING), (b"c", Fate.WAITING)]
    assert all(message.fate is Fate.DEALT_WITH for message in Spool(path).messages())


def test_a_message_is_put_off_until_it_is_dealt_with(path: Path) -> None:
    spool = filled(path, *(entry(number, b"%d" % number) for number in range(1, 5)))
    for message in spool.messages():
        if message.header.message_id in {1, 3}:
            assert spool.put_off(message)
    assert spool.put_off_count == 2
    spool.shrink()
    spool.close()
    fates = [(message.header.message_id, message.fate) for message in Spool(path).messages()]
    assert fates == [(1, Fate.PUT_OFF), (2, Fate.DEALT_WITH), (3, Fate.PUT_OFF)]
    assert [message.fate for message in Spool(path).messages()] == [Fate.DEALT_WITH] * 3


def test_a_process_that_dies_over_a_message_that_was_put_off_leaves_it_so(path: Path) -> None:
    spool = filled(path, entry(1, b"a"), entry(2, b"b"))
    for message in spool.messages():
        assert spool.put_off(message)
    spool.close()
    again = Spool(path)
    messages = again.messages()
    next(messages)
    again.close()
    assert [message.fate for message in Spool(path).messages()] == [Fate.PUT_OFF] * 2


def test_only_so_many_are_put_off(path: Path) -> None:
    spool = filled(path, entry(1, b"") * (MAX_PUT_OFF + 1))
    assert [spool.put_off(message) for message in spool.messages()] == [*[True] * MAX_PUT_OFF, False]


def test_headers_are_read_without_the_contents(path: Path) -> None:
    spool = filled(path, entry(1, b"a" * 1000), entry(2, b""), entry(3, b"cut off")[:-1])
    assert [header.message_id for header in spool.headers()] == [1, 2, 3]


@pytest.mark.parametrize("cut_off", [1, 5, 6, 30])
def test_whole_messages_before_a_cut_are_read(path: Path, cut_off: int) -> None:
    spool = filled(path, (entry(1, b"whole") + entry(2, b"other"))[:-cut_off])
    messages = spool.messages()
    assert next(messages).content() == b"whole"
    if cut_off < 30:
        with pytest.raises(ProtocolError, match="middle of a message"):
            next(messages)
    else:
        assert list(messages) == []


def test_zeros_of_a_power_failure_are_no_messages(path: Path) -> None:
    messages = filled(path, entry(1, b"whole"), bytes(1000), entry(2, b"behind")).messages()
    assert next(messages).content() == b"whole"
    assert next(messages).content() == b"behind"
    with pytest.raises(ProtocolError, match="zeros"):
        next(messages)


@pytest.mark.parametrize("size", [0, 3, 8])
def test_a_spool_cut_at_its_very_beginning_is_empty(path: Path, size: int) -> None:
    path.write_bytes(bytes(size))
    assert contents(Spool(path)) == []


def test_it_exists_only_while_there_is_something_in_it(path: Path) -> None:
    spool = Spool(path)
    spool.commit()
    assert not spool.exists()
    spool.write(memoryview(entry(1, b"")))
    assert spool.exists()
    assert path.stat().st_mode & 0o777 == 0o600
    spool.remove()
    assert not spool.exists()


def test_what_waits_is_never_written_over(path: Path) -> None:
    filled(path, entry(1, b"waiting")).close()
    with pytest.raises(FileExistsError):
        Spool(path).write(memoryview(b"other"))
    assert contents(Spool(path)) == [b"waiting"]
