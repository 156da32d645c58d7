"""Sending, reading, acknowledging, subscribing: over real TLS."""

from __future__ import annotations

from pathlib import Path

from hushpost.wire.messages import (
    Acknowledge,
    Acknowledged,
    Envelopes,
    ErrorCode,
    GetEnvelopes,
    Push,
    Stored,
    Subscribe,
    Subscribed,
)
from tests.server.serving import alice_and_bob, deliver, letter, settings


async def test_a_letter_waits_until_it_is_acknowledged(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (alice, one), (bob, other)):
        send = letter(bob, b"for bob")
        first = await one.expect(Stored, send)
        assert (await one.expect(Stored, send)).sequences == first.sequences
        get = GetEnvelopes(0, served.store.epoch, 0, 10, 1 << 20)
        page = await other.expect(Envelopes, get)
        assert [(each.sequence, each.body) for each in page.envelopes] == [(first.sequences[0], b"for bob")]
        assert not page.more
        again = await other.expect(Envelopes, get)
        assert again.envelopes == page.envelopes
        await other.expect(Acknowledged, Acknowledge(0, served.store.epoch, first.sequences))
        assert (await other.expect(Envelopes, get)).envelopes == []
        assert (await one.refused(letter(alice, at=0))).error == ErrorCode.STALE_ID


async def test_pushed_as_it_comes(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (_, one), (bob, other)):
        waiting = await deliver(one, bob, b"waiting")
        await other.expect(Subscribed, Subscribe(0, served.store.epoch, 0, 1 << 20))
        pushed = await other.event()
        assert isinstance(pushed, Push)
        assert [each.sequence for each in pushed.envelopes] == [waiting]
        live = await deliver(one, bob, b"live")
        pushed = await other.event()
        assert isinstance(pushed, Push)
        assert [(each.sequence, each.body) for each in pushed.envelopes] == [(live, b"live")]
