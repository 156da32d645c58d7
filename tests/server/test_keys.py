"""Keys and manifests: handed out, topped up, changed; and drained by nobody."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from hushpost.crypto.identity import Manifest, next_manifest
from hushpost.ids import AccountId
from hushpost.settings import DirectoryPolicy, Rate, Rates
from hushpost.wire.limits import MAX_MANIFESTS
from hushpost.wire.messages import (
    Accounts,
    Authenticated,
    Envelopes,
    ErrorCode,
    GetEnvelopes,
    GetKeys,
    GetUsage,
    Keys,
    KeysPublished,
    Leave,
    Left,
    ListAccounts,
    ManifestPut,
    PublishKeys,
    PutManifest,
    RequestMessage,
    UsageAnswer,
)
from tests.crypto.people import ALICE, BOB, Hand
from tests.server.serving import Keeper, alice_and_bob, deliver, letter, settings

UNLIMITED = Rates(prekeys=Rate(1_000, 1), prekeys_of_one=Rate(1_000, 1))


def keys_of(keeper: Keeper, *, known: int = 0, sessions: bool = False) -> GetKeys:
    return GetKeys(0, keeper.person.account.id, "", known, [keeper.device] if sessions else [])


async def test_by_name_and_by_id(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (_, (_, one), (bob, _)):
        by_name = await one.expect(Keys, GetKeys(0, b"", BOB.name, 0, []))
        assert by_name.account == BOB.account.id
        assert by_name.manifests == [bob.manifest.encode()]
        assert [(each.device, each.session_key) for each in by_name.devices] == [(bob.device, b"")]
        assert by_name.devices[0].seal_key == bob.seal_key()
        known = await one.expect(Keys, keys_of(bob, known=1))
        assert (known.manifests, known.devices) == ([], by_name.devices)
        for nobody in (GetKeys(0, bytes(16), "", 0, []), GetKeys(0, b"", "nobody", 0, [])):
            assert (await one.refused(nobody)).error == ErrorCode.UNKNOWN_ACCOUNT


async def test_a_one_time_key_is_handed_out_once_then_the_fallback_key(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path, rates=UNLIMITED)) as (_, (_, one), (bob, _)):
        handed = [
            (await one.expect(Keys, keys_of(bob, sessions=True))).devices[0].session_key for _ in range(5)
        ]
        assert len(set(handed[:3])) == 3
        assert handed[3] == handed[4] == bob.register().fallback_key
        # A mere refresh takes none.
        assert (await one.expect(Keys, keys_of(bob))).devices[0].session_key == b""


async def test_nobody_drains_anybody(tmp_path: Path) -> None:
    rates = Rates(prekeys=Rate(2, 600))
    async with alice_and_bob(settings(tmp_path, rates=rates)) as (served, (alice, one), (bob, other)):
        for _ in range(2):
            await one.expect(Keys, keys_of(bob, sessions=True))
        answer = await one.refused(keys_of(bob, sessions=True))
        assert (answer.error, answer.retry_after) == (ErrorCode.RATE_LIMITED, 300)
        await one.expect(Keys, keys_of(bob))
        await one.expect(Keys, keys_of(alice, sessions=True))  # another pair
        await other.expect(Keys, keys_of(bob, sessions=True))  # another pair, the same target
        assert (await served.store.key_state(bob.device)).one_time_keys == 0


async def test_many_accounts_neither_drain_somebody_nor_keep_others_out(tmp_path: Path) -> None:
    rates = Rates(prekeys_of_one=Rate(2, 600))
    async with alice_and_bob(settings(tmp_path, rates=rates)) as (served, (_, one), (bob, other)):
        for client in (one, other):
            await client.expect(Keys, keys_of(bob, sessions=True))
        for client in (one, other):
            answer = await client.expect(Keys, keys_of(bob, sessions=True))
            assert answer.devices[0].session_key == bob.register().fallback_key
        assert (await served.store.key_state(bob.device)).one_time_keys == 1


async def test_lookups_are_counted(tmp_path: Path) -> None:
    """Before anything is looked for, and whatever is wanted besides."""
    async with alice_and_bob(settings(tmp_path, rates=Rates(lookups=Rate(1, 60)))) as (_, (_, one), (bob, _)):
        await one.expect(Keys, keys_of(bob))
        for wanted in ([], [bytes(16)]):
            for request in (keys_of(bob), GetKeys(0, b"", "nobody", 0, wanted)):
                assert (await one.refused(request)).error == ErrorCode.RATE_LIMITED


async def test_what_hands_out_nothing_takes_no_tokens(tmp_path: Path) -> None:
    """Nor does it make a bucket: accounts and devices that do not exist would be without number."""
    async with alice_and_bob(settings(tmp_path)) as (served, (_, one), (bob, _)):
        for request in (
            GetKeys(0, bytes(16), "", 0, [bob.device]),
            GetKeys(0, b"", "nobody", 0, [bob.device]),
        ):
            assert (await one.refused(request)).error == ErrorCode.UNKNOWN_ACCOUNT
        await one.expect(Keys, GetKeys(0, BOB.account.id, "", 0, [bytes(16)]))
        budgets = served.office.budgets
        assert (len(budgets.prekeys), len(budgets.prekeys_of_one)) == (0, 0)


async def test_long_chains_come_in_pages_and_hand_out_nothing_before_the_last(tmp_path: Path) -> None:
    rates = Rates(manifests=Rate(1_000, 1))
    async with alice_and_bob(settings(tmp_path, rates=rates)) as (served, (_, one), (bob, other)):
        manifest = bob.manifest
        for _ in range(MAX_MANIFESTS):
            manifest = next_manifest(manifest, BOB.secret, [bob.owner.device])
            await other.expect(ManifestPut, PutManifest(0, manifest.encode()))
        first = await one.expect(Keys, keys_of(bob, sessions=True))
        assert first.more
        assert first.devices == []
        assert (await served.store.key_state(bob.device)).one_time_keys == 3
        last = await one.expect(Keys, keys_of(bob, known=len(first.manifests), sessions=True))
        assert not last.more
        assert [*first.manifests, *last.manifests][-1] == manifest.encode()
        assert len(first.manifests) + len(last.manifests) == MAX_MANIFESTS + 1
        assert last.devices[0].session_key


async def test_publishing(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (alice, one), (bob, other)):
        fresh = bob.one_time_keys(5)
        assert (await other.expect(KeysPublished, PublishKeys(0, fresh))).one_time_keys == 8
        assert (await other.expect(KeysPublished, PublishKeys(0, fresh))).one_time_keys == 8
        replaced = await other.expect(KeysPublished, PublishKeys(0, bob.one_time_keys(2), replace_all=True))
        assert replaced.one_time_keys == 2
        rotated = PublishKeys(0, seal_key=bob.seal_key(2))
        await other.expect(KeysPublished, rotated)
        await other.expect(KeysPublished, rotated)
        older = await other.refused(PublishKeys(0, seal_key=bob.seal_key(1)))
        assert older.error == ErrorCode.STALE_SEAL
        assert older.detail == [bob.device + bob.seal_key(2)]
        bob.seal_id = 2
        bob.delivery_token = bytes(range(32))
        token_hash = sha256(bob.delivery_token).digest()
        await other.expect(KeysPublished, PublishKeys(0, delivery_token_hash=token_hash))
        await deliver(one, bob)
        page = await other.expect(Envelopes, GetEnvelopes(0, served.store.epoch, 0, 10, 1 << 20))
        assert [each.is_request for each in page.envelopes] == [False]
        stolen = await one.refused(PublishKeys(0, bob.one_time_keys(1)))
        assert stolen.error == ErrorCode.BAD_SIGNATURE
        too_many = await one.refused(PublishKeys(0, alice.one_time_keys(98)))
        assert too_many.error == ErrorCode.TOO_LARGE
        old = await one.refused(PublishKeys(0, seal_key=alice.seal_key(2, lifetime=-86_400)))
        assert old.error == ErrorCode.MALFORMED
        assert "expired" in old.sentence


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("publications", PublishKeys(0)),
        ("manifests", PutManifest(0, Keeper.of(ALICE).manifest.encode())),
        ("questions", GetUsage(0)),
        ("listings", ListAccounts(0, "", "", 1)),
    ],
)
async def test_each_is_counted_by_account(tmp_path: Path, name: str, request_: RequestMessage) -> None:
    given = settings(tmp_path, rates=Rates(**{name: Rate(1, 60)}), directory=DirectoryPolicy.OPEN)
    async with alice_and_bob(given) as (_, (_, one), _):
        assert getattr(await one.ask(request_), "error", "") == ""
        assert (await one.refused(request_)).error == ErrorCode.RATE_LIMITED


async def test_manifests_follow_each_other(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (_, (alice, one), (bob, other)):
        spare = Hand(40)
        two = [bob.owner.device, spare.joins(BOB.account)]
        second = next_manifest(bob.manifest, BOB.secret, two)
        await other.expect(ManifestPut, PutManifest(0, second.encode()))
        await other.expect(ManifestPut, PutManifest(0, second.encode()))
        fork = next_manifest(bob.manifest, BOB.secret, [bob.owner.device])
        stale = await other.refused(PutManifest(0, fork.encode()))
        assert (stale.error, stale.detail) == (ErrorCode.STALE_MANIFEST, [second.encode()])
        forged = next_manifest(second, BOB.secret, two).encode()
        forged = forged[:-1] + bytes([forged[-1] ^ 1])
        assert (await other.refused(PutManifest(0, forged))).error == ErrorCode.BAD_SIGNATURE
        third = next_manifest(second, BOB.secret, two)
        assert (await one.refused(PutManifest(0, third.encode()))).error != ""  # not one's own account
        assert Manifest.decode((await one.expect(Keys, keys_of(bob, known=1))).manifests[-1]) == second
        unwilling = next_manifest(second, BOB.secret, [*two, alice.owner.device])
        assert (await other.refused(PutManifest(0, unwilling.encode()))).error == ErrorCode.BAD_SIGNATURE
        assert (await other.refused(PutManifest(0, b"x"))).error == ErrorCode.MALFORMED


async def test_a_device_belongs_to_one_account(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (_, (alice, _), (bob, other)):
        taken = next_manifest(bob.manifest, BOB.secret, [bob.owner.device, alice.hand.joins(BOB.account)])
        assert (await other.refused(PutManifest(0, taken.encode()))).error == ErrorCode.DENIED


async def test_a_second_device_enters_and_is_written_to(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, _, (bob, other)):
        spare = Hand(40)
        second = next_manifest(bob.manifest, BOB.secret, [bob.owner.device, spare.joins(BOB.account)])
        await other.expect(ManifestPut, PutManifest(0, second.encode()))
        phone = Keeper(BOB, spare, second)
        async with await served.login(phone) as client:
            await client.expect(
                KeysPublished, PublishKeys(0, phone.one_time_keys(2), seal_key=phone.seal_key())
            )
        async with await served.connect() as client:
            assert (await client.login(phone)).one_time_keys == 2


async def test_the_directory_is_closed_unless_the_server_opens_it(tmp_path: Path) -> None:
    everybody = ListAccounts(0, "", "", 10)
    async with alice_and_bob(settings(tmp_path)) as (_, (_, one), _):
        assert (await one.refused(everybody)).error == ErrorCode.DENIED
    open_one = settings(tmp_path, directory=DirectoryPolicy.OPEN)
    async with alice_and_bob(open_one) as (_, (_, one), _):
        page = await one.expect(Accounts, everybody)
        assert [(each.name, each.account) for each in page.accounts] == [
            (BOB.name, BOB.account.id),
            (ALICE.name, ALICE.account.id),
        ]
        assert not page.more
        first = await one.expect(Accounts, ListAccounts(0, "", "", 0))
        assert ([each.name for each in first.accounts], first.more) == ([BOB.name], True)
        rest = await one.expect(Accounts, ListAccounts(0, "al", "", 10))
        assert [each.name for each in rest.accounts] == [ALICE.name]


async def test_usage_is_all_that_is_held(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (_, one), (bob, _)):
        await deliver(one, bob)
        stored = (await one.expect(UsageAnswer, GetUsage(0))).stored
        assert stored == {**await served.store.account_usage(ALICE.account.id), "open-connections": "1"}


async def test_leaving(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (_, one), (bob, other)):
        second = await served.login(bob)
        assert (await other.refused(Leave(0, ALICE.account.id))).error == ErrorCode.DENIED
        await other.expect(Left, Leave(0, BOB.account.id))
        assert await other.ended()
        assert await second.ended()
        await second.close()
        assert (await one.refused(letter(bob))).error == ErrorCode.UNKNOWN_ACCOUNT
        assert (await one.refused(keys_of(bob))).error == ErrorCode.UNKNOWN_ACCOUNT
        async with await served.connect() as client:
            assert (await client.refused(await client.proof(bob))).error == ErrorCode.DENIED
            await client.hello()
            assert (await client.refused(bob.register())).error in {ErrorCode.NAME_TAKEN, ErrorCode.DENIED}
        assert served.office.peers.of(AccountId(BOB.account.id)) == []


async def test_one_login_sees_where_the_device_was(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (_, one), (bob, _)):
        highest = await deliver(one, bob)
        async with await served.connect() as client:
            answer: Authenticated = await client.login(bob)
            assert (answer.acknowledged, answer.highest, answer.one_time_keys) == (0, highest, 3)
