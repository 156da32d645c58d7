"""One connection: whom it trusts, how answers find their requests, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from hushpost.client import link as linking
from hushpost.client.link import Address, Identity, Link, connect
from hushpost.client.refusals import Denied, RetryLater, refusal
from hushpost.crypto.identity import (
    CertificateDigest,
    ClientNonce,
    Login,
    ServerFault,
    ServerNonce,
    ServerSecret,
    ServerStatement,
    Signature,
)
from hushpost.errors import (
    HushpostError,
    ProtocolError,
    Refused,
    ServerUntrusted,
    StaleDevices,
    StaleSeal,
    StoreFull,
    Unreachable,
)
from hushpost.wire.messages import (
    Authenticate,
    Authenticated,
    Error,
    ErrorCode,
    GetUsage,
    Hello,
    Push,
    RequestMessage,
    Subscribe,
    Subscribed,
    UsageAnswer,
    WaitingEnvelope,
)
from tests.client.clocks import ManualClock
from tests.client.fakeserver import EPOCH, NOW, Credentials, FakeServer, Reply, serving
from tests.crypto.people import ALICE

CLOCK = ManualClock(NOW)
WHO = Identity(ALICE.account.id, ALICE.first().devices[0].id, ALICE.hand.signer)


@pytest.fixture(name="credentials")
def fresh_credentials(tmp_path: Path) -> Credentials:
    return Credentials(tmp_path)


def polite(
    credentials: Credentials, more: Callable[[RequestMessage], list[Reply]] = lambda _: []
) -> Callable[[RequestMessage], list[Reply]]:
    """Greets and lets everybody in; the rest is `more`."""

    def script(request: RequestMessage) -> list[Reply]:
        if isinstance(request, Hello):
            return [credentials.hello(request)]
        if isinstance(request, Authenticate):
            return [Authenticated(request.number, 0, 0, 50)]
        return more(request)

    return script


async def logged_in(server: FakeServer) -> Link:
    link, greeting = await connect(server.address, None, CLOCK)
    await link.authenticate(greeting, WHO)
    return link


async def test_a_login_is_signed_over_what_both_saw(credentials: Credentials) -> None:
    async with serving(credentials, polite(credentials)) as server:
        link, greeting = await connect(server.address, None, CLOCK)
        assert await link.authenticate(greeting, WHO) == Authenticated(2, 0, 0, 50)
        await link.close()
    hello, login = server.seen
    assert isinstance(hello, Hello)
    assert isinstance(login, Authenticate)
    expected = Login(
        credentials.secret.public.fingerprint,
        CertificateDigest.of(credentials.certificate),
        ServerNonce(bytes(32)),
        ClientNonce(hello.client_nonce),
        WHO.account,
        WHO.device,
    )
    assert expected.is_signed(ALICE.hand.key, Signature(login.signature))
    assert greeting.statement == ServerStatement.decode(credentials.statement)


async def test_answers_in_any_order_find_their_requests(credentials: Credentials) -> None:
    held: list[RequestMessage] = []

    def script(request: RequestMessage) -> list[Reply]:
        held.append(request)
        if len(held) < 20:
            return []
        return [UsageAnswer(each.number, {"n": str(each.number)}) for each in reversed(held)]

    async with serving(credentials, polite(credentials, script)) as server:
        link = await logged_in(server)
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(link.ask(GetUsage(0), UsageAnswer)) for _ in range(20)]
        assert [each.result().stored["n"] for each in asked] == [str(each.number) for each in held]
        await link.close()


async def test_more_requests_than_may_be_open_wait_their_turn(credentials: Credentials) -> None:
    def answer(request: RequestMessage) -> list[Reply]:
        return [UsageAnswer(request.number, {})]

    async with serving(credentials, polite(credentials, answer)) as server:
        link = await logged_in(server)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(600):
                tasks.create_task(link.ask(GetUsage(0), UsageAnswer))
        assert len(server.seen) == 602
        await link.close()


async def test_a_caller_that_gave_up_does_not_disturb_the_rest(credentials: Credentials) -> None:
    held: list[RequestMessage] = []

    def script(request: RequestMessage) -> list[Reply]:
        held.append(request)
        return [UsageAnswer(each.number, {}) for each in held] if len(held) == 2 else []

    async with serving(credentials, polite(credentials, script)) as server:
        link = await logged_in(server)
        first = asyncio.create_task(link.ask(GetUsage(0), UsageAnswer))
        while not held:
            await asyncio.sleep(0.001)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert await link.ask(GetUsage(0), UsageAnswer) == UsageAnswer(4, {})
        await link.close()


@pytest.mark.parametrize("kind", ["other-key", "other-certificate", "older", "expired"])
async def test_another_server_is_told_nothing(credentials: Credentials, tmp_path: Path, kind: str) -> None:
    pin = credentials.secret.public.fingerprint
    known: ServerStatement | None = None
    clock = CLOCK
    shown = credentials
    expected: ServerFault
    match kind:
        case "other-key":
            pin, expected = ServerSecret.random().public.fingerprint, ServerFault.WRONG_SERVER
        case "other-certificate":
            shown = Credentials(tmp_path, serial=2, secret=credentials.secret)
            shown.statement, expected = credentials.statement, ServerFault.WRONG_CERTIFICATE
        case "older":
            newer = Credentials(tmp_path, serial=2, secret=credentials.secret)
            known, expected = ServerStatement.decode(newer.statement), ServerFault.OLD_SERIAL
        case _:
            clock, expected = ManualClock(NOW + 500 * 86_400), ServerFault.EXPIRED
    async with serving(shown, polite(shown)) as server:
        with pytest.raises(ServerUntrusted) as refused:
            await connect(Address(server.address.host, server.address.port, pin), known, clock)
        assert refused.value.reason == expected
        assert [type(each) for each in server.seen] == [Hello]


async def test_who_waits_is_told_when_the_connection_breaks(credentials: Credentials) -> None:
    async with serving(credentials, polite(credentials)) as server:
        link = await logged_in(server)
        asked = asyncio.create_task(link.ask(GetUsage(0), UsageAnswer))
        pushed = asyncio.create_task(link.next_push())
        while len(server.seen) < 3:
            await asyncio.sleep(0.001)
        server.writers[0].transport.abort()
        for task in (asked, pushed):
            with pytest.raises(Unreachable):
                await task
        with pytest.raises(Unreachable):
            await link.ask(GetUsage(0), UsageAnswer)
        await link.close()
        await link.close()


async def test_a_flood_of_pushes_ends_the_connection(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linking, "MAX_PUSHED", 7_000)
    push = Push([WaitingEnvelope(1, bytes(16), 1, bytes(1_648), b"body", False)])

    def flood(request: RequestMessage) -> list[Reply]:
        return [Subscribed(request.number, EPOCH), push, push, push, push]

    async with serving(credentials, polite(credentials, flood)) as server:
        link = await logged_in(server)
        await link.ask(Subscribe(0, EPOCH, 0, 1 << 20), Subscribed)
        for _ in range(3):
            assert await link.next_push() == push
        with pytest.raises(ProtocolError, match="window"):
            await link.next_push()
        await link.close()


async def test_an_empty_push_ends_the_connection(credentials: Credentials) -> None:
    """Or a server could fill our memory with what has no bytes to speak of."""

    def flood(request: RequestMessage) -> list[Reply]:
        return [Subscribed(request.number, EPOCH), Push([]), Push([])]

    async with serving(credentials, polite(credentials, flood)) as server:
        link = await logged_in(server)
        await link.ask(Subscribe(0, EPOCH, 0, 1 << 20), Subscribed)
        with pytest.raises(ProtocolError, match="nothing"):
            await link.next_push()
        await link.close()


@pytest.mark.parametrize("rubbish", [bytes(200), b"\x03\xe8\x03\xff\xff\xff\xff"], ids=["zeros", "endless"])
async def test_a_server_that_breaks_the_protocol_is_left(credentials: Credentials, rubbish: bytes) -> None:
    async with serving(credentials, polite(credentials, lambda _: [rubbish])) as server:
        link = await logged_in(server)
        with pytest.raises(ProtocolError):
            await link.ask(GetUsage(0), UsageAnswer)
        assert isinstance(link.failure, ProtocolError)
        await link.close()


async def test_nobody_there_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        await connect(Address("127.0.0.1", 1, ServerSecret.random().public.fingerprint), None, CLOCK)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_refusal_is_typed_and_repeats_nothing(code: ErrorCode) -> None:
    error = refusal(Error(1, code, "SERVERTEXT", 7, [b"detail" * 10]))
    assert isinstance(error, HushpostError)
    assert "SERVERTEXT" not in str(error) + error.hint


def test_refusals_carry_what_helps() -> None:
    def made(code: str, retry: int | None = None, *detail: bytes) -> HushpostError:
        return refusal(Error(1, code, "", retry, list(detail)))

    later, full = made(ErrorCode.RATE_LIMITED, 7), made(ErrorCode.FULL, 9)
    assert isinstance(later, RetryLater)
    assert isinstance(full, StoreFull)
    assert (later.retry_after, full.retry_after) == (7, 9)
    devices, seals = (
        made(ErrorCode.STALE_DEVICES, None, b"m"),
        made(ErrorCode.STALE_SEAL, None, bytes(16) + b"k"),
    )
    assert isinstance(devices, StaleDevices)
    assert isinstance(seals, StaleSeal)
    assert devices.manifest == b"m"
    assert seals.keys == {bytes(16): b"k"}
    assert isinstance(made(ErrorCode.DENIED), Denied)
    assert type(made("from-the-future")) is Refused
    assert isinstance(made("from-the-future", 5), RetryLater)
    assert isinstance(made(ErrorCode.RATE_LIMITED, 10**9), RetryLater)
