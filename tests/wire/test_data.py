"""Messages that carry data: it comes as it was written, and is nowhere kept whole."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushpost.wire.connection import BadRequest
from hushpost.wire.frames import Chunk, FrameEnd
from hushpost.wire.limits import MAX_PART_HEAD, PART_SIZE
from hushpost.wire.messages import (
    Error,
    ErrorCode,
    GetPart,
    GetUsage,
    PartContent,
    PartPut,
    PutPart,
    UsageAnswer,
)
from hushpost.wire.states import State
from tests.wire.events import cut
from tests.wire.talk import pair, receive, request_frame, step

PLACES = st.lists(st.integers(0, 9_000), max_size=12)

PUT = PutPart(9, bytes(16), 3, bytes(32))


@settings(max_examples=50)
@given(st.binary(max_size=2_000), PLACES)
def test_data_comes_as_it_was_written_however_it_is_cut(data: bytes, places: list[int]) -> None:
    client, server = pair(State.READY)
    stream = client.send(PUT, len(data))
    client.wrote(len(data))
    stream += data + client.send(GetUsage(10))
    expected = [PUT, data, FrameEnd(), GetUsage(10)] if data else [PUT, FrameEnd(), GetUsage(10)]
    assert receive(server, cut(stream, places)) == expected
    assert server.buffered == server.to_come == 0


def test_a_full_part_is_never_kept_whole() -> None:
    client, server = pair(State.READY)
    server.receive_data(client.send(PUT, PART_SIZE))
    assert server.next_event() is None, "the first bytes of data are needed to know the head's end"
    come = 0
    most = server.buffered
    while come < PART_SIZE:
        piece = bytes(min(65_536, PART_SIZE - come))
        server.receive_data(piece)
        if come == 0:
            assert server.next_event() == PUT
            assert server.to_come == PART_SIZE
        while isinstance(chunk := server.next_event(), Chunk):
            come += len(chunk.data)
            assert server.to_come == PART_SIZE - come
        most = max(most, server.buffered)
    assert isinstance(chunk, FrameEnd)
    assert most <= 2 + MAX_PART_HEAD
    assert receive(client, [server.send(PartPut(9))]) == [PartPut(9)]


def test_the_data_of_a_bad_request_is_dropped() -> None:
    _, server = pair(State.READY)
    head = b"\x91\x09"  # a number, and nothing else
    for data in (b"", b"data", bytes(5_000), bytes(2_000_000)):
        payload = len(head).to_bytes(2, "little") + head + data
        bad, then = receive(server, [request_frame(121, payload), request_frame(114, b"\x91\x0a")])
        assert isinstance(bad, BadRequest)
        assert then == GetUsage(10)
        for number in (9, 10):
            server.send(Error(number, ErrorCode.DENIED, "no"))


def test_nothing_may_be_sent_while_data_is_missing() -> None:
    client, server = pair(State.READY)
    step(client, server, GetUsage(8))
    step(client, server, GetPart(9, bytes(16), bytes(32), 0, 0))
    stream = server.send(PartContent(9, 4, bytes(32)), 4)
    with pytest.raises(RuntimeError, match="missing"):
        server.send(UsageAnswer(8, {}))
    server.wrote(3)
    with pytest.raises(RuntimeError, match="more data"):
        server.wrote(2)
    server.wrote(1)
    stream += b"part" + server.send(UsageAnswer(8, {}))
    assert receive(client, [stream]) == [
        PartContent(9, 4, bytes(32)),
        b"part",
        FrameEnd(),
        UsageAnswer(8, {}),
    ]


@pytest.mark.parametrize("size", [1, 600_000, PART_SIZE])
def test_the_end_of_the_stream_inside_of_data_is_a_failure(size: int) -> None:
    client, server = pair(State.READY)
    stream = client.send(PUT, size) + bytes(size - 1)
    *_, failure = receive(server, cut(stream, [70, 300, 70_000]), eof=True)
    assert failure == "the stream ended in the middle of a frame"
    assert server.state is State.FAILED
