"""Promises I1 and A1 to A8 of `stores.base`, for every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from hushpost.errors import (
    IdTaken,
    InviteInvalid,
    NameTaken,
    StoreFull,
    TooManyKeys,
    UnknownAccount,
    UnknownMailbox,
)
from hushpost.ids import TokenHash
from hushpost.stores.base import (
    MAX_ONE_TIME_KEYS,
    Account,
    Device,
    DeviceList,
    Invitation,
    KeyState,
    KeyUpdate,
    NewAccount,
    Position,
    SealKeys,
    Usage,
    mailbox_of,
)

from .conftest import NOW, World, seal_key, session_keys

Worlds = Callable[..., Awaitable[World]]


class TestInvitations:
    async def test_i1_good_for_so_many(self, world: World) -> None:
        token = await world.invite(uses=2)
        for _ in range(2):
            await world.store.enroll(world.new_account(), token)
        with pytest.raises(InviteInvalid):
            await world.store.enroll(world.new_account(), token)
        assert await world.store.invitations() == []

    @pytest.mark.parametrize(("later", "good"), [(99, True), (100, False), (101, False)])
    async def test_i1_until_it_expires(self, world: World, later: int, good: bool) -> None:
        token = await world.invite(expires=NOW + 100)
        world.now += later
        assert bool(await world.store.invitations()) is good
        if good:
            await world.store.enroll(world.new_account(), token)
        else:
            with pytest.raises(InviteInvalid):
                await world.store.enroll(world.new_account(), token)

    async def test_i1_until_it_is_revoked(self, world: World) -> None:
        token = await world.invite()
        assert await world.store.revoke(token)
        assert not await world.store.revoke(token)
        with pytest.raises(InviteInvalid):
            await world.store.enroll(world.new_account(), token)

    async def test_i1_an_expired_one_is_kept_until_the_next_tidy(self, world: World) -> None:
        token = await world.invite(expires=NOW + 100)
        other = await world.invite(expires=NOW + 101)
        world.now += 100
        assert (await world.store.stats()).invitations == 1
        await world.store.tidy(0)
        assert not await world.store.revoke(token)
        assert await world.store.revoke(other)

    async def test_i1_the_first_to_expire_comes_first(self, world: World) -> None:
        tokens = [await world.invite(uses=k, expires=NOW + 100 - k) for k in (1, 2, 3)]
        expected = [Invitation(tokens[k - 1], k, NOW + 100 - k) for k in (3, 2, 1)]
        assert await world.store.invitations() == expected

    async def test_i1_what_nobody_may_make(self, world: World) -> None:
        for uses in (0, -1):
            with pytest.raises(ValueError, match="use"):
                await world.invite(uses=uses)
        token = await world.invite()
        with pytest.raises(IdTaken):
            await world.store.invite(Invitation(token, 5, NOW + 5))
        assert await world.store.invitations() == [Invitation(token, 1, NOW + 100)]

    async def test_i1_of_two_at_once_one_gets_the_last_use(self, world: World) -> None:
        token = await world.invite(uses=3)
        answers = await asyncio.gather(
            *(world.store.enroll(world.new_account(), token) for _ in range(8)), return_exceptions=True
        )
        assert answers.count(None) == 3
        assert sum(isinstance(answer, InviteInvalid) for answer in answers) == 5


async def is_absent(world: World, new: NewAccount) -> bool:
    """Nothing at all of an account is there."""
    with pytest.raises(UnknownMailbox):
        await world.store.usage(mailbox_of(new.device))
    for question in (world.store.devices(new.id), world.store.seal_keys(new.id)):
        with pytest.raises(UnknownAccount):
            await question
    with pytest.raises(UnknownAccount):
        await world.store.manifests(new.id, 0, 9)
    with pytest.raises(UnknownAccount):
        await world.store.key_state(new.device)
    found = await world.store.account(new.id), await world.store.device(new.device)
    return found == (None, None)


class TestEnrolling:
    async def test_a1_everything_is_there_together(self, world: World) -> None:
        new, token = world.new_account(2, 1, name="Zoë \U0001f98a"), await world.invite()
        await world.store.enroll(new, token)
        account = Account(new.id, new.name, b"")
        assert await world.store.account(new.id) == account
        assert await world.store.account_named(new.name) == account
        assert await world.store.manifests(new.id, 0, 9) == [new.manifest]
        assert await world.store.devices(new.id) == DeviceList(1, frozenset([new.device]))
        assert await world.store.device(new.device) == Device(new.id, listed=True, version=1)
        assert await world.store.usage(mailbox_of(new.device)) == Usage(0, 0)
        assert await world.store.position(mailbox_of(new.device)) == Position(0, 0)
        assert await world.store.seal_keys(new.id) == SealKeys(1, {new.device: new.seal_key})
        assert await world.store.key_state(new.device) == KeyState(2, ())
        taken = [await world.store.take_session_keys(new.id, [new.device]) for _ in range(3)]
        assert taken == [{new.device: key} for key in (b"one-time 1", b"one-time 2", b"fallback")]
        assert await world.store.invitations() == []

    @pytest.mark.parametrize("taken", ["name", "id", "device"])
    async def test_a1_or_nothing(self, world: World, taken: str) -> None:
        """What is refused uses no invitation up, and leaves nothing behind."""
        first, new, token = world.new_account(), world.new_account(1), await world.invite()
        await world.store.enroll(first, None)
        same = msgspec.structs.replace(new, **{taken: getattr(first, taken)})
        with pytest.raises(NameTaken if taken == "name" else IdTaken):
            await world.store.enroll(same, token)
        assert len(await world.store.invitations()) == 1
        assert (await world.store.stats()).mailboxes == 1
        assert (await world.store.stats()).one_time_keys == 0
        await world.store.enroll(new, token)

    async def test_a1_nothing_with_too_many_keys(self, world: World) -> None:
        new = world.new_account(*range(MAX_ONE_TIME_KEYS + 1))
        with pytest.raises(TooManyKeys):
            await world.store.enroll(new, None)
        assert await is_absent(world, new)
        at_the_limit = msgspec.structs.replace(new, one_time_keys=new.one_time_keys[1:])
        await world.store.enroll(at_the_limit, None)
        assert (await world.store.key_state(new.device)).one_time_keys == MAX_ONE_TIME_KEYS

    @pytest.mark.parametrize("number", [-1, 2**63])
    async def test_a1_nothing_with_impossible_key_ids(self, world: World, number: int) -> None:
        new = world.new_account()
        for impossible in ({"seal_key": seal_key(number)}, {"one_time_keys": session_keys(0, number)}):
            with pytest.raises(ValueError, match="63 bits"):
                await world.store.enroll(msgspec.structs.replace(new, **impossible), None)
        assert await is_absent(world, new)
        last = msgspec.structs.replace(
            new, seal_key=seal_key(2**63 - 1), one_time_keys=session_keys(0, 2**63 - 1)
        )
        await world.store.enroll(last, None)
        assert (await world.store.seal_keys(new.id)).keys == {new.device: seal_key(2**63 - 1)}

    async def test_a1_nothing_when_full(self, worlds: Worlds) -> None:
        world = await worlds(total_bytes=5)
        person = await world.person()
        await world.put(person)
        new, token = world.new_account(), await world.invite()
        with pytest.raises(StoreFull):
            await world.store.enroll(new, token)
        assert await is_absent(world, new)
        assert len(await world.store.invitations()) == 1

    async def test_a2_repeating_changes_nothing_and_uses_nothing_up(self, world: World) -> None:
        new, token = world.new_account(1, 2), await world.invite(uses=2)
        await world.store.enroll(new, token)
        await world.store.take_session_keys(new.id, [new.device])
        await world.store.publish(new.device, KeyUpdate(seal_key=seal_key(8)))
        for again in (token, TokenHash.random(), None):
            await world.store.enroll(new, again)
        assert [each.uses for each in await world.store.invitations()] == [1]
        assert await world.store.key_state(new.device) == KeyState(1, ())
        assert (await world.store.seal_keys(new.id)).keys == {new.device: seal_key(8)}

    async def test_a2_not_with_another_manifest_or_name(self, world: World) -> None:
        new = world.new_account()
        await world.store.enroll(new, None)
        for other in ({"manifest": b"other"}, {"name": "other"}):
            with pytest.raises((IdTaken, NameTaken)):
                await world.store.enroll(msgspec.structs.replace(new, **other), None)

    async def test_a2_not_after_another_manifest(self, world: World) -> None:
        new = world.new_account()
        await world.store.enroll(new, None)
        await world.store.put_manifest(new.id, 2, b"second", [new.device])
        with pytest.raises(NameTaken):
            await world.store.enroll(new, None)

    async def test_a3_nothing_is_given_twice_not_even_after_leave(self, world: World) -> None:
        first = world.new_account()
        await world.store.enroll(first, None)
        await world.store.leave(first.id)
        other = world.new_account()
        for field, error in (("name", NameTaken), ("id", IdTaken)):
            same = msgspec.structs.replace(other, **{field: getattr(first, field)})
            with pytest.raises(error):
                await world.store.enroll(same, None)
        with pytest.raises(NameTaken):
            await world.store.enroll(first, None)
        # A device is its own: its keys may be those of another account then.
        await world.store.enroll(msgspec.structs.replace(other, device=first.device), None)
        assert await world.store.device(first.device) == Device(other.id, listed=True, version=1)

    async def test_a3_a_device_belongs_to_the_first_account(self, world: World) -> None:
        person, other = await world.person(), await world.person()
        with pytest.raises(IdTaken):
            await world.store.put_manifest(other.id, 2, b"second", [other.device, person.device])
        assert await world.store.devices(other.id) == DeviceList(1, frozenset([other.device]))
        assert await world.store.device(person.device) == Device(person.id, listed=True, version=1)

    async def test_a3_a_removed_device_is_not_listed_again(self, world: World) -> None:
        person = await world.person(devices=2)
        first, second = person.devices
        await world.list_devices(person, [first])
        for account, version in ((person.id, 4), ((await world.person()).id, 2)):
            with pytest.raises(IdTaken):
                await world.store.put_manifest(account, version, b"next", [first, second])
        with pytest.raises(IdTaken):
            await world.store.enroll(msgspec.structs.replace(world.new_account(), device=second), None)

    async def test_a3_of_two_at_once_one_gets_the_name(self, world: World) -> None:
        answers = await asyncio.gather(
            *(world.store.enroll(world.new_account(name="name"), None) for _ in range(8)),
            return_exceptions=True,
        )
        assert answers.count(None) == 1
        assert sum(isinstance(answer, NameTaken) for answer in answers) == 7

    @pytest.mark.parametrize("token", [TokenHash(bytes(32)), None])
    async def test_a4_without_an_invitation_nothing_is_learned_about_names(
        self, world: World, token: TokenHash | None
    ) -> None:
        taken = world.new_account()
        await world.store.enroll(taken, None)
        token = token or await world.invite(expires=NOW)
        for name in (taken.name, "free"):
            with pytest.raises(InviteInvalid):
                await world.store.enroll(world.new_account(name=name), token)


class TestDirectory:
    async def test_names_are_found_exactly_only(self, world: World) -> None:
        await world.store.enroll(world.new_account(name="name"), None)
        for other in ("Name", "name ", "nam", ""):
            assert await world.store.account_named(other) is None

    async def test_names_by_prefix_and_in_pages(self, world: World) -> None:
        for name in ("b", "ba", "a", "bb", "é", "c", "b\U0001f98a", "ab"):
            await world.store.enroll(world.new_account(name=name), None)
        gone = world.new_account(name="baa")
        await world.store.enroll(gone, None)
        await world.store.leave(gone.id)
        for prefix, after, limit, expected in (
            ("b", "", 9, ["b", "ba", "bb", "b\U0001f98a"]),
            ("b", "", 2, ["b", "ba"]),
            ("b", "ba", 2, ["bb", "b\U0001f98a"]),
            ("b", "b\U0001f98a", 9, []),
            ("", "bb", 9, ["b\U0001f98a", "c", "é"]),
            ("b", "a", 1, ["b"]),
            ("b", "c", 9, []),
            ("x", "", 9, []),
        ):
            found = await world.store.accounts_by_name(prefix, after, limit)
            assert [account.name for account in found] == expected
