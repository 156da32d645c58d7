"""The targets. The first byte of an input chooses the variant, the rest is what a peer sends."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hushpost.classic.payloads import (
    MAX_RESPONSE_PAYLOAD,
    MESSAGE_ENTRY,
    REQUEST_LIMITS,
    SEND_PREFIX,
    ContentEnd,
    MessageHeader,
    MessagesDecoder,
    Registration,
    SendPrefix,
)
from hushpost.errors import ProtocolError
from hushpost.wire.frames import FrameDecoder, Limits, RequestHeader, ResponseHeader
from tests.wire.events import Outcome, cut, decode, single_bytes

Target = Callable[[bytes], None]

LIMITS = (
    Limits(max_payload=MAX_RESPONSE_PAYLOAD, collect=0),
    Limits(max_payload=200, collect=40, prefix=21),
    Limits(max_payload=64, collect=64, prefix=64),
    REQUEST_LIMITS,
)


def frames(data: bytes) -> None:
    """However the stream is cut, the same comes out; little is kept; a failure is final."""
    variant, stream = data[:1] or b"\0", data[1:]
    limits = LIMITS[variant[0] >> 1 & 3]
    header_type = ResponseHeader if variant[0] & 1 else RequestHeader
    bound = max(limits.collect, header_type.SIZE)
    outcomes: list[Outcome] = []
    some = range(variant[0] % 19, len(stream), 19)
    for pieces in (cut(stream, ()), single_bytes(stream), cut(stream, some)):
        decoder = FrameDecoder(header_type, limits)
        outcome, most = decode(decoder, pieces, eof=True)
        assert most <= bound, f"{most} bytes were kept where {bound} are allowed"
        if outcome.failure:
            assert decoder.buffered == 0, "a failed decoder keeps something"
            assert _failure(decoder.next_event) == outcome.failure, "a failed decoder came back to life"
        outcomes.append(outcome)
    assert all(outcome == outcomes[0] for outcome in outcomes), "cutting changed the result"


def messages(data: bytes) -> None:
    """The payload decoders accept and say the same thing, or refuse."""
    variant, payload = data[:1] or b"\0", data[1:]
    (_message_list, _registration, _send_prefix)[variant[0] % 3](payload)


TARGETS: dict[str, Target] = {"frames": frames, "messages": messages}


def _message_list(payload: bytes) -> None:
    whole = _read_messages(cut(payload, ()))
    assert whole == _read_messages(single_bytes(payload)), "cutting changed the result"
    encoded, failure = whole
    assert payload.startswith(encoded), "what was read is not what was sent"
    assert failure or encoded == payload, "something was left out"


def _read_messages(pieces: Iterable[bytes]) -> tuple[bytes, str]:
    """Everything that came out, written again; and the failure."""
    decoder = MessagesDecoder()
    encoded = bytearray()
    expected = 0
    for piece in pieces:
        for event in decoder.feed(piece):
            assert decoder.buffered == 0, "a header is forgotten once it was handed out"
            if isinstance(event, MessageHeader):
                encoded += event.encode()
                expected = len(encoded) + event.content_size
            elif isinstance(event, ContentEnd):
                assert len(encoded) == expected, "a content of another size than told"
            else:
                encoded += event
        assert decoder.buffered < MESSAGE_ENTRY.size, "more than a header was kept"
    return bytes(encoded), _failure(decoder.finish)


def _registration(payload: bytes) -> None:
    try:
        registration = Registration.decode(payload)
    except ProtocolError:
        return
    assert Registration.decode(registration.encode()) == registration, "it reads differently when written"


def _send_prefix(payload: bytes) -> None:
    prefix = payload[: SEND_PREFIX.size]
    told = SEND_PREFIX.size + int.from_bytes(prefix[17:21], "little")
    for payload_size in (len(payload), told):
        try:
            decoded = SendPrefix.decode(prefix, payload_size)
        except ProtocolError:
            continue
        assert decoded.encode() == prefix, "it reads differently when written"
        assert decoded.content_size + SEND_PREFIX.size == payload_size, "the sizes contradict"


def _failure(call: Callable[[], object]) -> str:
    try:
        call()
    except ProtocolError as failure:
        return str(failure)
    return ""
