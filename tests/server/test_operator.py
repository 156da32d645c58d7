"""The operator's desk and its socket: what is asked, who may ask, and nonsense."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hushpost.crypto.identity import InviteToken, JoinLink, ServerFingerprint, parse_link
from hushpost.errors import ExitCode, StoreUnusable
from hushpost.server.operator import (
    SOCKET_FILE,
    Backup,
    Command,
    Desk,
    GetStats,
    Invite,
    ListAccounts,
    ListInvitations,
    Revoke,
    attend,
    bind_socket,
)
from hushpost.stores.post.sqlite import SqlitePost
from hushpost.wire.messages import Registered
from tests.crypto.people import ALICE
from tests.server.serving import Keeper, serving, settings

SERVER = ServerFingerprint(bytes(range(32)))
NOW = 1_800_000_000


def ask(path: Path, raw: bytes) -> Any:
    """One request and its answer, as a program of its own would."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(1 << 16):
            answer += piece
    return msgspec.json.decode(answer) if answer else None


@asynccontextmanager
async def attended(folder: Path) -> AsyncIterator[Callable[[Command | bytes], Any]]:
    """A desk with an open socket, on a real store; gives what asks it."""
    store = await SqlitePost.open(folder / "post.db", clock=lambda: NOW)
    desk = Desk(store, store, SERVER, ("post.example.org", 4747), lambda: NOW)
    server = await attend(desk, await asyncio.to_thread(bind_socket, folder))

    async def given(command: Command | bytes) -> Any:
        raw = command if isinstance(command, bytes) else msgspec.json.encode(command) + b"\n"
        return await asyncio.to_thread(ask, folder / SOCKET_FILE, raw)

    try:
        yield given
    finally:
        server.close()
        await store.close()


async def test_invitations_from_beginning_to_end(tmp_path: Path) -> None:
    async with attended(tmp_path) as given:
        invited = await given(Invite(3, 3_600))
        link = parse_link(invited["link"])
        assert isinstance(link, JoinLink)
        assert isinstance(link.token, InviteToken)
        assert (link.host, link.port, link.server) == ("post.example.org", 4747, SERVER)
        known = {"invitation": invited["invitation"], "uses": 3, "expires": NOW + 3_600}
        assert await given(ListInvitations()) == [known]
        assert link.token.hex() not in str(await given(ListInvitations()))
        assert (await given(GetStats()))["invitations"] == 1
        assert await given(Revoke(invited["invitation"])) == {}
        assert await given(ListInvitations()) == []
        gone = await given(Revoke(invited["invitation"]))
        assert gone["exit_code"] == ExitCode.REFUSED
        assert "no such invitation" in gone["error"]


async def test_a_link_of_the_desk_lets_somebody_in(tmp_path: Path) -> None:
    alice = Keeper.of(ALICE)
    async with serving(settings(tmp_path)) as served, await served.connect() as client:
        backups = await SqlitePost.open(tmp_path / "unused.db")
        desk = Desk(served.store, backups, SERVER, served.address, served.office.clock)
        link = parse_link((await desk.invite(1, 60)).link)
        assert isinstance(link, JoinLink)
        assert isinstance(link.token, InviteToken)
        await client.hello()
        await client.expect(Registered, alice.register(bytes(link.token)))
        listed = await desk.carry_out(ListAccounts())
        assert msgspec.to_builtins(listed) == [{"account": ALICE.account.id.hex(), "name": "alice"}]
        assert await desk.carry_out(ListAccounts("alice")) == []
        await backups.close()


async def test_backups(tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with attended(tmp_path) as given:
        await given(Invite(1, 3_600))
        assert await given(Backup(str(copy))) == {}
        refused = await given(Backup(str(copy)))
        assert refused["exit_code"] == ExitCode.STORE_UNUSABLE
    store = await SqlitePost.open(copy, clock=lambda: NOW)
    assert await store.invitations() == [], "they may have been used or revoked since"
    await store.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"\n",
        b"{}\n",
        b"nonsense\n",
        b'{"command":"format"}\n',
        b'{"command":"invite","uses":0,"lifetime":1}\n',
        b'{"command":"invite","uses":"many","lifetime":1}\n',
        b'{"command":"revoke","token_hash":"xyz"}\n',
    ],
)
async def test_nonsense_is_refused_and_the_desk_stays(tmp_path: Path, raw: bytes) -> None:
    async with attended(tmp_path) as given:
        assert (await given(raw))["exit_code"] == ExitCode.USAGE
        assert (await given(GetStats()))["accounts"] == 0


async def test_half_a_request_and_too_long_a_one_end_quietly(tmp_path: Path) -> None:
    async with attended(tmp_path) as given:
        await given(b"")
        await given(bytes(1 << 17))
        assert (await given(GetStats()))["accounts"] == 0


async def test_only_the_owner_may_ask_and_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        listener = await asyncio.to_thread(bind_socket, tmp_path)
        mode = os.stat(tmp_path / SOCKET_FILE).st_mode
        assert stat.S_IMODE(mode) == 0o600
        listener.close()  # as kill -9 does: the file stays


async def test_a_path_that_is_too_long_for_a_socket_is_said(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    with pytest.raises(StoreUnusable) as caught:
        await asyncio.to_thread(bind_socket, deep)
    assert "shorter path" in caught.value.hint
