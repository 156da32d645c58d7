"""Messages: they read as they were written, within their bounds, or not at all."""

from __future__ import annotations

import json
from typing import Any, cast, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushpost.errors import ProtocolError
from hushpost.ids import AccountId
from hushpost.names import MAX_NAME_BYTES, check_name, check_name_part
from hushpost.wire import limits
from hushpost.wire.codec import Kind, decode_payload, encode_message, request_number
from hushpost.wire.limits import HEADER_SIZE, MAX_PAYLOAD
from hushpost.wire.messages import (
    ANSWERS,
    EVENTS,
    REQUESTS,
    RESPONSES,
    Acknowledge,
    Envelopes,
    Error,
    GetUsage,
    Hello,
    Keys,
    Message,
    PublishKeys,
    Push,
    Recipient,
    Register,
    Registered,
    SendEnvelope,
    Subscribe,
    WaitingEnvelope,
)
from hushpost.wire.messages.keys import DeviceKeys
from tests.wire.examples import example
from tests.wire.record import VECTORS, recorded
from tests.wire.strategies import MESSAGES, structs

RECORDED = json.loads(VECTORS.read_text())
ID = bytes(16)


def kind(cls: type[Message]) -> Kind:
    if cls.CODE in REQUESTS:
        return Kind.REQUEST
    return Kind.EVENT if cls.CODE in EVENTS else Kind.RESPONSE


def decoded(message: Message) -> Message:
    return decode_payload(kind(type(message)), message.CODE, encode_message(message))


def accepts(cls: type[Message], *fields: object) -> bool:
    """Whether these fields, as anybody could send them, are such a message."""
    try:
        decode_payload(kind(cls), cls.CODE, msgspec.msgpack.encode(fields))
    except ProtocolError:
        return False
    return True


@settings(max_examples=30)
@given(st.data())
@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
def test_a_message_reads_as_it_was_written(cls: type[Message], data: st.DataObject) -> None:
    message = data.draw(structs(cls))
    assert decoded(message) == message
    assert type(decoded(message)) is cls


@settings(max_examples=30)
@given(st.data())
@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
def test_unknown_fields_behind_the_last_are_ignored(cls: type[Message], data: st.DataObject) -> None:
    message = data.draw(structs(cls))
    fields = msgspec.msgpack.decode(encode_message(message))
    longer = msgspec.msgpack.encode([*fields, {"new": [1, None]}, b"later"])
    assert decode_payload(kind(cls), cls.CODE, longer) == message


@given(st.sampled_from(MESSAGES), st.binary(max_size=80))
def test_garbage_is_a_protocol_error(cls: type[Message], payload: bytes) -> None:
    try:
        message = decode_payload(kind(cls), cls.CODE, payload)
    except ProtocolError:
        return
    assert decoded(message) == message


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
def test_every_cut_of_a_payload_is_refused(cls: type[Message]) -> None:
    payload = encode_message(example(cls))
    for end in range(min(len(payload), 600)):
        with pytest.raises(ProtocolError):
            decode_payload(kind(cls), cls.CODE, payload[:end])


def test_missing_fields_have_their_defaults() -> None:
    bare = msgspec.msgpack.encode([7])
    assert decode_payload(Kind.REQUEST, 112, bare) == PublishKeys(7, [], False, b"", b"", b"")
    refusal = decode_payload(Kind.RESPONSE, 9000, msgspec.msgpack.encode([7, "full", "no room"]))
    assert refusal == Error(7, "full", "no room", None, [])
    assert accepts(Hello, 1, bytes(32))
    assert not accepts(Hello, 1)


def test_defaults_are_not_shared() -> None:
    assert Hello(1, bytes(32)).features is not Hello(2, bytes(32)).features


def test_every_message_has_a_code_and_every_request_an_answer() -> None:
    codes = [cls.CODE for cls in MESSAGES]
    assert len(set(codes)) == len(codes)
    assert all(100 <= code <= 125 for code in REQUESTS)
    assert all(1000 <= code <= 1125 or code == 9000 for code in RESPONSES)
    assert all(2000 <= code < 3000 for code in EVENTS)
    assert {request: answer.CODE % 1000 for request, answer in ANSWERS.items()} == {
        request: request.CODE - 100 if request.CODE < 110 else request.CODE for request in ANSWERS
    }
    for table in (REQUESTS, RESPONSES):
        assert all(cls.__struct_fields__[0] == "number" for cls in table.values())


def test_every_list_text_and_number_is_bounded() -> None:
    """A field without a bound would let a stranger choose how much we keep."""
    unbounded = [
        f"{cls}.{name}"
        for cls in (*MESSAGES, Recipient, WaitingEnvelope, DeviceKeys)
        for name, hint in get_type_hints(cls, include_extras=True).items()
        if name != "CODE" and hint in {int, str, bytes, list, dict}
    ]
    assert unbounded == []


@pytest.mark.parametrize("code", [0, 99, 107, 119, 126, 255, 1000])
def test_an_unknown_code(code: int) -> None:
    with pytest.raises(ProtocolError, match=f"no request with the code {code}"):
        decode_payload(Kind.REQUEST, code, msgspec.msgpack.encode([1]))


def send(body: bytes = b"b", devices: int = 1, header: int = HEADER_SIZE) -> tuple[object, ...]:
    recipients = [[index.to_bytes(16, "big"), 1, bytes(header)] for index in range(devices)]
    return 1, ID, ID, recipients, body


@pytest.mark.parametrize(
    ("cls", "allowed", "refused"),
    [
        (SendEnvelope, send(bytes(limits.MAX_BODY)), send(bytes(limits.MAX_BODY + 1))),
        (SendEnvelope, send(b"b"), send(b"")),
        (SendEnvelope, send(devices=limits.MAX_DEVICES), send(devices=limits.MAX_DEVICES + 1)),
        (SendEnvelope, send(devices=1), send(devices=0)),
        (SendEnvelope, send(), send(header=HEADER_SIZE + 1)),
        (SendEnvelope, (*send(), bytes(32)), (*send(), bytes(33))),
        (SendEnvelope, (*send(), b""), (*send(), bytes(1))),
        (Hello, (2**32 - 1, bytes(32)), (2**32, bytes(32))),
        (
            Hello,
            (1, bytes(32), ["a"] * limits.MAX_FEATURES),
            (1, bytes(32), ["a"] * 33),
        ),
        (Hello, (1, bytes(32), ["a" * limits.MAX_WORD]), (1, bytes(32), ["a" * (limits.MAX_WORD + 1)])),
        (Subscribe, (1, ID, 2**63 - 1, 0), (1, ID, 2**63, 0)),
        (Acknowledge, (1, ID, [1] * limits.MAX_ACKNOWLEDGED), (1, ID, [1] * (limits.MAX_ACKNOWLEDGED + 1))),
        (Acknowledge, (1, ID, [1], 0), (1, ID, [-1], 0)),
        (
            PublishKeys,
            (1, [b"k" * limits.MAX_SIGNED_KEY] * limits.MAX_ONE_TIME_KEYS),
            (1, [b"k"] * (limits.MAX_ONE_TIME_KEYS + 1)),
        ),
        (PublishKeys, (1, [], False, b"", b"s" * limits.MAX_SEAL_KEY), (1, [], False, b"", b"s" * 2049)),
        (Error, (1, "e", "s" * limits.MAX_SENTENCE), (1, "e", "s" * (limits.MAX_SENTENCE + 1))),
        (Error, (1, "e", "s", None, [b"d" * limits.MAX_MANIFEST]), (1, "e", "s", None, [b"d" * 24_577])),
        (Error, (1, "e", "s", 2**32 - 1), (1, "e", "s", -1)),
    ],
)
def test_the_limit_and_one_above(
    cls: type[Message], allowed: tuple[object, ...], refused: tuple[object, ...]
) -> None:
    assert accepts(cls, *allowed)
    assert not accepts(cls, *refused)


def test_the_largest_of_everything_fits_into_a_payload() -> None:
    """What the limits allow must be possible to send."""
    most = limits.MAX_DEVICES
    ids = [index.to_bytes(16, "big") for index in range(most)]
    seal, key = bytes(limits.MAX_SEAL_KEY), bytes(limits.MAX_SIGNED_KEY)
    manifest = bytes(limits.MAX_MANIFEST)
    recipients = [Recipient(each, 2**63 - 1, bytes(HEADER_SIZE)) for each in ids]
    small = WaitingEnvelope(2**63 - 1, ID, 2**63 - 1, bytes(HEADER_SIZE), b"b", True)
    large = WaitingEnvelope(1, ID, 1, bytes(HEADER_SIZE), bytes(limits.MAX_BODY), True)
    largest: list[Message] = [
        SendEnvelope(1, ID, ID, recipients, bytes(limits.MAX_BODY), bytes(32)),
        Keys(1, ID, [manifest] * limits.MAX_MANIFESTS, [DeviceKeys(each, seal, key) for each in ids]),
        Envelopes(1, ID, [small] * (limits.MAX_PAGE_BYTES // (HEADER_SIZE + 1)), True),
        Push([large]),
    ]
    for message in largest:
        assert decoded(message) == message
    registration = Register(1, ID, manifest, seal, [key] * limits.MAX_ONE_TIME_KEYS, key, bytes(32))
    assert len(encode_message(registration)) <= limits.MAX_EARLY_PAYLOAD


def test_what_is_too_large_is_not_written() -> None:
    envelope = WaitingEnvelope(1, ID, 1, bytes(HEADER_SIZE), bytes(limits.MAX_BODY), False)
    with pytest.raises(ValueError, match="larger"):
        encode_message(Push([envelope] * 5))
    with pytest.raises(ProtocolError, match="larger"):
        decode_payload(Kind.EVENT, 2000, bytes(MAX_PAYLOAD + 1))


def test_deep_nesting_is_refused_without_a_crash() -> None:
    deep = b"\x92\x01" + b"\x91" * 100_000 + b"\xc0"
    with pytest.raises(ProtocolError):
        decode_payload(Kind.REQUEST, GetUsage.CODE, deep)
    assert request_number(deep) is None


def test_a_message_keeps_nothing_of_the_buffer() -> None:
    buffer = bytearray(encode_message(example(SendEnvelope)))
    message = decode_payload(Kind.REQUEST, 103, memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    buffer.clear()  # impossible while anything refers to it
    assert message == example(SendEnvelope)


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_payload(Kind.REQUEST, 110, msgspec.msgpack.encode([1, "secret"]))
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("vector", RECORDED["messages"], ids=lambda vector: vector["message"])
def test_recorded_payloads_decode_and_encode_to_the_same_bytes(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["payload_hex"])
    message = decode_payload(Kind(vector["kind"]), vector["code"], payload)
    assert type(message).__name__ == vector["message"]
    assert encode_message(message) == payload
    assert list(vector["fields"]) == list(message.__struct_fields__)


def test_the_recorded_vectors_are_those_of_the_code() -> None:
    assert VECTORS.read_text() == recorded()


@pytest.mark.parametrize(
    "name", ["bo", "Zoë", "山", "bob the builder", "o'neil-2.0", "b" * MAX_NAME_BYTES, "é" * 127, "👩"]
)
def test_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "b", "b" * 255, "é" * 128, " bob", "bob ", "b\0b", "b\x7fb", "b\x85b"),
        *("b\u2028b", "b\u3000b", "b\ufeffb", "b\u2066b", "b\ue000b", "e\u0301e", "\u212bngstrom"),
        *(
            "b\ufe0fb",
            "b\u034fb",
            "b\u3164b",
            "b\u115fb",
            "b\u1160b",
            "b\u2800b",
            "b\U000e0100b",
            "\uffa0\uffa0",
        ),
        *("b\u17b4b", "b\u180bb", "b\u2065b", "b\ufff0b", "b\U000e0fffb"),
    ],
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        check_name(name)


def test_a_part_of_a_name_may_be_empty_or_end_with_a_space() -> None:
    for part in ("", "b", "bob ", " "):
        check_name_part(part)
    with pytest.raises(ValueError, match="characters"):
        check_name_part("bob\n")


def test_ids_and_keys_of_types_of_their_own_are_written_as_bytes() -> None:
    account = AccountId(bytes(range(16)))
    assert encode_message(Registered(1, account)) == encode_message(Registered(1, bytes(account)))
    with pytest.raises(NotImplementedError):
        encode_message(Registered(1, cast(bytes, object())))
