"""The targets. The first byte of an input chooses the variant, the rest is what a peer sends."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vodozemac import AnyOlmMessage

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
from hushpost.crypto.content import Content
from hushpost.crypto.olm import OlmMessage, OlmType, PrekeyMessage, decode_olm
from hushpost.crypto.primitives import DhKey
from hushpost.crypto.seal import Header
from hushpost.errors import EnvelopeError, ProtocolError
from hushpost.wire.connection import BadRequest, ServerConnection
from hushpost.wire.frames import EndOfStream, FrameDecoder, Limits, RequestHeader, ResponseHeader
from hushpost.wire.messages import Error, ErrorCode, RequestMessage
from hushpost.wire.states import State
from tests.fuzz.files import files
from tests.fuzz.folders import folders
from tests.wire.events import Outcome, cut, decode, single_bytes
from tests.wire.talk import PATH, Connection, ask_everything, pair, take_down

Target = Callable[[bytes], None]

LIMITS = (
    Limits(max_payload=MAX_RESPONSE_PAYLOAD, collect=0),
    Limits(max_payload=200, collect=40, prefix=21),
    Limits(max_payload=64, collect=64, prefix=64),
    REQUEST_LIMITS,
)

SETTLED = (*dict.fromkeys(state for state, _ in PATH), State.SUBSCRIBED)
"""The states in which an end of version 3 may be when the bytes come."""


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


def connection(data: bytes) -> None:
    """An end of version 3 says the same however the stream is cut, and fails for good."""
    variant, stream = (data[:1] or b"\0")[0], data[1:]
    state = SETTLED[(variant >> 1 & 7) % len(SETTLED)]
    ragged = [*single_bytes(stream[:40]), *cut(stream[40:], range(variant % 61, len(stream), 61))]
    outcomes: list[tuple[list[object], State]] = []
    for pieces in (cut(stream, ()), ragged):
        client, server = pair(state)
        if state is State.READY:
            ask_everything(client)
        end: Connection = client if variant & 1 else server
        events = _converse(end, filter(None, pieces), refuse=bool(variant & 16))
        assert end.state in {State.CLOSED, State.FAILED}, "the end of the stream is no end"
        outcomes.append((events, end.state))
    assert outcomes[0] == outcomes[1], "cutting changed the result"


def envelopes(data: bytes) -> None:
    """What is inside an envelope is read in one spelling, or refused; the library takes what we take."""
    variant, raw = data[:1] or b"\0", data[1:]
    (_olm, _header, _content)[variant[0] % 3](raw)


TARGETS: dict[str, Target] = {
    "frames": frames,
    "messages": messages,
    "connection": connection,
    "envelopes": envelopes,
    "files": files,
    "folders": folders,
}


def _converse(end: Connection, pieces: Iterable[bytes], *, refuse: bool) -> list[object]:
    """Everything that comes out, the failure last. A server may refuse everything, or leave it open."""
    events: list[object] = []
    for piece in (*pieces, b""):
        end.receive_data(piece)
        if not piece:
            end.receive_eof()
        failure = _failure(lambda: _drain(end, events, refuse=refuse))
        if failure:
            assert _failure(end.next_event) == failure, "a failed connection came back to life"
            assert end.buffered == 0, "a failed connection keeps something"
            return [*events, failure]
        if end.state is State.CLOSED:
            return events
    return events


def _drain(end: Connection, events: list[object], *, refuse: bool) -> None:
    while (event := end.next_event()) is not None:
        take_down(events, event)
        if isinstance(event, EndOfStream):
            return
        if refuse and isinstance(event, RequestMessage):
            event = BadRequest(Error(event.number, ErrorCode.DENIED, "no"))
        if refuse and isinstance(event, BadRequest):
            assert isinstance(end, ServerConnection)
            end.send(event.answer)


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


def _olm(raw: bytes) -> None:
    for kind in OlmType:
        try:
            message = decode_olm(kind, raw)
        except ValueError:
            continue
        assert _spelled(message) == raw, "there are two spellings of one message"
        assert all(map(DhKey.usable, _keys(message))), "a key that has another spelling, or a low order"
        AnyOlmMessage.from_parts(kind.value, raw)


def _keys(message: OlmMessage) -> list[bytes]:
    if isinstance(message, PrekeyMessage):
        return [message.one_time_key, message.base_key, message.identity_key, *_keys(message.inside)]
    return [message.ratchet_key]


def _spelled(message: OlmMessage) -> bytes:
    """As Olm's protobuf writes these fields."""
    if isinstance(message, PrekeyMessage):
        keys = b"\x0a\x20" + message.one_time_key + b"\x12\x20" + message.base_key
        inside = _spelled(message.inside)
        return b"\3" + keys + b"\x1a\x20" + message.identity_key + b"\x22" + _varint(len(inside)) + inside
    head = b"\3\x0a\x20" + message.ratchet_key + b"\x10" + _varint(message.index) + b"\x22"
    # The message keeps its ciphertext in the bytes as they came: what stands before it decides where.
    size = next(
        size
        for size in range(len(message.encoded))
        if len(head) + len(_varint(size)) + size + 8 == len(message.encoded)
    )
    return head + _varint(size) + message.encoded[len(head) + len(_varint(size)) :]


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _header(raw: bytes) -> None:
    try:
        header = Header.decode(raw)
    except EnvelopeError:
        return
    assert header.encode() == raw, "there are two spellings of one header"


def _content(raw: bytes) -> None:
    try:
        content = Content.decode(raw)
    except ValueError:
        return
    assert content.encode() == raw, "there are two spellings of one content"
    kinds = [part.kind for part in content.parts]
    assert kinds == sorted(set(kinds)), "a kind twice, or out of order"


def _failure(call: Callable[[], object]) -> str:
    try:
        call()
    except ProtocolError as failure:
        return str(failure)
    return ""
