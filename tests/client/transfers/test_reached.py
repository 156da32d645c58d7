"""A transfer that finds the server tells whoever waits to try again: its offer is a message."""

from __future__ import annotations

from hushpost.client.status import Phase
from hushpost.client.values import Delivery
from tests.client.people import SmallTown, befriend, in_time


async def test_an_offer_does_not_wait_for_the_next_attempt(town: SmallTown) -> None:
    """The clock stands still, so no wait between two attempts ever ends by itself."""
    await town.join("alice")
    await town.join("bob")
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
        town.server.cut()
        await in_time(alice._ctx.status.until(lambda state: state.phase is Phase.WAITING))
        source = town.folder / "file.bin"
        source.write_bytes(b"content")
        sent = await in_time(alice.send_file(to_bob.account, source))
        await in_time(alice.reached(sent.id, Delivery.ACCEPTED))
        assert alice.online
