"""Messages that a server keeps back are shown; what only comes late, or was never stored, is not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hushpost.client.api import Client
from hushpost.client.values import Alarm, Alarmed, Message, Received
from hushpost.errors import HushpostError, StaleDevices, UnknownAccount
from hushpost.stores.base import SealedSend
from hushpost.wire.messages import WaitingEnvelope
from tests.client.people import SmallTown, befriend, in_time, received, until


async def missing(client: Client) -> list[str]:
    """The details of what was told to be missing."""
    events = await client.pending("judge", limit=1_000)
    return [each.detail for each in events if isinstance(each, Alarmed) and each.alarm is Alarm.MISSING]


async def last_message(client: Client) -> Message:
    events = await client.pending("judge", limit=1_000)
    return [each.message for each in events if isinstance(each, Received)][-1]


async def story(client: Client, message: Message) -> list[str]:
    return [what for _, what in (await client.explain(message.id)).steps]


async def test_what_is_kept_back_is_told(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, to_alice = await befriend(town, alice, bob)
        town.server.twist_push = lambda _: []
        for text in ("one", "two"):
            await alice.send(to_bob.account, text)
        await in_time(alice.settled())
        town.server.twist_push = list
        await alice.send(to_bob.account, "three")
        await in_time(received(bob, 1))
        assert await missing(bob) == []
        assert "before it, 2 of their messages are missing or late" in await story(
            bob, await last_message(bob)
        )

        async def is_told() -> bool:
            town.clock.move(61)
            return bool(await missing(bob))

        await until(is_told)
        town.clock.move(61)
        await in_time(bob.settled())
        assert await missing(bob) == ["2 messages"]
        events = await bob.pending("judge", limit=1_000)
        (alarm,) = [each for each in events if isinstance(each, Alarmed) and each.alarm is Alarm.MISSING]
        assert alarm.contact == to_alice.account


async def test_what_comes_late_is_no_alarm(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    kept: list[WaitingEnvelope] = []

    def keep(envelopes: list[WaitingEnvelope]) -> list[WaitingEnvelope]:
        kept.extend(envelopes)
        return []

    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
        town.server.twist_push = keep
        await alice.send(to_bob.account, "late")
        await in_time(alice.settled())
        town.server.twist_push = list
        await alice.send(to_bob.account, "early")
        await in_time(received(bob, 1))
        town.server.push_to(to_bob.devices[0], kept)
        await in_time(received(bob, 1))
        late = await last_message(bob)
        assert late.text == "late"
        assert "came late: later ones were here before it" in await story(bob, late)
        for _ in range(4):
            town.clock.move(61)
            await in_time(bob.settled())
        assert await missing(bob) == []


async def test_what_was_never_stored_leaves_no_gap(town: SmallTown, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encrypted anew after `stale-devices`, and given up after a refusal that is final."""
    await town.join("alice")
    await town.join("bob")
    append = town.server.store.append_sealed
    refusals: list[HushpostError] = [
        StaleDevices("other devices", manifest=b""),
        UnknownAccount("nobody"),
        StaleDevices("other devices", manifest=b""),
    ]

    async def refusing(send: SealedSend) -> Sequence[int]:
        if refusals:
            raise refusals.pop(0)
        return await append(send)

    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
        monkeypatch.setattr(town.server.store, "append_sealed", refusing)
        for text in ("given up", "encrypted twice", "the last"):
            await alice.send(to_bob.account, text)
        assert [each.text for each in await in_time(received(bob, 2))] == ["encrypted twice", "the last"]
        assert refusals == []
        for _ in range(3):
            town.clock.move(61)
            await in_time(bob.settled())
        assert await missing(bob) == []
        assert await story(bob, await last_message(bob)) == ["received, decrypted and stored"]
