"""One connection: what a server may do to it, and how it ends."""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import threading

import pytest

from hushpost.classic.client.link import Address, Link
from hushpost.classic.payloads import REFUSAL
from hushpost.errors import ProtocolError, Unreachable, UsageError
from hushpost.wire.frames import Chunk, Frame, FrameEnd, FrameStart, Limits
from tests.classic.client.peers import Script, playing, read, reset, serving

SMALL = Limits(max_payload=100, collect=100)
ANSWER = bytes.fromhex("02ec0305000000") + b"hello"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("host:1", ("host", 1)),
        (" 10.0.0.1:65535\n", ("10.0.0.1", 65535)),
        ("1234", ("127.0.0.1", 1234)),
        ("[::1]:22", ("::1", 22)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert Address.parse(text) == address
    assert Address.parse(str(Address.parse(text))) == address


@pytest.mark.parametrize(
    "text", ["", "host", "127.0.0.1", ":1", "host:", "host:-1", "host:65536", "host:1x", "0", "host:0"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError):
        Address.parse(text)


def test_a_host_alone_is_quoted_as_it_was_given() -> None:
    with pytest.raises(UsageError, match=r"^'127\.0\.0\.1' is"):
        Address.parse("127.0.0.1")


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address(*listener.getsockname())
    with pytest.raises(Unreachable, match="refused") as error:
        Link(address, 5)
    assert error.value.hint


@pytest.mark.parametrize("host", ["nowhere.invalid", "x" * 300, "a..b"])
def test_a_name_that_leads_nowhere(host: str) -> None:
    with pytest.raises(Unreachable):
        Link(Address(host, 1), 5)


@pytest.mark.parametrize("pieces", [[ANSWER], [bytes([byte]) for byte in ANSWER], [ANSWER[:3], ANSWER[3:]]])
def test_an_answer_in_any_segments(pieces: list[bytes]) -> None:
    with serving(playing(*pieces)) as address, Link(address, 5) as link:
        assert link.send(bytes(22))
        [frame] = link.answer(SMALL)
        assert isinstance(frame, Frame)
        assert frame.payload == b"hello"


def test_a_large_answer_is_streamed() -> None:
    with serving(playing(ANSWER)) as address, Link(address, 5) as link:
        link.send(bytes(22))
        kinds = [type(event) for event in link.answer(Limits(max_payload=100, collect=0))]
    assert (kinds[0], {*kinds[1:-1]}, kinds[-1]) == (FrameStart, {Chunk}, FrameEnd)


@pytest.mark.parametrize("cut", [0, 3, 7, len(ANSWER) - 1])
@pytest.mark.parametrize("ending", [None, reset])
def test_an_answer_that_breaks_off(cut: int, ending: Script | None) -> None:
    with serving(playing(ANSWER[:cut], then=ending)) as address, Link(address, 5) as link:
        link.send(bytes(22))
        with pytest.raises(Unreachable, match=r"before its answer was complete|broke"):
            list(link.answer(SMALL))


def test_a_size_above_the_limit_is_refused_before_it_comes() -> None:
    with serving(playing(bytes.fromhex("02ec0365000000"))) as address, Link(address, 5) as link:
        link.send(bytes(22))
        with pytest.raises(ProtocolError):
            list(link.answer(SMALL))


def test_a_silent_server_is_left() -> None:
    def wait(client: socket.socket) -> None:
        client.recv(1)

    with serving(playing(then=wait)) as address, Link(address, 0.05) as link:
        link.send(bytes(22))
        with pytest.raises(Unreachable, match="in time"):
            list(link.answer(SMALL))


def test_a_dripping_server_is_left() -> None:
    """Each byte comes well within the timeout, and the answer never ends."""

    def drip(client: socket.socket) -> None:
        client.sendall(bytes.fromhex("02ec0300000010"))
        client.settimeout(0.02)
        while True:
            client.sendall(b"x")
            try:
                client.recv(1)
                return
            except TimeoutError:
                continue

    with serving(playing(then=drip)) as address, Link(address, 0.3) as link:
        link.send(bytes(22))
        with pytest.raises(Unreachable, match="in time"):
            list(link.answer(Limits(max_payload=1 << 30, collect=0)))


def slowly(size: int) -> Script:
    """Take a request of so many bytes over a line that carries 64 KiB in 30 ms; answer then."""

    def play(client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        pace, left = threading.Event(), size
        while left:
            pace.wait(0.03)
            left -= len(client.recv(min(left, 1 << 16)))
        client.sendall(ANSWER)

    return play


def test_a_slow_line_is_no_silence() -> None:
    """What the kernel holds takes much longer than the timeout, first to send and then to be answered."""
    with serving(slowly(5 << 20)) as address, Link(address, 0.2) as link:
        for _ in range(5):
            assert link.send(bytes(1 << 20))
        [frame] = link.answer(SMALL)
        assert isinstance(frame, Frame)


def test_a_server_that_stops_taking_is_left() -> None:
    stopped = threading.Event()

    def wait(client: socket.socket) -> None:
        stopped.wait(20)

    with serving(playing(then=wait)) as address, Link(address, 0.2) as link:
        with pytest.raises(Unreachable, match="in time"):
            link.send(bytes(64 << 20))
        stopped.set()


def test_a_refusal_with_a_reset_is_read() -> None:
    """The original answers 9000 and closes, with our content unread."""

    def refuse(client: socket.socket) -> None:
        read(client, 22)
        client.sendall(REFUSAL)

    with serving(refuse) as address, Link(address, 5) as link:
        while link.send(bytes(1 << 20)):
            pass
        [frame] = link.answer(SMALL)
        assert isinstance(frame, Frame)
        assert frame.header.code == 9000


def watching(endings: queue.Queue[str]) -> Script:
    """Half-close after the answer, as Hushpost's server does, and see how the client ends."""

    def watch(client: socket.socket) -> None:
        try:
            client.shutdown(socket.SHUT_WR)
            endings.put("orderly" if client.recv(1) == b"" else "data")
        except OSError:  # already, or while waiting
            endings.put("reset")

    return watch


@pytest.mark.parametrize(("orderly", "seen"), [(True, "orderly"), (False, "reset")])
def test_only_an_acknowledged_answer_ends_orderly(orderly: bool, seen: str) -> None:
    endings: queue.Queue[str] = queue.Queue()

    with serving(playing(ANSWER, then=watching(endings))) as address:
        with Link(address, 5) as link:
            link.send(bytes(22))
            list(link.answer(SMALL))
            if orderly:
                link.close_orderly(after_the_server=True)
        assert endings.get(timeout=5) == seen


def test_a_killed_process_does_not_acknowledge() -> None:
    """It has read all there was, but nobody knows whether it kept it: the kernel must send a reset."""
    endings: queue.Queue[str] = queue.Queue()
    child = (
        "import sys; from hushpost.classic.client.link import *; from hushpost.wire.frames import Limits\n"
    )
    child += "link = Link(Address('127.0.0.1', int(sys.argv[1])), 5); link.send(bytes(22))\n"
    child += "list(link.answer(Limits(max_payload=100, collect=100))); print('read', flush=True)\n"
    child += "sys.stdin.read()"

    with (
        serving(playing(ANSWER, then=watching(endings))) as address,
        subprocess.Popen(
            [sys.executable, "-c", child, str(address.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process,
    ):
        assert process.stdout
        assert process.stdout.readline() == b"read\n"
        process.kill()
        assert endings.get(timeout=5) == "reset"
