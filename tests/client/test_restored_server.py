"""A server that was restored from a backup: what it has of our keys is old, and must not stay so."""

from __future__ import annotations

import msgspec

from hushpost.client.values import Alarm, Alarmed, Delivery
from hushpost.crypto.prekeys import SealPrekey
from hushpost.crypto.primitives import sha256
from hushpost.wire.messages import (
    HelloAnswer,
    PublishKeys,
    RequestMessage,
    ResponseMessage,
    SendEnvelope,
    Subscribe,
    Subscribed,
)
from tests.client.people import SmallTown, befriend, first_event, in_time, received, until

NEW_EPOCH = b"2" * 16


def restore(town: SmallTown) -> None:
    """From now on, the server's store has another epoch."""

    def twist(_: RequestMessage, answer: ResponseMessage) -> ResponseMessage:
        if isinstance(answer, HelloAnswer | Subscribed):
            return msgspec.structs.replace(answer, epoch=NEW_EPOCH)
        return answer

    town.server.twist = twist


def uploads(town: SmallTown) -> list[PublishKeys]:
    return [each for each in town.server.seen if isinstance(each, PublishKeys)]


async def upload(town: SmallTown, known: int) -> PublishKeys:
    """The first upload behind so many."""

    async def came() -> bool:
        return len(uploads(town)) > known

    await until(came)
    return uploads(town)[known]


async def test_every_key_and_the_token_are_published_again(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        _, to_alice = await befriend(town, alice, bob)
        await bob.send(to_alice.account, "with a token")
        await in_time(received(alice, 1))
    sends = [each for each in town.server.seen if isinstance(each, SendEnvelope)]
    token = [each.delivery_token for each in sends if each.account == to_alice.account][-1]
    known = len(uploads(town))
    restore(town)
    async with town.open("alice") as (alice,):
        again = await upload(town, known)
        await in_time(alice.settled())
        event = await in_time(first_event(alice, Alarmed))
        assert isinstance(event, Alarmed)
        assert event.alarm is Alarm.RESTORED
    assert again.replace_all
    assert len(again.one_time_keys) == 50
    assert again.fallback_key
    assert SealPrekey.decode(again.seal_key).key_id == 1
    assert again.delivery_token_hash == sha256(token)
    known = len(uploads(town))
    async with town.open("alice") as (alice,):
        await in_time(alice.settled())
    assert not [each for each in uploads(town)[known:] if each.replace_all]
    cursors = [each for each in town.server.seen if isinstance(each, Subscribe)]
    assert cursors[-2].epoch != NEW_EPOCH  # so the server gave everything that it has
    assert cursors[-1].epoch == NEW_EPOCH


async def test_an_upload_that_was_cut_off_is_repeated(town: SmallTown) -> None:
    await town.join("alice")
    async with town.open("alice") as (alice,):
        await in_time(alice.settled())
    known = len(uploads(town))
    restore(town)
    twist, cut = town.server.twist, [True]

    def cut_off(request: RequestMessage, answer: ResponseMessage) -> ResponseMessage:
        if isinstance(request, PublishKeys) and cut:
            cut.clear()
            town.server.cut()
        return twist(request, answer)

    town.server.twist = cut_off
    async with town.open("alice"):
        first = await upload(town, known)
    async with town.open("alice"):
        second = await upload(town, known + 1)
    assert (second.replace_all, second.seal_key, second.fallback_key, second.one_time_keys) == (
        first.replace_all,
        first.seal_key,
        first.fallback_key,
        first.one_time_keys,
    )


async def test_what_was_accepted_before_is_in_doubt(town: SmallTown) -> None:
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice") as (alice,):
        bob = await alice.add(town.link("bob"))
        sent = await alice.send(bob.account, "is it there?")
        await in_time(alice.reached(sent.id, Delivery.ACCEPTED))
        assert not (await alice.message(sent.id)).remark
    restore(town)
    async with town.open("alice") as (alice,):
        await in_time(first_event(alice, Alarmed))
        in_doubt = await alice.message(sent.id)
        assert in_doubt.delivery is Delivery.ACCEPTED
        assert "restored from a backup" in in_doubt.remark
