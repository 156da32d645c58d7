"""What was accepted, kept names and pins: all of it outlives kill -9 of the real process."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path

from harness.device import LoadDevice
from harness.lines import Line, tls
from harness.process import ServerProcess, post_server
from hushpost.wire.messages import (
    Acknowledge,
    Acknowledged,
    Envelopes,
    Error,
    ErrorCode,
    GetEnvelopes,
    SendEnvelope,
    Stored,
)
from tests.server.serving import Client

EVERYTHING = GetEnvelopes(0, bytes(16), 0, 1_000, 1 << 20)


async def entered(address: tuple[str, int], device: LoadDevice, *, register: bool = False) -> Line:
    line = await Line.connect(address, tls())
    await line.enter(device, register=register)
    return line


async def send_until_killed(
    line: Line, to: LoadDevice, server: ServerProcess, kill_after: int
) -> list[SendEnvelope]:
    """The sends that were answered, one after the other; then kill -9 with one more on its way."""
    accepted = []
    for number in range(kill_after):
        letter = to.letter(b"%d" % number)
        await line.ask(Stored, letter)
        accepted.append(letter)
    line.transport.write(line.wire.send(to.letter(b"on its way")))
    await asyncio.to_thread(server.kill)
    line.close()
    return accepted


async def test_what_was_accepted_outlives_the_process(tmp_path: Path) -> None:
    alice, bob = LoadDevice("alice"), LoadDevice("bob")
    server = await asyncio.to_thread(ServerProcess, post_server(tmp_path, "--open"))
    port = server.address[1]
    line = await entered(server.address, alice, register=True)
    (await entered(server.address, bob, register=True)).close()
    accepted = await send_until_killed(line, bob, server, 20)
    server = await asyncio.to_thread(ServerProcess, post_server(tmp_path, port=port))
    try:
        line, reader = await entered(server.address, alice), await entered(server.address, bob)
        first = await reader.ask(Envelopes, EVERYTHING)
        bodies = [each.body for each in first.envelopes]
        assert [each.body for each in accepted] == [body for body in bodies if body != b"on its way"]
        assert len(bodies) == len(set(bodies))
        sequences = [each.sequence for each in first.envelopes]
        for letter, sequence in zip(accepted, sequences, strict=False):
            assert (await line.ask(Stored, letter)).sequences == [sequence]
        await reader.ask(Acknowledged, Acknowledge(0, first.epoch, [], sequences[-1]))
        assert (await reader.ask(Envelopes, EVERYTHING)).envelopes == []
        line.close()
        reader.close()
        again = await Client.connect(server.address)
        await again.hello()
        taken = await again.expect(Error, LoadDevice("alice").register(b""))
        assert taken.error == ErrorCode.INVITE_INVALID  # --open was for the first run only
        await again.close()
    finally:
        await asyncio.to_thread(server.stop)


async def test_the_disk_tells_no_sender_and_no_secret(tmp_path: Path) -> None:
    """Whoever steals the folder sees recipients, sizes and times; who wrote is in none of it."""
    alice, bob = LoadDevice("alice"), LoadDevice("bob")
    server = await asyncio.to_thread(ServerProcess, post_server(tmp_path, "--open"))
    line = await entered(server.address, alice, register=True)
    (await entered(server.address, bob, register=True)).close()
    letter = bob.letter(sha256(b"a sealed body").digest())
    await line.ask(Stored, letter)
    line.close()
    await asyncio.to_thread(server.kill)
    held = contents(tmp_path)
    assert letter.body in held, "the envelope is there"
    assert letter.delivery_token not in held, "of the token only a digest"
    # Alice's account and device are there, as everybody's; not a byte more because she wrote.
    for mark in (alice.account.id, alice.device.id):
        around = [held[max(0, at - 64) : at + 64] for at in places(held, mark)]
        assert not any(bytes(letter.envelope) in piece or letter.body in piece for piece in around)


def contents(folder: Path) -> bytes:
    """The database and its log."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob("post.db*")))


def places(held: bytes, mark: bytes) -> list[int]:
    found, at = [], held.find(mark)
    while at >= 0:
        found.append(at)
        at = held.find(mark, at + 1)
    return found
