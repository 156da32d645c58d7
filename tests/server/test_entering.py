"""Hello, registration, authentication: and everybody who pretends to be somebody else."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from hushpost.crypto.identity import ClientNonce, ServerNonce, ServerStatement, next_manifest
from hushpost.crypto.prekeys import Kind
from hushpost.ids import AccountId, TokenHash
from hushpost.server.identity import ServerIdentity
from hushpost.server.parts.traffic import Traffic
from hushpost.server.peer import NONCE_SECONDS, Greeting, Guest
from hushpost.server.refusals import SENTENCES, Refusal
from hushpost.settings import PostLimits, Rate, Rates
from hushpost.stores.base import Invitation
from hushpost.stores.memory import MemoryBlobs
from hushpost.stores.post.memory import MemoryPost
from hushpost.wire.codec import encode_message
from hushpost.wire.frames import RequestHeader
from hushpost.wire.messages import (
    VERSION,
    Acknowledge,
    Acknowledged,
    Authenticated,
    Envelopes,
    Error,
    ErrorCode,
    EventMessage,
    GetEnvelopes,
    GetKeys,
    GetUsage,
    Hello,
    Leave,
    ListAccounts,
    ManifestPut,
    PublishKeys,
    PutManifest,
    Register,
    Registered,
    RequestMessage,
    Subscribe,
    Subscribed,
)
from tests.crypto.people import ALICE, BOB, MALLORY, Hand, Person
from tests.server.serving import TOKEN, Keeper, alice_and_bob, deliver, letter, serving, settings

SAME = (ErrorCode.DENIED, SENTENCES[ErrorCode.DENIED])
"""What every failed login is told."""


def told(answer: Error) -> tuple[str, str]:
    return answer.error, answer.sentence


async def test_in_by_registration_and_again_by_login(tmp_path: Path) -> None:
    alice = Keeper.of(ALICE)
    async with serving(settings(tmp_path)) as served:
        async with await served.connect() as client:
            hello = await client.hello()
            assert hello.epoch == served.store.epoch
            assert hello.limits["sends"] == Rates().sends.count
            assert (await client.expect(Registered, alice.register())).account == ALICE.account.id
            assert await client.login(alice) == Authenticated(4, 0, 0, 3)
        async with await served.login(alice) as again:
            assert again.wire.device == alice.device
            assert len(served.office.peers) == 1


async def test_a_lost_answer_to_a_registration_costs_nothing(tmp_path: Path) -> None:
    alice = Keeper.of(ALICE)
    request = alice.register()
    async with serving(settings(tmp_path)) as served, await served.connect() as client:
        await client.hello()
        await client.expect(Registered, request)
        await client.expect(Registered, request)
        assert [each.uses for each in await served.store.invitations()] == [99]


async def test_nobody_registers_uninvited(tmp_path: Path) -> None:
    alice = Keeper.of(ALICE)
    async with serving(settings(tmp_path)) as served, await served.connect() as client:
        await client.hello()
        for token in (b"", bytes(16)):
            assert (await client.refused(alice.register(token))).error == ErrorCode.INVITE_INVALID
        await served.store.revoke(TokenHash(sha256(TOKEN).digest()))
        assert (await client.refused(alice.register())).error == ErrorCode.INVITE_INVALID
        once = b"0123456789abcdef"
        await served.store.invite(Invitation(TokenHash(sha256(once).digest()), 1, 1 << 40))
        await client.expect(Registered, alice.register(once))
        bob = Keeper.of(BOB)
        assert (await client.refused(bob.register(once))).error == ErrorCode.INVITE_INVALID


async def test_everybody_registers_where_the_server_is_open(tmp_path: Path) -> None:
    async with serving(settings(tmp_path, open=True)) as served, await served.connect() as client:
        await client.hello()
        await client.expect(Registered, Keeper.of(ALICE).register(b""))


def damaged(register: Register, field: str) -> Register:
    raw: bytes = getattr(register, field)
    return msgspec.structs.replace(register, **{field: raw[:-1] + bytes([raw[-1] ^ 1])})


@pytest.mark.parametrize("field", ["manifest", "seal_key", "fallback_key"])
async def test_nothing_unsigned_is_registered(tmp_path: Path, field: str) -> None:
    alice = Keeper.of(ALICE)
    async with serving(settings(tmp_path)) as served, await served.connect() as client:
        await client.hello()
        request = alice.register()
        assert (await client.refused(damaged(request, field))).error == ErrorCode.BAD_SIGNATURE
        malformed = msgspec.structs.replace(request, **{field: b"x"})
        assert (await client.refused(malformed)).error == ErrorCode.MALFORMED
        assert (await served.store.stats()).accounts == 0
        await client.expect(Registered, request)


async def test_keys_of_another_are_not_registered(tmp_path: Path) -> None:
    alice, mallory = Keeper.of(ALICE), Keeper.of(MALLORY)
    async with serving(settings(tmp_path)) as served, await served.connect() as client:
        await client.hello()
        stolen = msgspec.structs.replace(mallory.register(), seal_key=alice.seal_key())
        assert (await client.refused(stolen)).error == ErrorCode.BAD_SIGNATURE
        wrong_kind = msgspec.structs.replace(mallory.register(), fallback_key=mallory.session_key(1))
        assert (await client.refused(wrong_kind)).error == ErrorCode.MALFORMED
        two = MALLORY.first(MALLORY.hand, Hand(9)).encode()
        assert (
            await client.refused(msgspec.structs.replace(mallory.register(), manifest=two))
        ).error == ErrorCode.MALFORMED


async def test_a_name_is_given_once(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, _, _), await served.connect() as client:
        await client.hello()
        other = Keeper.of(Person(7, "alice"))
        assert (await client.refused(other.register())).error == ErrorCode.NAME_TAKEN


async def test_registrations_are_counted_by_address(tmp_path: Path) -> None:
    rates = Rates(registrations=Rate(2, 1_000))
    async with serving(settings(tmp_path, rates=rates)) as served, await served.connect() as client:
        await client.hello()
        for keeper in (Keeper.of(ALICE), Keeper.of(BOB)):
            await client.expect(Registered, keeper.register())
        answer = await client.refused(Keeper.of(MALLORY).register())
        assert answer.error == ErrorCode.RATE_LIMITED
        assert answer.retry_after == 500


async def test_hellos_are_counted_by_address(tmp_path: Path) -> None:
    rates = Rates(entering=Rate(2, 1_000))
    async with (
        serving(settings(tmp_path, rates=rates)) as served,
        await served.connect() as one,
        await served.connect() as other,
    ):
        await one.hello()
        await other.hello()
        assert (await one.refused(Hello(0, one.nonce))).error == ErrorCode.RATE_LIMITED


# Whoever pretends


async def test_every_wrong_login_is_told_the_same(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (alice, _), (bob, _)):
        mallory = Keeper.of(MALLORY)
        for kept, changes in (
            (mallory, {}),  # not registered
            (mallory, {"account": ALICE.account.id}),
            (mallory, {"account": ALICE.account.id, "device": alice.device}),
            (bob, {"account": ALICE.account.id}),
            (bob, {"account": ALICE.account.id, "device": alice.device}),
            (alice, {"device": bob.device}),
            (alice, {"signature": bytes(64)}),
        ):
            async with await served.connect() as client:
                proof = msgspec.structs.replace(await client.proof(kept), **changes)
                assert told(await client.refused(proof)) == SAME
        assert len(served.office.peers) == 2


async def test_a_login_is_good_once(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (alice, _), _):
        async with await served.connect() as client:
            proof = await client.proof(alice)
            wrong = msgspec.structs.replace(proof, signature=bytes(64))
            assert told(await client.refused(wrong)) == SAME
            # The right one comes too late: the nonce is spent, and a new hello makes another.
            await client.hello()
            assert told(await client.refused(proof)) == SAME
        async with await served.connect() as client:
            proof = await client.proof(alice)
            await client.expect(Authenticated, proof)
            async with await served.connect() as thief:
                await thief.hello()
                assert told(await thief.refused(proof)) == SAME


async def test_a_login_for_another_certificate_or_server_is_none(tmp_path: Path) -> None:
    """Whoever sits in between has shown the device another certificate."""
    async with alice_and_bob(settings(tmp_path)) as (served, (alice, _), _):
        async with await served.connect() as client:
            hello = await client.hello()
            statement = ServerStatement.decode(hello.certificate_statement)
            nonces = (hello.server_nonce, client.nonce)
            elsewhere = alice.login(statement, b"another certificate", nonces)
            assert told(await client.refused(elsewhere)) == SAME
        (tmp_path / "other").mkdir()
        identity = await asyncio.to_thread(ServerIdentity.open, tmp_path / "other", 1_800_000_000)
        other = identity.shown.statement
        async with await served.connect() as client:
            hello = await client.hello()
            misled = alice.login(other, client.certificate, (hello.server_nonce, client.nonce))
            assert told(await client.refused(misled)) == SAME


class Nowhere:
    """An outlet that leads nowhere."""

    writable = True
    to_come = 0

    @property
    def traffic(self) -> Traffic:
        raise NotImplementedError

    def tell(self, event: EventMessage) -> None:
        raise NotImplementedError

    def look_at(self, when: float) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        raise NotImplementedError


def test_a_nonce_is_good_for_thirty_seconds(tmp_path: Path) -> None:
    shown = ServerIdentity.open(tmp_path, 1_800_000_000).shown
    greeting = Greeting(ServerNonce(bytes(32)), ClientNonce(bytes(32)), 100.0)
    guest = Guest(Nowhere(), b"", shown)
    guest.greet(greeting)
    assert guest.take_greeting(100.0 + NONCE_SECONDS) is greeting
    guest.greet(greeting)
    with pytest.raises(Refusal):
        guest.take_greeting(100.1 + NONCE_SECONDS)
    with pytest.raises(Refusal):
        guest.take_greeting(100.0)


async def test_another_devices_id_in_the_header_ends_the_connection(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (_, (_, one), (bob, _)):
        forged = bytearray(one.wire.send(GetUsage(99)))
        forged[:16] = bob.device
        one.writer.write(bytes(forged))
        assert await one.ended()


@pytest.mark.parametrize(
    "request_",
    [GetUsage(1), Leave(1, bytes(16)), GetKeys(1, b"", "alice", 0, []), Subscribe(1, bytes(16), 0, 1)],
    ids=lambda each: type(each).__name__,
)
async def test_nothing_is_served_before_authentication(tmp_path: Path, request_: RequestMessage) -> None:
    async with serving(settings(tmp_path)) as served, await served.connect() as client:
        payload = encode_message(request_)
        header = RequestHeader(bytes(16), VERSION, request_.CODE, len(payload))
        client.writer.write(header.encode() + payload)
        assert ErrorCode.UNEXPECTED.encode() in await client.reader.read(1 << 16)


# Removed devices


async def test_a_removed_device_drains_and_does_nothing_else(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (alice, one), (bob, other)):
        waiting = await deliver(one, bob)
        spare = Hand(40)
        devices = [bob.owner.device, spare.joins(BOB.account)]
        second = next_manifest(bob.manifest, BOB.secret, devices)
        await other.expect(ManifestPut, PutManifest(0, second.encode()))
        third = next_manifest(second, BOB.secret, devices[1:])
        await other.expect(ManifestPut, PutManifest(0, third.encode()))
        for client in (other, await served.login(bob)):
            for request in (
                letter(alice),
                GetKeys(0, ALICE.account.id, "", 0, []),
                PublishKeys(0, bob.one_time_keys(1)),
                PutManifest(0, third.encode()),
                ListAccounts(0, "", "", 1),
                Leave(0, BOB.account.id),
            ):
                assert (await client.refused(request)).error == ErrorCode.DENIED, request
            page = await client.expect(Envelopes, GetEnvelopes(0, served.store.epoch, 0, 10, 1 << 20))
            assert [each.sequence for each in page.envelopes] == [waiting]
            await client.expect(Subscribed, Subscribe(0, served.store.epoch, 0, 1 << 20))
        await client.expect(Acknowledged, Acknowledge(0, served.store.epoch, [waiting]))
        await client.close()


class CountingPost(MemoryPost):
    """Counts the manifests that are read."""

    read_manifests = 0

    async def manifests(self, account: AccountId, after: int, limit: int) -> list[bytes]:
        found = await super().manifests(account, after, limit)
        self.read_manifests += len(found)
        return found


async def test_a_guess_has_one_manifest_read_however_long_the_chain_is(tmp_path: Path) -> None:
    """Nobody has proven anything before the signature is checked, and a removed device has a long chain."""
    bob = Keeper.of(BOB)
    rates = Rates(manifests=Rate(100, 1))
    async with serving(
        settings(tmp_path, rates=rates), make_store=lambda: CountingPost(MemoryBlobs())
    ) as served:
        store = served.store
        assert isinstance(store, CountingPost)
        await (await served.enroll(bob)).close()
        devices = [Hand(40).joins(BOB.account)]
        manifest = next_manifest(bob.manifest, BOB.secret, [bob.owner.device, *devices])
        for _ in range(40):
            raw = manifest.encode()
            listed = [device.id for device in manifest.devices]
            await store.put_manifest(BOB.account.id, manifest.version, raw, listed)
            manifest = next_manifest(manifest, BOB.secret, devices)
        async with await served.connect() as client:
            store.read_manifests = 0
            wrong = msgspec.structs.replace(await client.proof(bob), signature=bytes(64))
            assert told(await client.refused(wrong)) == SAME
            assert store.read_manifests == 1
            await client.login(bob)
            assert store.read_manifests == 2


async def test_one_connection_too_many_of_a_device_ends_the_oldest(tmp_path: Path) -> None:
    limits = PostLimits(per_device=3)
    async with alice_and_bob(settings(tmp_path, limits=limits)) as (served, (alice, first), _):
        more = [await served.login(alice) for _ in range(3)]
        assert await first.ended()
        for client in more:
            await client.expect(Envelopes, GetEnvelopes(0, bytes(16), 0, 1, 1))
        assert len(served.office.peers.of(ALICE.account.id)) == 3
        for client in more:
            await client.close()


async def test_fallback_keys_have_an_upload_of_their_own(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (_, (alice, one), _):
        answer = await one.refused(PublishKeys(0, alice.one_time_keys(1, Kind.FALLBACK)))
        assert answer.error == ErrorCode.MALFORMED
