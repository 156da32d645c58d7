"""What does not open before anybody has claimed anything: noted, dropped, acknowledged."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from hushpost.client.values import Alarmed, Requested
from hushpost.crypto.content import Text
from hushpost.crypto.faults import EnvelopeFault
from hushpost.crypto.seal import Header
from hushpost.errors import EnvelopeError
from tests.client.people import SmallTown, in_time, received
from tests.client.strangers import Stranger


def put(at: int, new: bytes) -> Callable[[bytes], bytes]:
    return lambda raw: raw[:at] + new + raw[at + len(new) :]


HARM = {
    EnvelopeFault.HEADER: put(0, b"\2"),
    EnvelopeFault.OLM_MESSAGE: put(68, b"\xff"),
    EnvelopeFault.WRONG_SESSION: put(49, bytes(16)),
}
"""To the sealed bytes of a header. The seal itself is harmed from outside."""


@pytest.mark.parametrize("fault", [EnvelopeFault.SEAL, *HARM], ids=lambda fault: fault.name)
async def test_what_anybody_can_make_is_noted_and_dropped(
    town: SmallTown, monkeypatch: pytest.MonkeyPatch, fault: EnvelopeFault
) -> None:
    await town.join("bob")
    victim = town.joined["bob"].link.account.id
    stranger = Stranger(town.server)
    encode = Header.encode
    async with town.open("bob") as (bob,):
        await in_time(bob.settled())
        if fault in HARM:
            monkeypatch.setattr(Header, "encode", lambda header: HARM[fault](encode(header)))
        harmed = await stranger.write(victim, Text("one"), stranger.introduction)
        monkeypatch.setattr(Header, "encode", encode)
        if fault is EnvelopeFault.SEAL:
            (sealed,) = harmed.deliveries
            broken = msgspec.structs.replace(sealed, header=bytes(len(sealed.header)))
            harmed = msgspec.structs.replace(harmed, deliveries=(broken,))
        await stranger.deliver(harmed)
        await stranger.send(victim, Text("two"), stranger.introduction)
        assert [each.text for each in await in_time(received(bob, 1))] == ["two"]
        await in_time(bob.settled())
        (step,) = await bob._ctx.db.reading(lambda t: t.story.of(harmed.envelope))
        assert step[1] == f"dropped: {EnvelopeError(fault)}"
        assert await bob._ctx.db.reading(lambda t: t.undecryptable.every()) == ()
        events = await bob.pending("judge")
        assert not [each for each in events if isinstance(each, Alarmed)]
        assert len([each for each in events if isinstance(each, Requested)]) == 1
        assert (await bob.usage())["waiting-envelopes"] == "0, 0 bytes"
