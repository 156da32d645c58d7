"""Driving a decoder in tests: bytes in pieces, events out, and the most that it ever kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

from hushpost.errors import ProtocolError
from hushpost.wire.frames import Chunk, Event, FrameDecoder, Header

H = TypeVar("H", bound=Header)


class Outcome(msgspec.Struct):
    """What came out.

    Attributes:
        events: without chunks, whose cutting depends on the pieces.
        streamed: the bytes of all chunks.
        failure: the sentence of the `ProtocolError`, or empty.
    """

    events: list[object]
    streamed: bytes
    failure: str


def decode(decoder: FrameDecoder[H], pieces: Iterable[bytes], *, eof: bool = False) -> tuple[Outcome, int]:
    """Feed everything; the outcome, and the highest `buffered` between two calls."""
    events: list[object] = []
    streamed = bytearray()
    most = 0
    try:
        for piece in pieces:
            decoder.receive_data(piece)
            for event in drain(decoder):
                most = max(most, decoder.buffered)
                if isinstance(event, Chunk):
                    assert event.data, "a chunk is never empty"
                    streamed += event.data
                else:
                    events.append(event)
            most = max(most, decoder.buffered)
            assert decoder.unread == 0, "a starved decoder has taken everything"
        if eof:
            decoder.receive_eof()
            events.append(decoder.next_event())
    except ProtocolError as failure:
        return Outcome(events, bytes(streamed), str(failure)), most
    return Outcome(events, bytes(streamed), ""), most


def drain(decoder: FrameDecoder[H]) -> Iterator[Event[H]]:
    while (event := decoder.next_event()) is not None:
        yield event


def single_bytes(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` in pieces that end at these places (some may be empty)."""
    ends = [*sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
