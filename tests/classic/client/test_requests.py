"""The five requests: the recorded bytes, the original's manners, and servers that lie."""

from __future__ import annotations

import json
import socket
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hushpost.classic.client.requests import MAX_CONTENT, ClassicClient
from hushpost.classic.payloads import ClientId, ListedClient, MessageType
from hushpost.errors import ProtocolError, Refused, Unreachable, UsageError
from tests.classic.client.peers import ERROR, Script, playing, read, reset, serving

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors/classic.json").read_text())
FRAMES = VECTORS["frames"]
ALICE, BOB = (ClientId.parse(VECTORS["client_ids"][who]) for who in ("alice", "bob"))
ALICE_KEY = bytes.fromhex(VECTORS["public_key_spki_der_hex"]["alice"])
BOB_KEY = bytes.fromhex(VECTORS["public_key_spki_der_hex"]["bob"])

Action = Callable[[ClassicClient], object]


class Sink:
    """Keeps what comes, and in which order things happened."""

    def __init__(self) -> None:
        self.data = b""
        self.commits: list[int] = []

    def write(self, data: memoryview) -> None:
        assert not self.commits
        self.data += data

    def commit(self) -> None:
        self.commits.append(len(self.data))


def fetch(client: ClassicClient) -> bytes:
    sink = Sink()
    total = client.fetch(BOB, sink)
    assert total == len(sink.data)
    assert sink.commits == ([total] if total else [])
    return sink.data


def recorded(name: str) -> tuple[bytes, bytes]:
    return bytes.fromhex(FRAMES[name]["request_hex"]), bytes.fromhex(FRAMES[name]["response_hex"])


def send(name: str, me: ClientId, to: ClientId, kind: MessageType) -> tuple[str, Action, object]:
    request, answer = recorded(name)
    return (
        name,
        lambda client: client.send_message(me, to, kind, request[43:]),
        int.from_bytes(answer[23:27], "little"),
    )


ACTIONS: list[tuple[str, Action, object]] = [
    ("register_alice", lambda client: client.register("alice", ALICE_KEY), ALICE),
    ("list_by_alice", lambda client: list(client.list_clients(ALICE)), [ListedClient(BOB, "bob")]),
    ("list_by_bob", lambda client: list(client.list_clients(BOB)), [ListedClient(ALICE, "alice")]),
    send("send_type1", ALICE, BOB, MessageType.KEY_REQUEST),
    send("send_type2", BOB, ALICE, MessageType.KEY),
    send("send_text_1", ALICE, BOB, MessageType.TEXT),
    send("send_text_16_chars", BOB, ALICE, MessageType.TEXT),
    send("send_file_small", ALICE, BOB, MessageType.FILE),
    ("get_messages_type1", fetch, recorded("get_messages_type1")[1][7:]),
    ("get_messages_two_files", fetch, recorded("get_messages_two_files")[1][7:]),
]
ENDINGS: dict[str, Callable[[socket.socket], None] | None] = {"close": None, "reset": reset}


@pytest.mark.parametrize(("name", "action", "result"), ACTIONS, ids=[name for name, _, _ in ACTIONS])
@pytest.mark.parametrize("segment", [1, 7, 1 << 20])
def test_the_recorded_exchanges(name: str, action: Action, result: object, segment: int) -> None:
    request, answer = recorded(name)
    seen: list[bytes] = []

    def play(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        seen.append(read(connection, len(request)))
        for start in range(0, len(answer), segment):
            connection.sendall(answer[start : start + segment])

    with serving(play) as address:
        assert action(ClassicClient(address, timeout=5)) == result
    assert seen == [request]


def test_the_public_key_request_has_our_id_in_the_header() -> None:
    """The original's client puts the other's there; both ways are known to work."""
    request, answer = recorded("public_key_of_bob_by_alice")
    seen: list[bytes] = []

    def play(connection: socket.socket) -> None:
        seen.append(read(connection, len(request)))
        connection.sendall(answer)

    with serving(play) as address:
        assert ClassicClient(address, timeout=5).public_key(ALICE, BOB) == BOB_KEY
    assert seen == [ALICE + request[16:]]


def test_an_empty_inbox_touches_nothing() -> None:
    with serving(playing(bytes.fromhex("02ec0300000000"))) as address:
        assert fetch(ClassicClient(address, timeout=5)) == b""


EVERY_ACTION: list[Action] = [
    lambda client: client.register("alice", ALICE_KEY),
    lambda client: list(client.list_clients(ALICE)),
    lambda client: client.public_key(ALICE, BOB),
    lambda client: client.send_message(ALICE, BOB, MessageType.TEXT, bytes(32)),
    fetch,
]


@pytest.mark.parametrize("action", EVERY_ACTION)
@pytest.mark.parametrize("refusal", [ERROR, ERROR[:3] + b"\x02\0\0\0no"], ids=["bare", "with payload"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_refusals_are_told_with_a_likely_reason(action: Action, refusal: bytes, ending: str) -> None:
    with serving(playing(refusal)) as address, pytest.raises(Refused) as error:
        action(ClassicClient(address, timeout=5))
    assert error.value.hint


@pytest.mark.parametrize("action", EVERY_ACTION)
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        bytes.fromhex("02000000000000"),
        bytes.fromhex("02e90301000000") + b"x",
        bytes.fromhex("02ea0301000000") + b"x",
        bytes.fromhex("02eb0313000000") + bytes(19),
        bytes.fromhex("02e803ffffffff") + bytes(1000),
        bytes(64),
    ],
    ids=["http", "code 0", "short list", "short key", "short confirmation", "lying size", "zeros"],
)
def test_nonsense_is_told_as_such(action: Action, answer: bytes) -> None:
    with serving(playing(answer)) as address, pytest.raises((ProtocolError, Unreachable)):
        action(ClassicClient(address, timeout=5))


@pytest.mark.parametrize("action", EVERY_ACTION)
@pytest.mark.parametrize("answer", [b"", ERROR[:3]])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_broken_answer_is_told_as_such(action: Action, answer: bytes, ending: str) -> None:
    with serving(playing(answer, then=ENDINGS[ending])) as address, pytest.raises(Unreachable):
        action(ClassicClient(address, timeout=5))


def listing(count: int) -> Script:
    """A list of so many clients, whose names are numbers."""
    entry = struct.Struct("<16s255s")

    def play(connection: socket.socket) -> None:
        read(connection, 22)
        connection.sendall(struct.pack("<BHI", 2, 1001, count * entry.size))
        for first in range(0, count, 1000):
            numbers = range(first, first + 1000)
            connection.sendall(b"".join(entry.pack(bytes(16), str(number).encode()) for number in numbers))

    return play


def test_a_list_of_any_length_is_read() -> None:
    """A list above 64 MiB, 247,631 clients, once made every command fail for ever."""
    with serving(listing(250_000)) as address:
        clients = ClassicClient(address, timeout=5).list_clients(ALICE)
        assert all(int(client.name) == number for number, client in enumerate(clients))


def test_a_list_is_never_held_in_memory() -> None:
    with serving(listing(40_000)) as address:
        tracemalloc.start()
        assert sum(1 for _ in ClassicClient(address, timeout=5).list_clients(ALICE)) == 40_000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 6 << 20


def test_whoever_has_found_a_name_stops_reading() -> None:
    entry = struct.pack("<16s255s", BOB, b"bob")

    def play(connection: socket.socket) -> None:
        read(connection, 22)
        connection.sendall(struct.pack("<BHI", 2, 1001, 1 << 31))
        while True:
            connection.sendall(entry * 1000)

    with serving(play) as address:
        assert next(ClassicClient(address, timeout=5).list_clients(ALICE)).name == "bob"


def test_a_server_that_is_busy_is_named_among_the_reasons() -> None:
    """Whoever is told that its id is unknown would register anew, for ever."""
    for action in EVERY_ACTION:
        with serving(playing(ERROR)) as address, pytest.raises(Refused) as error:
            action(ClassicClient(address, timeout=5))
        assert "busy: try again" in error.value.hint


def test_another_clients_key_is_not_taken_for_the_wanted_one() -> None:
    _, answer = recorded("public_key_of_alice_by_bob")
    with serving(playing(answer)) as address, pytest.raises(ProtocolError, match="another client"):
        ClassicClient(address, timeout=5).public_key(ALICE, BOB)


def test_a_confirmation_for_another_client_is_none() -> None:
    _, answer = recorded("send_text_16_chars")
    with serving(playing(answer, request_size=43)) as address, pytest.raises(ProtocolError, match="another"):
        ClassicClient(address, timeout=5).send_message(ALICE, BOB, MessageType.KEY_REQUEST, b"")


@pytest.mark.parametrize("name", ["", "a", "a\0b", "x" * 255, "\u05e9" * 128])
def test_names_that_the_protocol_cannot_carry(name: str) -> None:
    with serving(playing()) as address, pytest.raises(UsageError):
        ClassicClient(address, timeout=5).register(name, ALICE_KEY)


def test_a_content_above_the_limit_is_not_begun() -> None:
    with serving(playing()) as address, pytest.raises(UsageError, match="1 GiB"):
        ClassicClient(address, timeout=5).send_stream(ALICE, BOB, MessageType.FILE, MAX_CONTENT + 1, [])


@pytest.mark.parametrize(
    "pieces", [[b"1234"], [b"1234", b"567890"], [b"12345678", b"9"], [b"12345678", b"", b"9"]]
)
def test_a_content_of_another_size_is_never_completed(pieces: list[bytes]) -> None:
    """Neither too short nor too long: what the server would store is not what was meant."""
    seen: list[bytes] = []

    def collect(connection: socket.socket) -> None:
        try:
            while data := connection.recv(100):
                seen.append(data)
        except ConnectionResetError:
            seen.append(b"RESET")

    with serving(collect) as address, pytest.raises(UsageError, match="changed its size"):
        ClassicClient(address, timeout=5).send_stream(ALICE, BOB, MessageType.FILE, 8, pieces)
    assert seen[-1] == b"RESET"
    assert len(b"".join(seen[:-1])) < 43 + 8


def test_a_source_that_fails_resets_the_upload() -> None:
    endings: list[str] = []

    def watch(connection: socket.socket) -> None:
        try:
            while connection.recv(1 << 16):
                pass
            endings.append("orderly")
        except ConnectionResetError:
            endings.append("reset")

    def failing() -> Iterator[bytes]:
        yield b"1234"
        raise OSError("the disk is gone")

    with serving(watch) as address, pytest.raises(OSError, match="the disk is gone"):
        ClassicClient(address, timeout=5).send_stream(ALICE, BOB, MessageType.FILE, 8, failing())
    assert endings == ["reset"]


def test_a_refused_upload_ends_early() -> None:
    def refuse(connection: socket.socket) -> None:
        read(connection, 43)
        connection.sendall(ERROR)

    given = 0

    def pieces() -> Iterator[bytes]:
        nonlocal given
        while given < 1 << 30:
            given += 1 << 20
            yield bytes(1 << 20)

    with serving(refuse) as address, pytest.raises(Refused):
        ClassicClient(address, timeout=5).send_stream(ALICE, BOB, MessageType.FILE, 1 << 30 >> 1, pieces())
    assert given < 100 << 20


@pytest.mark.parametrize("cut", [8, 20, 60, 129])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_fetch_that_breaks_off_has_given_what_came(cut: int, ending: str) -> None:
    _, answer = recorded("get_messages_two_texts")
    sink = Sink()
    with serving(playing(answer[:cut])) as address, pytest.raises(Unreachable):
        ClassicClient(address, timeout=5).fetch(BOB, sink)
    assert sink.data == answer[7:cut]
    assert not sink.commits


def test_what_a_server_adds_to_its_answer_is_not_taken() -> None:
    _, answer = recorded("get_messages_two_texts")
    with serving(playing(answer, b"and more" * 1000)) as address:
        assert fetch(ClassicClient(address, timeout=5)) == answer[7:]


def test_a_failing_sink_does_not_acknowledge() -> None:
    """A full disk: the server must see a reset, though all was read off the socket."""
    _, answer = recorded("get_messages_two_texts")
    endings: list[str] = []

    def watch(connection: socket.socket) -> None:
        try:
            connection.shutdown(socket.SHUT_WR)
            endings.append(f"orderly {connection.recv(1)!r}")
        except OSError:  # already, or while waiting
            endings.append("reset")

    class Full(Sink):
        def commit(self) -> None:
            raise OSError("no space left")

    with serving(playing(answer, then=watch)) as address, pytest.raises(OSError, match="no space"):
        ClassicClient(address, timeout=5).fetch(BOB, Full())
    assert endings == ["reset"]


def test_an_acknowledged_fetch_ends_orderly_and_after_the_server() -> None:
    _, answer = recorded("get_messages_two_texts")
    endings: list[object] = []

    def watch(connection: socket.socket) -> None:
        connection.settimeout(0.1)
        try:
            endings.append(connection.recv(1))
        except TimeoutError:
            endings.append("still open")
        connection.settimeout(5)
        connection.shutdown(socket.SHUT_WR)
        endings.append(connection.recv(1))

    with serving(playing(answer, then=watch)) as address:
        fetch(ClassicClient(address, timeout=5))
    assert endings == ["still open", b""]


def test_progress_is_told() -> None:
    _, answer = recorded("get_messages_two_texts")
    told: list[tuple[int, int]] = []
    with serving(playing(answer)) as address:
        ClassicClient(address, timeout=5).fetch(BOB, Sink(), lambda done, total: told.append((done, total)))
    assert told[-1] == (len(answer) - 7, len(answer) - 7)
