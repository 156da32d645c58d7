"""The classic requests over real sockets: answers, refusals, deadlines, and what strangers may not do."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushpost.classic import payloads
from hushpost.classic.payloads import REFUSAL, ClientId, MessageType, Request, SendPrefix
from hushpost.ids import AccountId, MailboxId
from hushpost.settings import ListenLimits
from hushpost.stores.base import Account, StoreLimits
from hushpost.wire.frames import RequestHeader
from tests.classic.server.serving import (
    ALICE,
    BOB,
    Peer,
    Served,
    fetch_request,
    register_request,
    send_request,
    serving,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "classic.json").read_text())
NEVER = ClientId(b"nobody at all...")


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as served:
        yield served


def raw(client: bytes, code: int, payload: bytes = b"", version: int = 2) -> bytes:
    return RequestHeader(client, version, code, len(payload)).encode() + payload


async def test_recorded_conversation_is_answered_byte_for_byte(served: Served) -> None:
    """The original's client, as recorded, with the ids that its server had given out."""
    frames = {
        name: tuple(bytes.fromhex(frame[side]) for side in ("request_hex", "response_hex"))
        for name, frame in VECTORS["frames"].items()
    }
    for name in ("alice", "bob"):
        account = Account(
            AccountId.parse(VECTORS["client_ids"][name]),
            f"recorded {name}",
            bytes.fromhex(VECTORS["public_key_spki_der_hex"][name]),
        )
        await served.store.register(account, MailboxId(account.id))
    replayed = [name for name in frames if name.startswith(("get_", "public_key", "send_"))]
    assert len(replayed) == 15
    for name in replayed:
        request, expected = frames[name]
        assert await served.exchange(request) == expected, name


async def test_register_list_and_key(served: Served) -> None:
    answer = await served.exchange(register_request("carol", b"k" * 160))
    assert answer[:7] == bytes.fromhex("02e80310000000")
    carol = answer[7:]
    listed = await served.exchange(raw(ALICE, Request.LIST_CLIENTS))
    assert listed[:7] == bytes.fromhex("02e9031e020000")  # two of three: not the one who asks
    entries = [listed[7 + i * 271 : 7 + (i + 1) * 271] for i in range(2)]
    assert entries == [bytes(BOB) + b"bob".ljust(255, b"\0"), carol + b"carol".ljust(255, b"\0")]
    key = await served.exchange(raw(ALICE, Request.PUBLIC_KEY, carol))
    assert key == bytes.fromhex("02ea03b0000000") + carol + b"k" * 160


@pytest.mark.parametrize("version", [0, 1, 3, 255])
async def test_any_version_is_accepted_and_answered_with_2(served: Served, version: int) -> None:
    assert await served.exchange(raw(ALICE, Request.GET_MESSAGES, version=version)) == bytes.fromhex(
        "02ec0300000000"
    )


def field(content: bytes, size: int = 255) -> bytes:
    return content.ljust(size, b"\0") + bytes(160)


REFUSED = {
    "unknown code": raw(ALICE, 99),
    "register: short": raw(ALICE, 100, bytes(414)),
    "register: long": raw(ALICE, 100, field(b"carol") + b"\0"),
    "register: one character": raw(ALICE, 100, field("é".encode())),
    "register: no NUL": raw(ALICE, 100, field(b"x" * 255)),
    "register: bad UTF-8 behind the NUL": raw(ALICE, 100, field(b"carol\0\xff")),
    "register: name taken": register_request("alice"),
    "list: payload": raw(ALICE, 101, b"x"),
    "list: stranger": raw(NEVER, 101),
    "key: short": raw(ALICE, 102, bytes(15)),
    "key: stranger": raw(NEVER, 102, ALICE),
    "key: of a stranger": raw(ALICE, 102, NEVER),
    "send: too short for its prefix": raw(ALICE, 103, bytes(20)),
    "send: sizes disagree": raw(ALICE, 103, SendPrefix(BOB, MessageType.TEXT, 5).encode() + b"1234"),
    "send: key request with content": send_request(ALICE, BOB, b"x", MessageType.KEY_REQUEST),
    "send: type 0": raw(ALICE, 103, BOB + b"\0" + bytes(4)),
    "send: type 5": raw(ALICE, 103, BOB + b"\5" + bytes(4)),
    "send: to a stranger": send_request(ALICE, NEVER, b"x"),
    "send: from a stranger": send_request(NEVER, BOB, b"x"),
    "send: large, to a stranger": send_request(ALICE, NEVER, bytes(100_000)),
    "send: large, from a stranger": send_request(NEVER, BOB, bytes(100_000)),
    "get: payload": raw(ALICE, 104, b"x"),
    "get: stranger": raw(NEVER, 104),
    "large, but no message": raw(ALICE, 101, bytes(100_000)),
    "over 1 GiB": RequestHeader(ALICE, 2, 103, (1 << 30) + 1).encode(),
    "ended in the header": bytes(10),
    "ended in the payload": send_request(ALICE, BOB, b"content")[:-1],
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refusals_change_nothing_and_arrive(served: Served, name: str) -> None:
    """9000 reaches also a peer that has sent more than was read: the server lingers."""
    async with await served.connect() as peer:
        await peer.send(REFUSED[name])
        peer.half_close()
        assert await peer.receive_all() == REFUSAL
    assert await served.waiting(BOB) == 0
    assert (await served.store.accounts_extent()).count == 2
    assert served.leftovers() == []


async def test_refused_giant_gets_its_answer_while_still_sending(served: Served) -> None:
    async with await served.connect() as peer:
        await peer.send(RequestHeader(ALICE, 2, 103, (1 << 32) - 1).encode() + bytes(1 << 20))
        assert await peer.receive(7) == REFUSAL


async def test_accepted_edges(served: Served) -> None:
    for request in (
        register_request("no"),
        register_request("n" * 254),
        raw(b"\xff" * 16, 100, field(b"line\nbreak")),
        raw(ALICE, 100, field(b"valid behind\0the NUL")),
        register_request("Alice"),
    ):
        assert (await served.exchange(request))[1:3] == (1000).to_bytes(2, "little")
    for kind in MessageType:
        assert (await served.exchange(send_request(ALICE, ALICE, b"", kind)))[1:3] == b"\xeb\x03"


async def test_half_close_after_the_request_is_fine(served: Served) -> None:
    async with await served.connect() as peer:
        await peer.send(send_request(ALICE, BOB, b"hello"))
        peer.half_close()
        assert (await peer.receive_all())[1:3] == b"\xeb\x03"


async def test_second_request_on_a_connection_is_ignored(served: Served) -> None:
    async with await served.connect() as peer:
        await peer.send(send_request(ALICE, BOB, b"first") + send_request(ALICE, BOB, b"second"))
        assert len(await peer.receive_all()) == 27
    assert [content for _, content in await served.fetch(BOB)] == [b"first"]


async def test_request_in_single_bytes(served: Served) -> None:
    request = send_request(ALICE, BOB, b"slowly")
    async with await served.connect() as peer:
        for position in range(len(request)):
            await peer.send(request[position : position + 1])
        assert (await peer.receive_all())[1:3] == b"\xeb\x03"


async def test_message_ids_are_one_sequence(served: Served) -> None:
    for expected, (sender, recipient) in enumerate([(ALICE, BOB), (BOB, ALICE), (ALICE, ALICE)], start=1):
        answer = await served.exchange(send_request(sender, recipient, b"x"))
        assert answer[7:] == recipient + expected.to_bytes(4, "little")


async def test_list_goes_over_pages(served: Served) -> None:
    for number in range(1_100):
        account = Account(AccountId(number.to_bytes(16, "big")), f"name {number}", bytes(160))
        await served.store.register(account, MailboxId(account.id))
    listed = await served.exchange(raw(BOB, Request.LIST_CLIENTS))
    names = [listed[at + 16 : at + 271].rstrip(b"\0").decode() for at in range(7, len(listed), 271)]
    assert names == ["alice", *(f"name {number}" for number in range(1_100))]


async def test_silent_and_dripping_peers_meet_one_deadline(tmp_path: Path) -> None:
    async with serving(tmp_path, ListenLimits(request_deadline=0.2)) as served:
        async with await served.connect() as silent, await served.connect() as dripping:

            async def drip() -> None:
                for byte in send_request(ALICE, BOB, bytes(1000)):
                    await dripping.send(bytes([byte]))
                    await asyncio.sleep(0.02)

            drops = asyncio.create_task(drip())
            assert await silent.receive_all() == REFUSAL
            assert await dripping.receive(7) == REFUSAL
            drops.cancel()
        assert await served.waiting(BOB) == 0


async def test_too_many_connections_of_one_address_are_refused_and_the_others_served(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, ListenLimits(per_address=2)) as served:
        first, second = await served.connect(), await served.connect()
        async with await served.connect() as third:
            assert await third.receive_all() == REFUSAL
        first.close()
        async with second:
            await second.send(send_request(ALICE, BOB, b"still served"))
            assert len(await second.receive_all()) == 27
        assert len(await served.fetch(BOB)) == 1


async def test_no_reset_overtakes_the_refusal_of_a_request_that_was_sent_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, ListenLimits(per_address=1)) as served, await served.connect() as first:
        await first.send(b"x")
        with socket.create_connection(served.address) as second:
            second.sendall(send_request(ALICE, BOB, bytes(10_000)))
            second.setblocking(False)
            loop = asyncio.get_running_loop()
            assert await loop.sock_recv(second, 100) == REFUSAL
            assert await loop.sock_recv(second, 100) == b""


async def test_above_the_connection_limit_newcomers_wait(tmp_path: Path) -> None:
    async with serving(tmp_path, ListenLimits(max_connections=2)) as served:
        first, second = await served.connect(), await served.connect()
        async with await served.connect() as third:
            await third.send(send_request(ALICE, BOB, b"I waited"))
            await first.send(fetch_request(ALICE))
            assert await first.receive_all() == bytes.fromhex("02ec0300000000")
            first.close()
            assert len(await third.receive_all()) == 27
        second.close()


async def test_full_inbox_is_refused_and_can_be_read(tmp_path: Path) -> None:
    async with serving(tmp_path, store_limits=StoreLimits(mailbox_count=2, min_free_bytes=0)) as served:
        answers = [await served.exchange(send_request(ALICE, BOB, b"x")) for _ in range(3)]
        assert [len(answer) for answer in answers] == [27, 27, 7]
        assert await served.exchange(send_request(ALICE, BOB, bytes(100_000))) == REFUSAL
        assert served.leftovers() == []
        assert len(await served.fetch(BOB)) == 2


async def test_stopping_closes_the_idle_and_finishes_the_begun(tmp_path: Path) -> None:
    request = send_request(ALICE, BOB, b"begun")

    async def finish(begun: Peer, idle: Peer) -> bytes:
        async with begun, idle:
            assert await idle.receive_all() == b""
            await begun.send(request[30:])
            return await begun.receive_all()

    async with serving(tmp_path) as served:
        idle, begun = await served.connect(), await served.connect()
        await begun.send(request[:30])
        await served.exchange(fetch_request(ALICE))  # by now the loop has seen what came before
        finishing = asyncio.create_task(finish(begun, idle))
    assert len(await finishing) == 27


async def test_garbage_never_stops_the_server(served: Served) -> None:
    for seed in range(50):
        garbage = bytes((seed * 7 + i * i) % 256 for i in range(seed * 13))
        async with await served.connect() as peer:
            await peer.send(garbage)
            peer.half_close()
            await peer.receive_all()
    assert len(await served.exchange(send_request(ALICE, BOB, b"alive"))) == 27


def test_refusal_is_the_seeds() -> None:
    assert payloads.REFUSAL.hex() == "02282300000000"
