"""Messages to payloads and back. Either it is a message, within every limit, or it is a `ProtocolError`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TypeVar

import msgspec

from hushpost.errors import ProtocolError
from hushpost.wire.limits import MAX_PART_HEAD, MAX_PAYLOAD
from hushpost.wire.messages import EVENTS, REQUESTS, RESPONSES, Message, RequestMessage

M = TypeVar("M", bound=Message)
Buffer = bytes | bytearray | memoryview


class Kind(Enum):
    """Which table a code belongs to: the same number means different things in different directions."""

    REQUEST = "request"
    RESPONSE = "response"
    EVENT = "event"


def _decoders(table: Mapping[int, type[M]]) -> dict[int, Callable[[Buffer], M]]:
    return {code: msgspec.msgpack.Decoder(each).decode for code, each in table.items()}


REQUEST_DECODERS = _decoders(REQUESTS)
RESPONSE_DECODERS = _decoders(RESPONSES)
EVENT_DECODERS = _decoders(EVENTS)
"""By code. They raise `BAD_PAYLOAD`, for callers that know better what to make of it."""

_DECODERS: dict[Kind, Mapping[int, Callable[[Buffer], Message]]] = {
    Kind.REQUEST: REQUEST_DECODERS,
    Kind.RESPONSE: RESPONSE_DECODERS,
    Kind.EVENT: EVENT_DECODERS,
}

BAD_PAYLOAD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""All that decoding raises: not MessagePack or against a bound; text that is not UTF-8; nested too deep."""


def _plain(value: object) -> bytes:
    """Ids and keys are types of their own, and on the wire the bytes that they are."""
    if isinstance(value, bytes):
        return bytes(value)
    raise NotImplementedError


_encode = msgspec.msgpack.Encoder(enc_hook=_plain).encode
_number = msgspec.msgpack.Decoder(RequestMessage).decode


def encode_message(message: Message) -> bytes:
    """The payload, without the frame's header.

    Raises:
        ValueError: it would be larger than a payload may be; nobody would read it.
    """
    payload = _encode(message)
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a payload of {len(payload)} bytes is larger than {MAX_PAYLOAD}")
    return payload


def decode_payload(kind: Kind, code: int, payload: Buffer) -> Message:
    """The message that this code and payload are. It keeps no reference to `payload`.

    Raises:
        ProtocolError: an unknown code, bytes that are not MessagePack, or a field against its bounds.
    """
    decode = _DECODERS[kind].get(code)
    if decode is None:
        raise ProtocolError(f"there is no {kind.value} with the code {code}")
    if len(payload) > MAX_PAYLOAD:
        raise ProtocolError("the payload is larger than the protocol allows")
    try:
        return decode(payload)
    except BAD_PAYLOAD:
        # The reason may quote what was sent, and what was sent may be secret: it is not passed on.
        raise ProtocolError(f"the payload of {kind.value} {code} is malformed") from None


def request_number(payload: Buffer) -> int | None:
    """The number in a payload that is otherwise of no use, or None where it cannot be read."""
    try:
        return _number(payload).number
    except BAD_PAYLOAD:
        return None


def encode_head(message: Message) -> bytes:
    """The payload of a message that carries data, up to where that begins."""
    fields = encode_message(message)
    return len(fields).to_bytes(2, "little") + fields


def split_head(payload: Buffer) -> tuple[Buffer, Buffer]:
    """The fields of a message that carries data, and what is there of the data.

    Args:
        payload: as much of it as the largest head has, or all.

    Raises:
        ProtocolError: the head is larger than allowed, or than the payload.
    """
    end = 2 + int.from_bytes(payload[:2], "little")
    if end > min(len(payload), 2 + MAX_PART_HEAD):
        raise ProtocolError("the head of a payload is too large")
    return payload[2:end], payload[end:]
