"""Connections as strangers and bad lines make them: TLS, deadlines, dribbling, floods, slow readers."""

from __future__ import annotations

import asyncio
import resource
import select
import socket
import ssl
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.device import LoadDevice
from harness.lines import Line
from harness.lines import tls as lines_tls
from harness.process import ServerProcess, post_server
from hushpost.server.net import RESERVED_DESCRIPTORS, descriptor_budget
from hushpost.settings import ListenLimits, PostLimits, Rate, Rates
from hushpost.stores.base import Answer, SealedSend
from hushpost.stores.memory import MemoryBlobs
from hushpost.stores.post.memory import MemoryPost
from hushpost.wire.frames import RequestHeader
from hushpost.wire.limits import MAX_BODY, MAX_OPEN_REQUESTS, MAX_PAYLOAD
from hushpost.wire.messages import (
    Envelopes,
    ErrorCode,
    GetEnvelopes,
    GetUsage,
    Stored,
    Subscribe,
    UsageAnswer,
)
from tests.crypto.people import ALICE, BOB
from tests.server.serving import Keeper, Served, alice_and_bob, deliver, letter, serving, settings, tls

HASTY = PostLimits(entry_deadline=0.3)
HALF_OPEN = 10_000
HALF_OPEN_KB = 80
"""What one may cost the server; it costs 58, most of them for TLS that is not agreed yet."""

FROM_ONE_ADDRESS = 250
"""Less than one address may have open, and than it may open in a while."""

HONEST = 100
"""Far more descriptors than those who are no attackers need."""

HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)
EVERYTHING = GetEnvelopes(0, bytes(16), 0, 1_000, 1 << 20)


async def until_quiet(served: Served, connections: int = 0) -> None:
    """Until so many connections are left."""
    while served.acceptor.open_connections > connections:
        await asyncio.sleep(0.01)


async def raw(served: Served) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*served.address)


async def closed(reader: asyncio.StreamReader) -> bytes:
    """What still comes until the end."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: post.example.org\r\n\r\n",
        bytes(range(256)) * 64,
        b"\x16\x03\x01\x40\x00" + bytes(100),
        b"\x16",
        RequestHeader(bytes(16), 3, 110, 40).encode() + bytes(40),
    ],
    ids=["silence", "http", "garbage", "half a hello", "one byte", "no tls"],
)
async def test_what_is_no_tls_is_closed_in_time_and_in_silence(
    tmp_path: Path, said: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serving(settings(tmp_path, limits=HASTY)) as served:
        reader, writer = await raw(served)
        writer.write(said)
        await closed(reader)
        writer.close()
        await until_quiet(served)
        assert served.office.counts["handshakes-failed"] <= 1
    out, err = capfd.readouterr()
    assert out + err == ""


async def test_older_tls_is_refused(tmp_path: Path) -> None:
    async with serving(settings(tmp_path)) as served:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await served.connect(tls(version=ssl.TLSVersion.TLSv1_2))
        await until_quiet(served)


@pytest.mark.parametrize("alpn", ["", "h2", "hushpost/2"])
async def test_another_protocol_inside_tls_is_refused(tmp_path: Path, alpn: str) -> None:
    async with serving(settings(tmp_path)) as served:
        try:
            async with await served.connect(tls(alpn)) as client:
                assert await client.ended()
        except ssl.SSLError:
            pass  # refused in the handshake already
        await until_quiet(served)
        assert served.office.counts["handshakes-failed"] == 1


async def test_whoever_proves_nothing_is_closed_in_time(tmp_path: Path) -> None:
    async with serving(settings(tmp_path, limits=HASTY)) as served:
        silent, greeter, dribbler = [await served.connect() for _ in range(3)]
        await greeter.hello()
        for byte in RequestHeader(bytes(16), 3, 110, 40).encode():
            dribbler.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        for client in (silent, greeter, dribbler):
            assert await client.ended()
            await client.close()
        await until_quiet(served)


async def test_a_frame_that_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    given = settings(tmp_path, listen_limits=ListenLimits(request_deadline=0.3, stop_deadline=1))
    async with alice_and_bob(given) as (_, (alice, one), (_, other)):
        one.writer.write(RequestHeader(alice.device, 3, 103, MAX_PAYLOAD).encode() + bytes(1_000))
        assert await one.ended()
        await other.expect(UsageAnswer, GetUsage(0))  # an idle one is


async def test_frames_that_are_larger_than_allowed_are_not_collected(tmp_path: Path) -> None:
    async with serving(settings(tmp_path)) as served, await served.connect() as client:
        await client.hello()
        client.writer.write(RequestHeader(bytes(16), 3, 100, 64 * 1024 + 1).encode())
        assert await client.ended()
    async with alice_and_bob(settings(tmp_path)) as (_, (alice, one), _):
        one.writer.write(RequestHeader(alice.device, 3, 103, MAX_PAYLOAD + 1).encode())
        assert await one.ended()


async def test_unknown_and_malformed_requests_are_answered(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (_, (alice, one), _):
        for code, expected in ((199, ErrorCode.UNKNOWN_REQUEST), (103, ErrorCode.MALFORMED)):
            payload = b"\x91\xcc\xc8"  # nothing but the number 200
            one.writer.write(RequestHeader(alice.device, 3, code, len(payload)).encode() + payload)
            assert expected.encode() in await one.reader.read(1 << 16)
        await one.expect(UsageAnswer, GetUsage(0))


class StuckPost(MemoryPost):
    """Its disk has stopped: sends wait until the test lets them go."""

    def __init__(self) -> None:
        super().__init__(MemoryBlobs())
        self.waiting: list[tuple[SealedSend, Answer[tuple[int, ...]]]] = []

    def append_sealed(self, send: SealedSend) -> Answer[tuple[int, ...]]:
        answer: Answer[tuple[int, ...]] = Answer(loop=asyncio.get_running_loop())
        self.waiting.append((send, answer))
        return answer

    def let_go(self) -> None:
        for send, answer in self.waiting:
            answer.set_result(self._append_sealed(send))
        self.waiting.clear()


async def test_a_send_is_answered_in_the_turn_in_which_it_is_stored(tmp_path: Path) -> None:
    bob = Keeper.of(BOB)
    async with (
        serving(settings(tmp_path), make_store=StuckPost) as served,
        await served.enroll(Keeper.of(ALICE)) as one,
        await served.enroll(bob),
    ):
        stuck = served.store
        assert isinstance(stuck, StuckPost)
        numbers = [one.write(letter(bob)) for _ in range(3)]
        async with asyncio.timeout(10):
            while len(stuck.waiting) < len(numbers):
                await asyncio.sleep(0)
        stuck.let_go()
        connections: Any = served.acceptor._open
        assert sorted(len(each._out) for each in connections) == [0, len(numbers)]
        for number in numbers:
            assert isinstance(await one.answer(number), Stored)


async def test_a_request_that_takes_too_long_is_told_so_and_the_connection_lives(tmp_path: Path) -> None:
    given = settings(tmp_path, listen_limits=ListenLimits(request_deadline=0.3, stop_deadline=1))
    bob = Keeper.of(BOB)
    async with (
        serving(given, make_store=StuckPost) as served,
        await served.enroll(Keeper.of(ALICE)) as one,
        await served.enroll(bob),
    ):
        store = served.store
        assert isinstance(store, StuckPost)
        send = letter(bob)
        answers = [await one.refused(send) for _ in range(2)]
        assert {each.error for each in answers} == {ErrorCode.DEADLINE}
        assert served.office.in_hand == 0
        store.let_go()  # too late to be answered; the send is repeatable, and this one is
        number = one.write(send)
        await one.expect(UsageAnswer, GetUsage(0))
        store.let_go()
        assert isinstance(await one.answer(number), Stored)


async def test_a_late_result_answers_no_other_request_of_the_same_number(tmp_path: Path) -> None:
    given = settings(tmp_path, listen_limits=ListenLimits(request_deadline=0.3, stop_deadline=1))
    bob = Keeper.of(BOB)
    async with (
        serving(given, make_store=StuckPost) as served,
        await served.enroll(Keeper.of(ALICE)) as one,
        await served.enroll(bob),
    ):
        store = served.store
        assert isinstance(store, StuckPost)
        late, send = msgspec.structs.replace(letter(bob), number=77), letter(bob)
        one.writer.write(one.wire.send(late))
        assert getattr(await one.answer(77), "error", "") == ErrorCode.DEADLINE
        one.writer.write(one.wire.send(msgspec.structs.replace(send, number=77)))
        while len(store.waiting) < 2:
            await asyncio.sleep(0)
        (_, first), (_, second) = store.waiting
        store.waiting.clear()
        first.set_result((1,))
        await one.expect(UsageAnswer, GetUsage(0))
        second.set_result((2,))
        assert await one.answer(77) == Stored(77, [2])


async def test_more_open_requests_than_the_protocol_has_end_the_connection(tmp_path: Path) -> None:
    bob = Keeper.of(BOB)
    async with (
        serving(settings(tmp_path), make_store=StuckPost) as served,
        await served.enroll(Keeper.of(ALICE)) as one,
        await served.enroll(bob),
    ):
        for _ in range(MAX_OPEN_REQUESTS):
            one.write(letter(bob))
        one.wire._open.clear()  # this client counts no more
        one.write(letter(bob))
        assert await one.ended()
        await until_quiet(served, 1)
        assert served.office.in_hand == 0
        store = served.store
        assert isinstance(store, StuckPost)
        store.let_go()  # nobody is there to be answered


async def test_stopping_answers_what_was_begun(tmp_path: Path) -> None:
    bob = Keeper.of(BOB)
    async with (
        serving(settings(tmp_path), make_store=StuckPost) as served,
        await served.enroll(Keeper.of(ALICE)) as one,
        await served.enroll(bob) as other,
    ):
        store = served.store
        assert isinstance(store, StuckPost)
        number = one.write(letter(bob))
        while not store.waiting:
            await asyncio.sleep(0)
        stopping = asyncio.create_task(served.acceptor.stop())
        assert await other.ended()
        await other.close()
        store.let_go()
        assert isinstance(await one.answer(number), Stored)
        assert await one.ended()
        await one.close()
        await stopping


async def test_who_reads_nothing_is_given_up(tmp_path: Path) -> None:
    given = settings(
        tmp_path,
        listen_limits=ListenLimits(request_deadline=0.5, stop_deadline=1),
        limits=PostLimits(window=1 << 30),
    )
    async with alice_and_bob(given) as (served, (_, one), (bob, other)):
        await other.close()
        for _ in range(64):
            await deliver(one, bob, bytes(MAX_BODY))
        async with await served.connect(receive_buffer=4_096) as slow:
            await slow.login(bob)
            slow.write(Subscribe(0, served.store.epoch, 0, 1 << 30))
            while not len(served.office.subscriptions):
                await asyncio.sleep(0)
            await until_quiet(served, 1)  # it has read nothing at all since
            assert len(served.office.subscriptions) == 0


async def test_answers_wait_for_a_slow_reader_and_hold_no_memory(tmp_path: Path) -> None:
    """A few bytes each ask for a megabyte each: no more than some of them are made ahead."""
    async with alice_and_bob(settings(tmp_path)) as (served, (_, one), (bob, other)):
        for _ in range(8):
            await deliver(one, bob, bytes(MAX_BODY))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        numbers = [other.write(EVERYTHING) for _ in range(200)]
        await one.expect(UsageAnswer, GetUsage(0))
        for number in numbers:
            assert isinstance(await other.answer(number), Envelopes)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 64 * 1024, "KiB, of 150 MiB that were asked for"
        assert served.office.in_hand == 0


async def test_half_open_connections_end_in_time(tmp_path: Path) -> None:
    given = settings(
        tmp_path,
        limits=PostLimits(entry_deadline=3),
        listen_limits=ListenLimits(per_address=2_000, stop_deadline=1),
    )
    async with alice_and_bob(given) as (served, (_, one), (bob, _)):
        idle = await asyncio.gather(*(raw(served) for _ in range(1_000)))
        await deliver(one, bob)
        while served.acceptor.open_connections < 1_002:
            await asyncio.sleep(0)
        await deliver(one, bob)
        await until_quiet(served, 2)
        await deliver(one, bob)
        for _, writer in idle:
            writer.close()


@contextmanager
def descriptors(wanted: int) -> Iterator[int]:
    """Room for so many sockets, here and in what is started meanwhile, or for what the system grants."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVED_DESCRIPTORS
    if before[1] != resource.RLIM_INFINITY and before[1] < needed:
        with suppress(ValueError, OSError):  # only root may
            resource.setrlimit(resource.RLIMIT_NOFILE, (before[0], needed))
    try:
        yield descriptor_budget(wanted)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def half_open(server: tuple[str, int], count: int, stack: ExitStack) -> select.poll:
    """So many connections, every other one with the beginning of a TLS hello; what tells of any end."""
    poll = select.poll()
    for number in range(count):
        sock = stack.enter_context(socket.socket())
        sock.settimeout(60)
        sock.bind((f"127.0.1.{1 + number // FROM_ONE_ADDRESS}", 0))
        sock.connect(server)
        if number % 2:
            sock.send(HALF_A_HELLO)
        poll.register(sock, select.POLLIN)
    return poll


async def entered(server: ServerProcess, device: LoadDevice) -> Line:
    line = await Line.connect(server.address, lines_tls())
    await line.enter(device, register=True)
    return line


@pytest.mark.filterwarnings("default:the system grants")
async def test_ten_thousand_half_open_connections_keep_nobody_out(tmp_path: Path) -> None:
    """From so many addresses that every default limit but one allows them: they are let live for longer."""
    with ExitStack() as stack:
        count = stack.enter_context(descriptors(HALF_OPEN + HONEST)) - HONEST
        if count < HALF_OPEN:
            warnings.warn(f"the system grants descriptors for {count:,} connections only", stacklevel=1)
        command = post_server(tmp_path, "--open", "--entry-deadline", "3600")
        server = stack.enter_context(await asyncio.to_thread(ServerProcess, command))
        alice, bob = LoadDevice("alice"), LoadDevice("bob")
        early = await entered(server, alice)
        before = server.resident_mb()
        poll = await asyncio.to_thread(half_open, server.address, count, stack)
        late = await entered(server, bob)  # accepted in turn: behind all of them
        await early.ask(Stored, bob.letter(b"to whoever came late"))
        (envelope,) = (await late.ask(Envelopes, EVERYTHING)).envelopes
        assert envelope.body == b"to whoever came late"
        assert poll.poll(0) == [], "they are all still there"
        assert (server.resident_mb() - before) * 1_000 < count * HALF_OPEN_KB
        for line in (early, late):
            line.close()
        assert await asyncio.to_thread(server.stop) == 0


async def test_connections_of_one_address_are_counted(tmp_path: Path) -> None:
    given = settings(tmp_path, listen_limits=ListenLimits(per_address=2, stop_deadline=1))
    async with serving(given) as served, await served.connect() as one, await served.connect():
        reader, writer = await raw(served)
        assert await closed(reader) == b""
        writer.close()
        await one.hello()


async def test_frames_cut_anywhere_are_frames(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (_, (_, one), (bob, _)):
        send = letter(bob, bytes(200))
        number = one.wire.next_number()
        data = one.wire.send(msgspec.structs.replace(send, number=number))
        for start in range(0, len(data), 97):
            one.writer.write(data[start : start + 97])
            await one.writer.drain()
            await asyncio.sleep(0)
        assert isinstance(await one.answer(number), Stored)


async def test_renewed_certificates_are_for_new_connections(tmp_path: Path) -> None:
    """A login is bound to what its own connection was shown."""
    alice = Keeper.of(ALICE)
    async with serving(settings(tmp_path)) as served:
        early = await served.connect()
        await early.hello()
        await early.ask(alice.register())
        far = served.office.identity.shown.statement.not_after
        assert await asyncio.to_thread(served.office.identity.renew, far)
        async with await served.connect() as late:
            assert late.certificate != early.certificate
        await early.login(alice)
        await early.close()


async def test_handshakes_are_counted_by_address(tmp_path: Path) -> None:
    rates = Rates(connections=Rate(2, 1_000))
    async with serving(settings(tmp_path, rates=rates)) as served:
        async with await served.connect() as one, await served.connect():
            reader, writer = await raw(served)
            assert await closed(reader) == b""
            writer.close()
            await one.hello()
        await until_quiet(served)
        assert served.office.counts["connections-refused"] == 1


@pytest.mark.parametrize("named", [False, True])
async def test_addresses_are_logged_where_the_operator_wants_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], *, named: bool
) -> None:
    given = settings(tmp_path, log_addresses=named)
    async with serving(given) as served, await served.connect() as client:
        refused = await client.refused(await client.proof(Keeper.of(ALICE)))
        assert refused.error == ErrorCode.DENIED
        assert served.office.counts["refused-denied"] == 1
    assert ("127.0.0.1" in capfd.readouterr().out) is named
