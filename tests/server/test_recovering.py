"""Recovery: the phrase puts one device in place, once; whoever repeats its public bytes changes nothing."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import msgspec

from hushpost.crypto.identity import AccountSecret, Manifest, next_manifest
from hushpost.crypto.prekeys import Kind
from hushpost.stores.base import mailbox_of
from hushpost.wire.messages import Authenticated, ErrorCode, PublishKeys, Registered
from tests.crypto.people import ALICE, BOB, Hand, Person
from tests.server.serving import Keeper, alice_and_bob, deliver, settings

NEW_KEY = AccountSecret(bytes([40, 41]) * 16)


def recovered(present: Manifest, person: Person = BOB, hand: Hand | None = None) -> Keeper:
    """The same person with nothing but the phrase and another device."""
    hand = hand or Hand(40)
    manifest = next_manifest(
        present, person.recovery, [hand.joins(person.account)], account_key=NEW_KEY.public
    )
    return Keeper(person, hand, manifest, delivery_token=b"another delivery token, 32 bytes")


async def test_the_new_device_is_the_only_one(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (_, one), (bob, other)):
        again = recovered(bob.manifest)
        async with await served.connect() as client:
            await client.hello()
            assert (await client.expect(Registered, again.register(b""))).account == BOB.account.id
            assert (await client.login(again)).one_time_keys == 3
        assert (await other.refused(PublishKeys(0))).error == ErrorCode.DENIED
        await deliver(one, again)
        (waits,) = await served.store.read(mailbox_of(again.device), after=0, max_count=9, max_bytes=1 << 20)
        assert not waits.is_request


async def test_a_repeat_publishes_nothing(tmp_path: Path) -> None:
    """All of it but the token and the choice of keys can be had by everybody who may ask for Bob's keys."""
    async with alice_and_bob(settings(tmp_path)) as (served, (_, one), (bob, _)):
        again = recovered(bob.manifest)
        request = again.register(b"")
        async with await served.connect() as client:
            await client.hello()
            for _ in range(2):  # the first answer was lost
                await client.expect(Registered, request)
            forged = msgspec.structs.replace(
                request,
                one_time_keys=[],
                fallback_key=again.session_key(7, Kind.FALLBACK),
                delivery_token_hash=sha256(b"the attacker's").digest(),
            )
            await client.expect(Registered, forged)
            await client.expect(Authenticated, await client.proof(again))
        await deliver(one, again)
        (waits,) = await served.store.read(mailbox_of(again.device), after=0, max_count=9, max_bytes=1 << 20)
        assert not waits.is_request
        handed = [await served.store.take_session_keys(BOB.account.id, [again.device]) for _ in range(4)]
        assert handed[3] == {again.device: request.fallback_key}


async def test_only_the_phrase_of_this_account(tmp_path: Path) -> None:
    async with (
        alice_and_bob(settings(tmp_path)) as (served, _, (bob, _)),
        await served.connect() as client,
    ):
        await client.hello()
        by_the_account_key = next_manifest(bob.manifest, BOB.secret, [Hand(40).joins(BOB.account)])
        thief = Keeper(BOB, Hand(40), by_the_account_key)
        assert (await client.refused(thief.register(b""))).error == ErrorCode.DENIED
        other = Person(2, BOB.name)
        other.recovery = ALICE.recovery
        claimed = replace(bob.manifest, recovery_key=ALICE.recovery.public)
        assert (await client.refused(recovered(claimed, other).register(b""))).error == ErrorCode.DENIED
        nobody = Person(9, "nobody")
        assert (
            await client.refused(recovered(nobody.first(), nobody).register(b""))
        ).error == ErrorCode.DENIED
        assert (await served.store.devices(BOB.account.id)).version == 1


async def test_it_follows_the_newest_manifest_which_is_told(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, _, (bob, _)), await served.connect() as client:
        await client.hello()
        ahead = recovered(next_manifest(bob.manifest, BOB.secret, [bob.owner.device]))
        stale = await client.refused(ahead.register(b""))
        assert (stale.error, stale.detail) == (ErrorCode.STALE_MANIFEST, [bob.manifest.encode()])


async def test_not_with_a_device_that_was_listed_before(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, _, (bob, _)), await served.connect() as client:
        await client.hello()
        same = recovered(bob.manifest, hand=bob.hand)
        assert (await client.refused(same.register(b""))).error == ErrorCode.DENIED
        assert (await served.store.devices(BOB.account.id)).version == 1


async def test_not_with_keys_of_another(tmp_path: Path) -> None:
    """What is refused has changed nothing: the same manifest with the right keys still does it."""
    async with alice_and_bob(settings(tmp_path)) as (served, _, (bob, _)), await served.connect() as client:
        await client.hello()
        request = recovered(bob.manifest).register(b"")
        for field, wrong in (
            ("seal_key", bob.seal_key()),
            ("fallback_key", bob.session_key(0, Kind.FALLBACK)),
        ):
            refused = await client.refused(msgspec.structs.replace(request, **{field: wrong}))
            assert refused.error == ErrorCode.BAD_SIGNATURE
        assert (await served.store.devices(BOB.account.id)).version == 1
        await client.expect(Registered, request)
