"""Subscriptions: the window, who has it, and that nothing is lost between two of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hushpost.settings import PostLimits, Rate, Rates
from hushpost.wire.limits import HEADER_SIZE, MAX_BODY
from hushpost.wire.messages import (
    Acknowledge,
    Acknowledged,
    Envelopes,
    ErrorCode,
    GetEnvelopes,
    Push,
    Subscribe,
    Subscribed,
    Taken,
)
from tests.server.serving import Client, alice_and_bob, deliver, settings

SMALL = HEADER_SIZE + 6
"""An envelope with the body `sealed`."""


async def pushed(client: Client) -> list[int]:
    """The sequences of the next push."""
    event = await client.event()
    assert isinstance(event, Push), event
    return [each.sequence for each in event.envelopes]


async def nothing_more(client: Client) -> None:
    """Whatever was going to be pushed would be here before the answer to another request."""
    await client.expect(Envelopes, GetEnvelopes(0, bytes(16), 0, 1, 1))
    await asyncio.sleep(0)
    await client.expect(Envelopes, GetEnvelopes(0, bytes(16), 0, 1, 1))
    assert client.events == []


async def test_what_waits_and_what_comes(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (_, one), (bob, other)):
        waiting = [await deliver(one, bob) for _ in range(3)]
        answer = await other.expect(Subscribed, Subscribe(0, served.store.epoch, waiting[0], 1 << 20))
        assert answer.epoch == served.store.epoch
        assert await pushed(other) == waiting[1:]
        live = await deliver(one, bob, b"live")
        assert await pushed(other) == [live]


async def test_a_cursor_of_another_epoch_means_from_the_beginning(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (_, (_, one), (bob, other)):
        waiting = [await deliver(one, bob) for _ in range(2)]
        await other.expect(Subscribed, Subscribe(0, bytes(16), waiting[-1], 1 << 20))
        assert await pushed(other) == waiting


async def test_no_more_than_the_window_is_in_flight(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (_, one), (bob, other)):
        epoch = served.store.epoch
        waiting = [await deliver(one, bob) for _ in range(5)]
        await other.expect(Subscribed, Subscribe(0, epoch, 0, 2 * SMALL + 1))
        assert await pushed(other) == waiting[:2]
        await nothing_more(other)
        await other.expect(Acknowledged, Acknowledge(0, epoch, [waiting[1]]))
        assert await pushed(other) == waiting[2:3]
        await nothing_more(other)
        await other.expect(Acknowledged, Acknowledge(0, epoch, [], waiting[2]))
        assert await pushed(other) == waiting[3:]


async def test_one_envelope_is_always_in_flight_however_large(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (_, one), (bob, other)):
        epoch = served.store.epoch
        small = await deliver(one, bob)
        large = [await deliver(one, bob, bytes(MAX_BODY)) for _ in range(2)]
        await other.expect(Subscribed, Subscribe(0, epoch, 0, SMALL * 3))
        assert await pushed(other) == [small]
        await nothing_more(other)
        for sequence in (small, *large[:1]):
            await other.expect(Acknowledged, Acknowledge(0, epoch, [sequence]))
            assert len(await pushed(other)) == 1
        await nothing_more(other)


async def test_the_server_may_use_a_smaller_window(tmp_path: Path) -> None:
    limits = PostLimits(window=1)
    async with alice_and_bob(settings(tmp_path, limits=limits)) as (served, (_, one), (bob, other)):
        waiting = [await deliver(one, bob) for _ in range(3)]
        await other.expect(Subscribed, Subscribe(0, served.store.epoch, 0, 1 << 20))
        assert await pushed(other) == waiting[:1]
        await nothing_more(other)


async def test_a_newer_subscription_takes_the_olders_place(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (_, one), (bob, other)):
        subscribe = Subscribe(0, served.store.epoch, 0, 1 << 20)
        await other.expect(Subscribed, subscribe)
        async with await served.login(bob) as newer:
            await newer.expect(Subscribed, subscribe)
            assert await other.event() == Taken()
            live = await deliver(one, bob)
            assert await pushed(newer) == [live]
            await nothing_more(other)
            # It may take it back; and whoever subscribes twice on one connection loses nothing by it.
            await other.expect(Subscribed, subscribe)
            assert await pushed(other) == [live]
            assert await newer.event() == Taken()
            await other.expect(Subscribed, subscribe)
            assert await pushed(other) == [live]
        assert len(served.office.subscriptions) == 1


async def test_another_connection_of_the_device_may_acknowledge(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (_, one), (bob, other)):
        waiting = [await deliver(one, bob) for _ in range(2)]
        await other.expect(Subscribed, Subscribe(0, served.store.epoch, 0, 1))
        assert await pushed(other) == waiting[:1]
        async with await served.login(bob) as second:
            await second.expect(Acknowledged, Acknowledge(0, served.store.epoch, [], waiting[0]))
        assert await pushed(other) == waiting[1:]


async def test_a_subscription_ends_with_its_connection(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (_, one), (bob, other)):
        subscribe = Subscribe(0, served.store.epoch, 0, 1 << 20)
        await other.expect(Subscribed, subscribe)
        await other.close()
        waiting = await deliver(one, bob)
        async with await served.login(bob) as again:
            await again.expect(Subscribed, subscribe)
            assert await pushed(again) == [waiting]


async def test_a_reader_that_does_not_keep_up_gets_everything_in_the_end(tmp_path: Path) -> None:
    """The window is wider than what sockets hold: writing pauses, and goes on."""
    limits = PostLimits(window=64 << 20)
    async with alice_and_bob(settings(tmp_path, limits=limits)) as (served, (_, one), (bob, other)):
        await other.close()
        waiting = [await deliver(one, bob, bytes(MAX_BODY)) for _ in range(60)]
        async with await served.connect(receive_buffer=4_096) as slow:
            await slow.login(bob)
            await slow.expect(Subscribed, Subscribe(0, served.store.epoch, 0, 1 << 30))
            waiting.append(await deliver(one, bob))  # and nobody reads what is pushed meanwhile
            received: list[int] = []
            while len(received) < len(waiting):
                received += await pushed(slow)
            assert received == waiting


async def test_subscriptions_are_counted_by_account(tmp_path: Path) -> None:
    rates = Rates(subscriptions=Rate(1, 60))
    async with alice_and_bob(settings(tmp_path, rates=rates)) as (served, (_, one), _):
        subscribe = Subscribe(0, served.store.epoch, 0, 1)
        await one.expect(Subscribed, subscribe)
        assert (await one.refused(subscribe)).error == ErrorCode.RATE_LIMITED
