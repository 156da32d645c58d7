"""Looking after our keys: what a server says about them costs us only so much."""

from __future__ import annotations

from functools import partial

import pytest

from hushpost.client.api import Client
from hushpost.client.clock import Backoff
from hushpost.client.refusals import LONGEST_ASKED, RetryLater, refusal
from hushpost.client.store.prekeys import KEYS_A_DAY
from hushpost.client.upkeep import plan, settle
from hushpost.crypto.ratchet import ONE_TIME_KEYS
from hushpost.errors import StoreFull
from hushpost.wire.messages import Error, ErrorCode, KeysPublished
from tests.client.people import SmallTown, in_time

DAY = 86_400


async def keys_of(client: Client) -> int:
    """How many one-time keys there are when a server has said for long that none is left."""
    ctx = client._ctx
    for _ in range(2 * KEYS_A_DAY // ONE_TIME_KEYS):
        made = await ctx.db.transaction(lambda t: plan(t, ctx, 0))
        await ctx.db.transaction(partial(settle, ctx=ctx, done=made, answer=KeysPublished(0, 0, [])))
    return await ctx.db.reading(lambda t: t.prekeys.count())


async def test_a_server_that_never_has_enough_keys(town: SmallTown) -> None:
    """Their secrets would fill the disk, and each upload would take longer. Starting anew changes nothing."""
    await town.join("alice")
    for _ in range(2):
        async with town.open("alice") as (alice,):
            await in_time(alice.settled())
            assert await keys_of(alice) == KEYS_A_DAY
    town.clock.move(DAY)
    async with town.open("alice") as (alice,):
        assert await keys_of(alice) == 2 * KEYS_A_DAY


@pytest.mark.parametrize("code", [ErrorCode.FULL, ErrorCode.RATE_LIMITED, "not-known-yet"])
def test_no_server_makes_us_wait_for_a_year(code: str) -> None:
    later = refusal(Error(1, code, "", 2**62))
    assert isinstance(later, RetryLater | StoreFull)
    assert later.retry_after == LONGEST_ASKED


def test_what_was_asked_for_and_some_random_time_more() -> None:
    """Or all who were told the same come back in the same second."""
    waits = {Backoff(first=10).failed(at_least=60) for _ in range(50)}
    assert len(waits) > 10
    assert all(65 <= each <= 70 for each in waits)
