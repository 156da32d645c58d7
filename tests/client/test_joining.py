"""Links that were changed on their way, and servers that let nobody in: neither spoils the profile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from hushpost.client.api import Client
from hushpost.client.context import Context
from hushpost.client.people import add
from hushpost.client.refusals import Denied
from hushpost.client.values import Alarm, Alarmed, Delivery
from hushpost.crypto.identity import AccountFingerprint, Authority, ContactLink
from hushpost.errors import InviteInvalid, OldCopy, UsageError
from hushpost.wire.messages import (
    Authenticate,
    Authenticated,
    Error,
    ErrorCode,
    Register,
    RequestMessage,
    ResponseMessage,
)
from tests.client.people import SmallTown, in_time
from tests.client.smallserver import small_server


def nobody(request: RequestMessage, answer: ResponseMessage) -> ResponseMessage:
    """No registration is good enough."""
    if isinstance(request, Register):
        return Error(request.number, ErrorCode.INVITE_INVALID, "")
    return answer


async def test_an_inviter_that_was_changed_in_the_link(town: SmallTown) -> None:
    """An alarm, once, and everything else works."""
    await town.join("alice")
    right = town.joined["alice"].link.account
    wrong = AccountFingerprint(right[:31] + bytes([right[31] ^ 1]))
    link = await town.server.invite(wrong)
    town.joined["bob"] = await Client.join(town.profile("bob"), link, "bob", clock=town.clock)
    for _ in range(2):
        async with town.open("bob") as (bob,):
            await in_time(bob.settled())
            events = await bob.pending("judge")
            assert [each.alarm for each in events if isinstance(each, Alarmed)] == [Alarm.BAD_MANIFEST]
            message = await bob.send((await bob.add(town.link("alice"))).account, "hello all the same")
            await in_time(bob.reached(message.id, Delivery.ACCEPTED))


async def test_another_server_after_one_that_refused(town: SmallTown, tmp_path: Path) -> None:
    town.server.twist = nobody
    profile = town.profile("carol")
    with pytest.raises(InviteInvalid):
        await Client.join(profile, await town.server.invite(), "carol", clock=town.clock)
    (tmp_path / "other").mkdir()
    async with small_server(tmp_path / "other", town.clock) as other:
        joined = await Client.join(profile, await other.invite(), "carol", clock=town.clock)
        assert joined.link.port == other.port
        async with town.open("carol") as (carol,):
            await in_time(carol.settled())


async def test_an_authority_vouches_for_names(town: SmallTown) -> None:
    """Two servers with certificates of an authority are still two."""
    await town.join("alice")
    async with town.open("alice") as (alice,):
        ctx = alice._ctx
        me = replace(ctx.me, home=replace(ctx.me.home, host="here.example", pin=Authority.CA))
        there = ContactLink("there.example", 4000, Authority.CA, town.joined["alice"].link.account, "bob")
        async with alice._keeper.link() as link:
            with pytest.raises(UsageError, match="another server"):
                await add(Context(ctx.db, ctx.clock, me), link, there)


async def test_one_denial_is_asked_about_again(town: SmallTown) -> None:
    """Two are an answer."""
    await town.join("alice")
    denials = 1

    def deny(request: RequestMessage, answer: ResponseMessage) -> ResponseMessage:
        nonlocal denials
        if isinstance(request, Authenticate) and denials:
            denials -= 1
            return Error(request.number, ErrorCode.DENIED, "")
        return answer

    town.server.twist = deny
    async with town.open("alice") as (alice,):
        await in_time(alice.settled())
        denials = 2
        before = len([each for each in town.server.seen if isinstance(each, Authenticate)])
    async with town.open("alice") as (alice,):
        with pytest.raises(Denied):
            await in_time(alice.settled())
    assert len([each for each in town.server.seen if isinstance(each, Authenticate)]) == before + 2


async def test_one_wrong_position_makes_no_old_copy(town: SmallTown) -> None:
    await town.join("alice")
    lies = 1

    def lie(_: RequestMessage, answer: ResponseMessage) -> ResponseMessage:
        nonlocal lies
        if isinstance(answer, Authenticated) and lies:
            lies -= 1
            return msgspec.structs.replace(answer, acknowledged=5)
        return answer

    town.server.twist = lie
    async with town.open("alice") as (alice,):
        await in_time(alice.settled())
        lies = 2
    async with town.open("alice") as (alice,):
        with pytest.raises(OldCopy):
            await in_time(alice.settled())
