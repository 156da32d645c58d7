"""The frame codec: any way of splitting gives the same events, within the limits, or one error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.classic.payloads import MAX_PAYLOAD, MAX_RESPONSE_PAYLOAD, REQUEST_LIMITS, STREAM_ABOVE
from hushpost.errors import ProtocolError
from hushpost.wire.frames import (
    Chunk,
    EndOfStream,
    Frame,
    FrameDecoder,
    FrameEnd,
    FrameStart,
    Limits,
    RequestHeader,
    ResponseHeader,
)
from tests.wire.events import Outcome, cut, decode, drain, single_bytes

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "classic.json").read_text())
SMALL = Limits(max_payload=64, collect=30, prefix=9)

u8, u16 = st.integers(0, 255), st.integers(0, 65_535)
payloads = st.binary(max_size=SMALL.max_payload)
requests = st.builds(
    lambda client, version, code, payload: (RequestHeader(client, version, code, len(payload)), payload),
    st.binary(min_size=16, max_size=16),
    u8,
    u8,
    payloads,
)
responses = st.builds(
    lambda version, code, payload: (ResponseHeader(version, code, len(payload)), payload), u8, u16, payloads
)
Framed = tuple[RequestHeader | ResponseHeader, bytes]


def encoded(frames: list[Framed]) -> bytes:
    return b"".join(header.encode() + payload for header, payload in frames)


def expected(frames: list[Framed], limits: Limits = SMALL) -> Outcome:
    """What must come out, worked out without the decoder."""
    outcome = Outcome([], b"", "")
    for header, payload in frames:
        if len(payload) <= limits.collect:
            outcome.events.append(Frame(header, payload))
        else:
            outcome.events += [FrameStart(header, payload[: limits.prefix]), FrameEnd()]
            outcome.streamed += payload[limits.prefix :]
    return outcome


@given(st.lists(requests, max_size=4), st.lists(st.integers(0, 400), max_size=12))
def test_any_splitting_of_requests_gives_the_same_events(frames: list[Framed], places: list[int]) -> None:
    outcome, most = decode(FrameDecoder(RequestHeader, SMALL), cut(encoded(frames), places))
    assert outcome == expected(frames)
    assert most <= SMALL.collect


@given(st.lists(responses, max_size=4), st.lists(st.integers(0, 400), max_size=12))
def test_any_splitting_of_responses_gives_the_same_events(frames: list[Framed], places: list[int]) -> None:
    outcome, most = decode(FrameDecoder(ResponseHeader, SMALL), cut(encoded(frames), places))
    assert outcome == expected(frames)
    assert most <= SMALL.collect


@given(st.lists(requests, min_size=1, max_size=3))
def test_single_bytes_give_the_same_events(frames: list[Framed]) -> None:
    outcome, most = decode(FrameDecoder(RequestHeader, SMALL), single_bytes(encoded(frames)))
    assert outcome == expected(frames)
    assert most <= SMALL.collect


def test_an_end_of_the_stream_is_fine_between_two_frames_only() -> None:
    frames: list[Framed] = [
        (RequestHeader(bytes(16), 2, 101, 0), b""),
        (RequestHeader(bytes(16), 2, 102, 16), bytes(16)),
        (RequestHeader(bytes(16), 2, 103, 40), bytes(40)),
    ]
    data = encoded(frames)
    boundaries = {len(encoded(frames[:count])) for count in range(len(frames) + 1)}
    for end in range(len(data) + 1):
        decoder = FrameDecoder(RequestHeader, SMALL)
        outcome, _ = decode(decoder, [data[:end]], eof=True)
        if end in boundaries:
            assert outcome.events[-1] == EndOfStream()
            assert outcome.failure == ""
        else:
            assert EndOfStream() not in outcome.events
            assert "middle of a frame" in outcome.failure


def test_a_failed_decoder_stays_failed() -> None:
    decoder = FrameDecoder(RequestHeader, SMALL)
    decoder.receive_data(RequestHeader(bytes(16), 2, 103, SMALL.max_payload + 1).encode() + b"rest")
    for _ in range(2):
        with pytest.raises(ProtocolError, match="larger"):
            decoder.next_event()
    assert (decoder.buffered, decoder.unread) == (0, 0)
    decoder.receive_data(RequestHeader(bytes(16), 2, 101, 0).encode())
    with pytest.raises(ProtocolError, match="larger"):
        decoder.next_event()
    decoder.receive_eof()
    with pytest.raises(ProtocolError, match="larger"):
        decoder.next_event()


@pytest.mark.parametrize("size", [SMALL.max_payload, SMALL.max_payload + 1])
def test_the_largest_payload_and_one_above(size: int) -> None:
    decoder = FrameDecoder(ResponseHeader, SMALL)
    header = ResponseHeader(2, 1004, size)
    decoder.receive_data(header.encode()[:-1])
    assert decoder.next_event() is None
    decoder.receive_data(header.encode()[-1:])
    if size > SMALL.max_payload:
        with pytest.raises(ProtocolError, match="larger"):
            decoder.next_event()
    else:
        assert decoder.next_event() is None


@pytest.mark.parametrize(
    ("size", "kind"), [(0, Frame), (REQUEST_LIMITS.collect, Frame), (REQUEST_LIMITS.collect + 1, FrameStart)]
)
def test_the_classic_limit_of_what_is_collected(size: int, kind: type) -> None:
    decoder = FrameDecoder(RequestHeader, REQUEST_LIMITS)
    outcome, most = decode(
        decoder, cut(RequestHeader(bytes(16), 2, 103, size).encode() + bytes(size), range(0, size, 4096))
    )
    assert isinstance(outcome.events[0], kind)
    assert most <= REQUEST_LIMITS.collect == STREAM_ABOVE + 21


@pytest.mark.parametrize("size", [MAX_PAYLOAD, MAX_PAYLOAD + 1, MAX_RESPONSE_PAYLOAD])
def test_a_gibibyte_is_the_most_of_a_request_and_nothing_of_it_is_kept(size: int) -> None:
    decoder = FrameDecoder(RequestHeader, REQUEST_LIMITS)
    decoder.receive_data(RequestHeader(bytes(16), 2, 103, size).encode() + bytes(1 << 20))
    if size > MAX_PAYLOAD:
        with pytest.raises(ProtocolError):
            decoder.next_event()
        return
    start, chunk = decoder.next_event(), decoder.next_event()
    assert isinstance(start, FrameStart)
    assert isinstance(chunk, Chunk)
    assert len(start.prefix) + len(chunk.data) == 1 << 20
    assert decoder.buffered == 0


def test_a_chunk_is_a_view_and_no_copy() -> None:
    decoder = FrameDecoder(ResponseHeader, Limits(max_payload=100, collect=0))
    data = ResponseHeader(2, 1004, 10).encode() + b"0123456789"
    decoder.receive_data(data)
    views = [event.data for event in drain(decoder) if isinstance(event, Chunk)]
    assert [view.obj is data for view in views] == [True]


def test_undrained_bytes_are_never_overwritten() -> None:
    decoder = FrameDecoder(ResponseHeader, SMALL)
    decoder.receive_data(ResponseHeader(2, 9000, 0).encode() * 2)
    assert decoder.next_event() == Frame(ResponseHeader(2, 9000, 0), b"")
    assert decoder.unread == ResponseHeader.SIZE
    with pytest.raises(RuntimeError):
        decoder.receive_data(b"more")


def test_a_prefix_fits_into_what_is_collected() -> None:
    FrameDecoder(RequestHeader, Limits(max_payload=9, collect=3, prefix=3))
    with pytest.raises(ValueError, match="prefix"):
        FrameDecoder(RequestHeader, Limits(max_payload=9, collect=3, prefix=4))


@pytest.mark.parametrize("name", VECTORS["frames"])
def test_recorded_frames_decode_and_encode_to_the_same_bytes(name: str) -> None:
    for side, header_type in (("request", RequestHeader), ("response", ResponseHeader)):
        raw = bytes.fromhex(VECTORS["frames"][name][f"{side}_hex"])
        outcome, _ = decode(FrameDecoder(header_type, REQUEST_LIMITS), single_bytes(raw), eof=True)
        frame, end = outcome.events
        assert isinstance(frame, Frame)
        assert frame.header.encode() + frame.payload == raw
        assert end == EndOfStream()


def test_the_byte_tables() -> None:
    assert RequestHeader(bytes(range(16)), 2, 100, 0x01020304).encode().hex() == (
        "000102030405060708090a0b0c0d0e0f026404030201"
    )
    assert ResponseHeader(2, 9000, 0).encode().hex() == "02282300000000"
