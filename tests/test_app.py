"""The server as a process: starting, refusing to start, stopping, being killed, and what it writes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from harness.load import exchange, fetch_request, register, run, send_request
from harness.process import (
    HUSH,
    NO_ADDRESS_LIMIT,
    DidNotStart,
    ServerProcess,
    classic_server,
    with_descriptors,
)
from hushpost.classic import payloads
from hushpost.classic.payloads import ClientId, MessageType
from hushpost.errors import ExitCode
from hushpost.ids import AccountId, BlobId, MailboxId
from hushpost.stores.base import Account, Attachment, Delivery, Send
from hushpost.stores.blobfiles import FileBlobs
from hushpost.stores.sqlite import SqliteStore
from hushpost.wire.frames import ResponseHeader
from tests.classic.server.serving import parse_messages

GIB = 1 << 30


def refusal(command: list[str], folder: Path, **environment: str) -> DidNotStart:
    """Why a server does not start."""
    with pytest.raises(DidNotStart) as caught:
        ServerProcess(command, folder, log=folder / "complaint", environment=environment)
    assert "Traceback" not in caught.value.complaint
    return caught.value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_port_info_and_the_working_directory_as_the_seed_has_them(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "port.info").write_text(f"{port}\n")
    with ServerProcess([HUSH, "classic", "serve"], tmp_path) as server:
        assert server.address == ("127.0.0.1", port)
        register(server.address, "alice")
    database = tmp_path / "server.db"
    assert stat.S_IMODE(database.stat().st_mode) == 0o600


def test_without_an_address_it_says_what_to_do(tmp_path: Path) -> None:
    failure = refusal([HUSH, "classic", "serve"], tmp_path)
    assert failure.code == ExitCode.PROFILE
    assert "--listen" in failure.complaint
    assert "port.info" in failure.complaint
    assert not (tmp_path / "server.db").exists()


def test_bad_arguments_are_usage_errors(tmp_path: Path) -> None:
    for arguments in (["--listen", "nonsense"], ["--listen", "127.0.0.1:0", "--per-address", "0"]):
        assert refusal([HUSH, "classic", "serve", *arguments], tmp_path).code == ExitCode.USAGE


def test_address_in_use(tmp_path: Path, classic_server: ServerProcess) -> None:
    command = [HUSH, "classic", "serve", "--listen", classic_server.host_port]
    failure = refusal(command, tmp_path)
    assert failure.code == ExitCode.ADDRESS_UNAVAILABLE
    assert classic_server.host_port in failure.complaint


def test_one_folder_one_server(tmp_path: Path) -> None:
    with ServerProcess(classic_server(tmp_path)) as server:
        assert refusal(classic_server(tmp_path), tmp_path).code == ExitCode.STORE_UNUSABLE
        register(server.address, "still working")


def test_damaged_database_is_left_as_it_is(tmp_path: Path) -> None:
    with ServerProcess(classic_server(tmp_path)) as server:
        register(server.address, "alice")
    database = tmp_path / "server.db"
    damaged = bytearray(database.read_bytes())
    damaged[4096:8192] = os.urandom(4096)
    database.write_bytes(damaged)
    assert refusal(classic_server(tmp_path), tmp_path).code == ExitCode.STORE_UNUSABLE
    assert database.read_bytes() == damaged


def test_settings_file_environment_and_flags(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('listen = "127.0.0.1:1"\nmailbox-count = 2\n')
    environment = {"HUSH_CLASSIC_LISTEN": "127.0.0.1:0", "HUSH_CLASSIC_CONFIG": str(settings)}
    with ServerProcess([HUSH, "classic", "serve"], tmp_path, environment=environment) as server:
        alice = register(server.address, "alice")
        request = send_request(alice, alice, b"x")
        assert [len(exchange(server.address, request)) for _ in range(3)] == [27, 27, 7]
    command = [HUSH, "classic", "serve", "--mailbox-count", "3"]
    with ServerProcess(command, tmp_path, environment=environment) as server:
        assert [len(exchange(server.address, request)) for _ in range(2)] == [27, 7]


@pytest.mark.parametrize("content", ["mailbox_cuont = 2", "mailbox-count = ", "min-rate = 'fast'", "\xff"])
def test_bad_settings_file(tmp_path: Path, content: str) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_bytes(content.encode("latin-1"))
    failure = refusal(classic_server(tmp_path, "--config", str(settings)), tmp_path)
    assert failure.code == ExitCode.USAGE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_with_0_and_starts_again_on_the_same_port(tmp_path: Path, number: signal.Signals) -> None:
    with ServerProcess(classic_server(tmp_path)) as server:
        alice = register(server.address, "alice")
        assert len(exchange(server.address, send_request(alice, alice, b"kept"))) == 27
        assert server.stop(number) == 0
    with ServerProcess(classic_server(tmp_path, port=server.address[1])) as again:
        ((_, content),) = parse_messages(exchange(again.address, fetch_request(alice)))
        assert content == b"kept"


def test_the_log_holds_no_content_key_or_name(tmp_path: Path) -> None:
    secret, name = b"a secret text!", "carol of the log test"
    log = tmp_path / "log"
    with ServerProcess(classic_server(tmp_path, "--log-format", "json"), log=log) as server:
        carol = register(server.address, name)
        for content in (secret, secret * 10_000):
            assert len(exchange(server.address, send_request(carol, carol, content))) == 27
        exchange(server.address, send_request(carol, ClientId(bytes(16)), secret))
        exchange(server.address, secret * 50)
        exchange(server.address, fetch_request(carol))
    warning, *events = log.read_text().splitlines()
    assert warning.startswith("warning: the classic protocol")
    assert [json.loads(event)["event"] for event in events] == ["serving", "stopping", "stopped"]
    written = log.read_bytes()
    for private in (secret, name.encode(), carol.hex().encode(), secret.hex().encode()):
        assert private not in written


def test_more_idle_connections_than_descriptors(tmp_path: Path) -> None:
    command = with_descriptors(classic_server(tmp_path, *NO_ADDRESS_LIMIT), 256)
    with ServerProcess(command) as server, ExitStack() as stack:
        alice = register(server.address, "alice")
        idle = [stack.enter_context(socket.create_connection(server.address)) for _ in range(1_100)]
        waiting = stack.enter_context(socket.create_connection(server.address, 30))
        waiting.sendall(send_request(alice, alice, b"I waited"))
        for connection in idle:
            connection.close()
        assert len(waiting.recv(100)) == 27


def test_an_inbox_of_more_files_than_descriptors(tmp_path: Path) -> None:
    content = bytes(70_000)
    command = with_descriptors(classic_server(tmp_path, *NO_ADDRESS_LIMIT), 256)
    with ServerProcess(command) as server:
        alice = register(server.address, "alice")
        request = send_request(alice, alice, content)
        assert run(server.address, [request] * 1_100, 16, 27).refused == 0
        messages = parse_messages(exchange(server.address, fetch_request(alice)))
        assert len(messages) == 1_100
        assert all(body == content for _, body in messages)
        assert exchange(server.address, fetch_request(alice)) == bytes.fromhex("02ec0300000000")


def test_memory_does_not_grow_with_contents(tmp_path: Path) -> None:
    with ServerProcess(classic_server(tmp_path)) as server:
        alice = register(server.address, "alice")
        before = server.peak_mb()
        size = 200 << 20
        for _ in range(2):
            assert len(exchange(server.address, send_request(alice, alice, bytes(size)))) == 27
        assert len(exchange(server.address, fetch_request(alice))) == 7 + 2 * (25 + size)
        assert server.peak_mb() < before + 40


async def _store_sparse(folder: Path, contents: int, size: int) -> ClientId:
    """An inbox of large contents that take no room on the disk."""
    blobs = FileBlobs(folder / "blobs", 0)
    store = await SqliteStore.open(folder / "server.db", blobs)
    client = ClientId.random()
    await store.register(Account(AccountId(client), "reader", bytes(160)), MailboxId(client))
    header = client + bytes([MessageType.FILE])
    for _ in range(contents):
        blob = BlobId.random()
        await blobs.create(blob)
        await blobs.write(blob, size - 1, memoryview(b"\0"))
        await blobs.finish(blob, size)
        delivery = Delivery(MailboxId(client), header)
        await store.append(Send((delivery,), b"", attachment=Attachment(blob, size)))
    await store.close()
    await blobs.close()
    return client


def test_an_inbox_above_4_gib_comes_in_portions(tmp_path: Path) -> None:
    reader = asyncio.run(_store_sparse(tmp_path, 5, GIB))
    with ServerProcess(classic_server(tmp_path)) as server:
        with socket.create_connection(server.address, 30) as sock:
            sock.sendall(fetch_request(reader))
            header = ResponseHeader.decode(sock.recv(7, socket.MSG_WAITALL))
        assert header.payload_size == 3 * (payloads.MESSAGE_ENTRY.size + GIB)


async def _use_up_numbers(folder: Path, left: int) -> None:
    blobs = FileBlobs(folder / "blobs")
    store = await SqliteStore.open(folder / "server.db", blobs)
    await store.begin_takeover([], payloads.MAX_MESSAGE_ID - left)
    await store.close()
    await blobs.close()


def test_no_message_gets_a_number_of_more_than_32_bits(tmp_path: Path) -> None:
    asyncio.run(_use_up_numbers(tmp_path, 1))
    with ServerProcess(classic_server(tmp_path)) as server:
        alice = register(server.address, "alice")
        last = exchange(server.address, send_request(alice, alice, b"last"))
        assert last[-4:] == b"\xff" * 4
        assert exchange(server.address, send_request(alice, alice, b"none")) == payloads.REFUSAL
        assert len(parse_messages(exchange(server.address, fetch_request(alice)))) == 1


KILL_ROUNDS = int(os.environ.get("HUSH_KILL_ROUNDS", "8"))
"""More of them by hand: HUSH_KILL_ROUNDS=1000 make test."""

SENDERS = 8


def send_until_killed(
    server: ServerProcess, client: ClientId, numbers: Iterator[int], kill_after: int
) -> set[bytes]:
    """Several senders at once; kill -9 while they are at it. The contents that were answered with 1003."""
    accepted: set[bytes] = set()
    enough = threading.Semaphore(0)

    def send() -> None:
        try:
            while True:
                number = next(numbers)
                content = b"%d" % number if number % 5 else b"%d," % number * 20_000
                if len(exchange(server.address, send_request(client, client, content))) == 27:
                    accepted.add(content)
                    enough.release()
        except OSError:
            return

    with ThreadPoolExecutor(SENDERS) as pool:
        senders = [pool.submit(send) for _ in range(SENDERS)]
        for _ in range(kill_after):
            assert enough.acquire(timeout=60)
        server.kill()
        for sender in senders:
            sender.result()
    return accepted


def test_kill_9_loses_no_accepted_message(tmp_path: Path) -> None:
    """Whatever the moment: what was answered with 1003 is in the inbox, once, in order of the ids."""
    accepted: set[bytes] = set()
    numbers = count()
    with ServerProcess(classic_server(tmp_path)) as server:
        alice = register(server.address, "alice")
    for round_number in range(KILL_ROUNDS):
        with ServerProcess(classic_server(tmp_path, port=server.address[1])) as again:
            accepted |= send_until_killed(again, alice, numbers, 3 + round_number * 7 % 50)
    with ServerProcess(classic_server(tmp_path)) as server:
        messages = parse_messages(exchange(server.address, fetch_request(alice)))
    contents = [content for _, content in messages]
    ids = [header.message_id for header, _ in messages]
    assert accepted <= set(contents)
    assert len(contents) == len(set(contents))
    assert ids == sorted(set(ids))


def test_it_serves_and_stops_in_order_when_its_log_is_full() -> None:
    with TemporaryDirectory() as folder:
        server = ServerProcess(classic_server(Path(folder)), log=Path("/dev/full"))
        assert len(exchange(server.address, send_to_self(register(server.address, "alice")))) == 27
        assert server.stop() == ExitCode.OK


def send_to_self(client: ClientId) -> bytes:
    return send_request(client, client, b"hello")


def test_it_serves_when_nobody_can_hear_where(tmp_path: Path) -> None:
    command = [*classic_server(tmp_path, port=free_port()), "--log-format", "json"]
    with (
        Path("/dev/full").open("wb") as full,
        subprocess.Popen(command, stdout=full, stderr=subprocess.PIPE, text=True) as server,
    ):
        assert server.stderr is not None
        assert any('"serving"' in line for line in server.stderr)
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == ExitCode.OK
        assert "Traceback" not in server.stderr.read()


@pytest.mark.parametrize("content", ["max-connections = true", "relayed = 1", 'relayed = "yes"'])
def test_a_switch_is_no_number_and_a_number_no_switch(tmp_path: Path, content: str) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(content)
    failure = refusal([*classic_server(tmp_path), "--config", str(settings)], tmp_path)
    assert failure.code == ExitCode.USAGE
    assert content.partition(" ")[0] in failure.complaint


def test_behind_a_relay_messages_are_deleted_after_the_second_delivery(tmp_path: Path) -> None:
    with ServerProcess(classic_server(tmp_path, "--relayed")) as server:
        alice = register(server.address, "alice")
        exchange(server.address, send_to_self(alice))
        shown = [len(parse_messages(exchange(server.address, fetch_request(alice)))) for _ in range(3)]
    assert shown == [1, 1, 0]
