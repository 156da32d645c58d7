"""What each end must refuse, byte by byte: the name of the case, the state, the bytes, stage and outcome.

The stages, in the order in which a frame passes them: `frame` (its size), `version`, `device`, `code`,
`payload` (the message within its bounds), `number` (readable, where the payload is of no use), `state`,
`open` (the number against those of the open requests). The outcome is the error that answers, or that the
connection `fails`, or that the frame is `skipped`.
"""

from __future__ import annotations

import msgspec

from hushpost.wire.frames import RequestHeader, ResponseHeader
from hushpost.wire.limits import (
    HEADER_SIZE,
    MAX_DEVICES,
    MAX_EARLY_PAYLOAD,
    MAX_PART_HEAD,
    MAX_PART_PAYLOAD,
    MAX_PAYLOAD,
)
from hushpost.wire.messages import ErrorCode
from hushpost.wire.states import State
from tests.wire.talk import DEVICE, EPOCH, request_frame, response_frame

ID = bytes(range(0xA0, 0xB0))
NO_DEVICE = bytes(16)
HEADER = bytes(HEADER_SIZE)
FAILS = "fails"
SKIPPED = "skipped"

Case = tuple[str, State, bytes, str, str]


def packed(*fields: object) -> bytes:
    return msgspec.msgpack.encode(fields)


def carrying(head: bytes, data: bytes) -> bytes:
    """The payload of a message that carries data."""
    return len(head).to_bytes(2, "little") + head + data


HELLO_OF_A_DEVICE = request_frame(110, packed(9, bytes(32)))


def to_server() -> list[Case]:
    """What a client must not send: name, the server's state, bytes, stage, outcome."""
    early, ready = State.GREETED, State.READY
    malformed, unexpected, unknown = (
        ErrorCode.MALFORMED,
        ErrorCode.UNEXPECTED,
        ErrorCode.UNKNOWN_REQUEST,
    )

    def hello(*fields: object) -> bytes:
        return request_frame(110, packed(*fields), NO_DEVICE)

    def send(recipients: list[object], token: bytes = b"") -> bytes:
        return request_frame(103, packed(9, ID, ID, recipients, b"body", token))

    def keys(name: str, account: bytes = b"") -> bytes:
        return request_frame(102, packed(9, account, name, 0, []))

    def put(*fields: object, data: bytes = b"", device: bytes = DEVICE) -> bytes:
        return request_frame(121, carrying(packed(*fields), data), device)

    early_usage = request_frame(114, packed(9), NO_DEVICE)
    big_early = RequestHeader(NO_DEVICE, 3, 100, MAX_EARLY_PAYLOAD + 1).encode()
    big = RequestHeader(DEVICE, 3, 103, MAX_PAYLOAD + 1).encode()
    big_part = RequestHeader(DEVICE, 3, 121, MAX_PART_PAYLOAD + 1).encode()
    early_part = RequestHeader(NO_DEVICE, 3, 121, MAX_EARLY_PAYLOAD + 1).encode()
    long_head = packed(9, ID, 0, bytes(32), bytes(MAX_PART_HEAD))
    return [
        ("a part above the limit", ready, big_part, "frame", FAILS),
        ("a part above the early limit", early, early_part, "frame", FAILS),
        ("a head that is not whole", ready, request_frame(121, b"\x03\0" + packed(9)), "frame", FAILS),
        ("a head above the limit", ready, request_frame(121, carrying(long_head, b"")), "frame", FAILS),
        ("no head", ready, request_frame(121, b""), "number", FAILS),
        ("a part without a digest", ready, put(9, ID, 0, data=b"data"), "payload", malformed),
        (
            "a part before authentication",
            early,
            put(9, ID, 0, bytes(32), data=b"data", device=NO_DEVICE),
            "state",
            unexpected,
        ),
        (
            "the same release token twice",
            ready,
            request_frame(125, packed(9, ID, [bytes(32)] * 2)),
            "payload",
            malformed,
        ),
        ("a blob of no bytes", ready, request_frame(122, packed(9, ID, 0)), "payload", malformed),
        ("a registration above the early limit", early, big_early, "frame", FAILS),
        ("a payload above the limit", ready, big, "frame", FAILS),
        ("another version", ready, request_frame(114, packed(9), version=2), "version", FAILS),
        (
            "a device id before authentication",
            early,
            HELLO_OF_A_DEVICE,
            "device",
            FAILS,
        ),
        ("no device id after it", ready, request_frame(114, packed(9), NO_DEVICE), "device", FAILS),
        ("another's device id", ready, request_frame(114, packed(9), ID), "device", FAILS),
        ("an unknown request", ready, request_frame(99, packed(9)), "code", unknown),
        ("an unknown request without a number", ready, request_frame(99, b""), "number", FAILS),
        ("an empty payload", ready, request_frame(114, b""), "number", FAILS),
        ("an empty array", ready, request_frame(114, packed()), "number", FAILS),
        ("a map", ready, request_frame(114, msgspec.msgpack.encode({"number": 9})), "number", FAILS),
        ("a number that is text", ready, request_frame(114, packed("9")), "number", FAILS),
        ("a number that is a float", ready, request_frame(114, packed(9.0)), "number", FAILS),
        ("a number that is true", ready, request_frame(114, packed(True)), "number", FAILS),
        ("a negative number", ready, request_frame(114, packed(-1)), "number", FAILS),
        ("a number above u32", ready, request_frame(114, packed(2**32)), "number", FAILS),
        ("a byte behind the array", ready, request_frame(114, packed(9) + b"\0"), "number", FAILS),
        ("a payload cut short", ready, request_frame(105, packed(9, EPOCH, [1])[:-1]), "number", FAILS),
        (
            "an array of four thousand million",
            ready,
            request_frame(
                105,
                b"\x93" + packed(9, EPOCH)[1:] + b"\xdd\xff\xff\xff\xff",
            ),
            "number",
            FAILS,
        ),
        ("a nonce of 31 bytes", early, hello(9, bytes(31)), "payload", malformed),
        ("a nonce of 33 bytes", early, hello(9, bytes(33)), "payload", malformed),
        ("a nonce that is text", early, hello(9, "n" * 32), "payload", malformed),
        ("a field missing", early, hello(9), "payload", malformed),
        ("nil for bytes", early, hello(9, None), "payload", malformed),
        ("a feature in capitals", early, hello(9, bytes(32), ["BLOBS"]), "payload", malformed),
        ("too many features", early, hello(9, bytes(32), ["blobs"] * 33), "payload", malformed),
        ("a header one byte short", ready, send([[ID, 1, HEADER[1:]]]), "payload", malformed),
        ("a header one byte long", ready, send([[ID, 1, HEADER + b"x"]]), "payload", malformed),
        ("no recipient", ready, send([]), "payload", malformed),
        ("the same device twice", ready, send([[ID, 1, HEADER], [ID, 2, HEADER]]), "payload", malformed),
        ("a delivery token of 31 bytes", ready, send([[ID, 1, HEADER]], bytes(31)), "payload", malformed),
        ("a seal key id above 2^63 - 1", ready, send([[ID, 2**63, HEADER]]), "payload", malformed),
        (
            "more sessions than devices",
            ready,
            request_frame(102, packed(9, ID, "", 0, [bytes([each]) * 16 for each in range(MAX_DEVICES + 1)])),
            "payload",
            malformed,
        ),
        (
            "an account and a name",
            ready,
            request_frame(102, packed(9, ID, "bob", 0, [])),
            "payload",
            malformed,
        ),
        ("neither account nor name", ready, keys(""), "payload", malformed),
        ("a name of one byte", ready, keys("b"), "payload", malformed),
        ("a name of 255 bytes", ready, keys("b" * 255), "payload", malformed),
        ("a name with a line feed", ready, keys("bob\nalice"), "payload", malformed),
        ("a name with an escape", ready, keys("\x1b[2Jbob"), "payload", malformed),
        ("a name that turns the direction", ready, keys("bob\u202egpj"), "payload", malformed),
        ("a name with a hidden character", ready, keys("b\u200bob"), "payload", malformed),
        ("a name with another space", ready, keys("bob\u00a0b"), "payload", malformed),
        ("a name that ends with a space", ready, keys("bob "), "payload", malformed),
        ("a name not in normal form C", ready, keys("Zoe\u0308"), "payload", malformed),
        (
            "a name that is not UTF-8",
            ready,
            request_frame(102, b"\x95\x09\xc4\x00\xa2\xff\xfe\x00\x90"),
            "payload",
            malformed,
        ),
        (
            "a request before authentication",
            early,
            early_usage,
            "state",
            unexpected,
        ),
        (
            "a registration before hello",
            State.GREETING,
            request_frame(100, packed(9, b"", b"m", b"s", [], b"f", bytes(32)), NO_DEVICE),
            "state",
            unexpected,
        ),
        ("two hellos at once", State.HELLO_SENT, hello(9, bytes(32)), "state", unexpected),
        (
            "a hello after authentication",
            ready,
            HELLO_OF_A_DEVICE,
            "state",
            unexpected,
        ),
        ("the number of an open request", ready, request_frame(114, packed(9)) * 2, "open", FAILS),
        ("the same after a bad one", ready, request_frame(99, packed(9)) * 2, "open", FAILS),
    ]


def to_client() -> list[Case]:
    """What a server must not send; in the state `subscribed` the request 9, a get-usage, is open."""
    on = State.SUBSCRIBED
    taken = response_frame(2001, packed())
    envelope = [1, ID, 1, HEADER, b"body", False]
    big = ResponseHeader(3, 1004, MAX_PAYLOAD + 1).encode()
    return [
        ("a payload above the limit", on, big, "frame", FAILS),
        ("another version", on, response_frame(1114, packed(9, {}), version=2), "version", FAILS),
        ("an unknown response", on, response_frame(1099, packed(9)), "code", FAILS),
        ("a request's code", on, response_frame(114, packed(9)), "code", FAILS),
        ("a response without a number", on, response_frame(1114, packed()), "payload", FAILS),
        ("a malformed response", on, response_frame(1114, packed(9, [])), "payload", FAILS),
        ("an answer that nobody asked for", on, response_frame(1114, packed(10, {})), "open", FAILS),
        ("a refusal of number 0", on, response_frame(9000, packed(0, "full", "")), "open", FAILS),
        ("a second answer", on, response_frame(1114, packed(9, {})) * 2, "open", FAILS),
        ("an answer of another kind", on, response_frame(1003, packed(9, [1])), "open", FAILS),
        ("a malformed event", on, response_frame(2000, packed([[]])), "payload", FAILS),
        (
            "a push after taken",
            on,
            taken + response_frame(2000, packed([])),
            "state",
            FAILS,
        ),
        ("a push before subscribing", State.READY, response_frame(2000, packed([envelope])), "state", FAILS),
        (
            "a part that nobody asked for",
            on,
            response_frame(1124, carrying(packed(8, 4, ID * 2), b"data")),
            "open",
            FAILS,
        ),
        ("an unknown event", on, response_frame(2999, b"anything"), "code", SKIPPED),
    ]
