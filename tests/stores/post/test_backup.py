"""Promises C1 to C3 of `stores.base`."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushpost.errors import InviteInvalid, StaleSeal, StoreUnusable
from hushpost.ids import TokenHash
from hushpost.stores.base import (
    RETIRED_AFTER,
    KeyState,
    KeyUpdate,
    Position,
    RetiredSealKey,
    SealKeys,
    StoreLimits,
    mailbox_of,
)
from hushpost.stores.post import backup
from hushpost.stores.post.sqlite import SqlitePost

from .conftest import Person, World, open_world, seal_key, session_keys

ROOMY = StoreLimits(min_free_bytes=0)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = await open_world("sqlite", tmp_path, ROOMY)
    yield world
    await world.store.close()


async def back_up(world: World, path: Path) -> list[tuple[int, int]]:
    """What `progress` was told."""
    told: list[tuple[int, int]] = []
    assert isinstance(world.store, SqlitePost)
    await world.store.backup(path, lambda done, pages: told.append((done, pages)))
    return told


def names(folder: Path, beginning: str) -> list[str]:
    return sorted(path.name for path in folder.glob(f"{beginning}*"))


async def restored(path: Path, folder: Path) -> World:
    """A server that begins with a copy of this backup."""
    os.mkdir(folder)
    shutil.copy(path, folder / "post.db")
    return await open_world("sqlite", folder, ROOMY)


async def people_with_mail(world: World, count: int = 400) -> tuple[Person, Person]:
    person, other = await world.person(1, 2, 3, devices=2), await world.person(*range(10))
    sends = [world.send_to((person, other)[k % 2], bytes(3_000)) for k in range(count)]
    await asyncio.gather(*map(world.store.append_sealed, sends))
    return person, other


async def test_c1_everything_but_what_must_not_be_is_in_it(world: World, tmp_path: Path) -> None:
    person, other = await people_with_mail(world)
    again = world.send_to(person)
    await world.store.append_sealed(again)
    await world.store.ack(mailbox_of(other.device), [3])
    told = await back_up(world, tmp_path / "copy")
    assert len(told) > 2
    assert told[-1][0] == told[-1][1] > 500
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    copy = await restored(tmp_path / "copy", tmp_path / "restored")
    assert await copy.waiting(person.device) == await world.waiting(person.device)
    assert await copy.waiting(other.device) == await world.waiting(other.device)
    assert await copy.store.position(mailbox_of(other.device)) == Position(3, 600)
    assert await copy.store.manifests(person.id, 0, 9) == await world.store.manifests(person.id, 0, 9)
    assert await copy.store.append_sealed(again) == await world.store.append_sealed(again)
    await copy.store.close()


async def test_c1_one_moments_contents_while_nobody_waits(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stored between its pieces is answered, and is not in it."""
    monkeypatch.setattr(backup, "PIECE", 1)
    person, other = await people_with_mail(world)
    before = await world.waiting(other.device)
    stored: list[int] = []
    running = asyncio.ensure_future(back_up(world, tmp_path / "copy"))
    while not running.done():
        stored.append(await world.put(other, bytes(3_000)))
        await world.store.ack(mailbox_of(other.device), before[len(stored) - 1 : len(stored)])
    told = await running
    assert len(stored) > 3
    assert {pages for _, pages in told} == {told[0][1]}, "it began anew"
    copy = await restored(tmp_path / "copy", tmp_path / "restored")
    found = await copy.waiting(other.device)
    # One moment: some first acknowledgements and some first envelopes, as they were answered.
    added = [sequence for sequence in found if sequence not in before]
    missing = [sequence for sequence in before if sequence not in found]
    assert added == stored[: len(added)]
    assert missing == before[: len(missing)]
    assert len(added) - len(missing) in (0, 1)
    assert len(added) < len(stored)
    assert await copy.waiting(person.device) == await world.waiting(person.device)
    await copy.store.close()


async def test_c2_it_is_whole_under_its_name(world: World, tmp_path: Path) -> None:
    await people_with_mail(world)
    seen: list[bool] = []
    assert isinstance(world.store, SqlitePost)
    await world.store.backup(tmp_path / "copy", lambda done, pages: seen.append((tmp_path / "copy").exists()))
    assert seen[0] is False
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    assert names(tmp_path, "copy") == ["copy"]


async def test_c2_an_existing_file_is_left_alone(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "copy").write_bytes(b"precious")
    with pytest.raises(StoreUnusable, match="exists already"):
        await back_up(world, tmp_path / "copy")

    def later(draft: Path, path: Path) -> None:
        path.write_bytes(b"precious")
        reveal(draft, path)

    reveal = backup._reveal
    monkeypatch.setattr(backup, "_reveal", later)
    with pytest.raises(StoreUnusable, match="exists already"):
        await back_up(world, tmp_path / "other")
    assert {(tmp_path / name).read_bytes() for name in ("copy", "other")} == {b"precious"}
    assert names(tmp_path, "other") == ["other"]


@pytest.mark.parametrize("trouble", ["no folder", "a draft of another"])
async def test_c2_where_it_cannot_be_written(world: World, tmp_path: Path, trouble: str) -> None:
    if trouble == "no folder":
        path = tmp_path / "nowhere" / "copy"
    else:
        path = tmp_path / "copy"
        (tmp_path / "copy.part").write_bytes(b"precious")
    with pytest.raises(StoreUnusable, match="cannot be written"):
        await back_up(world, path)
    assert not path.exists()
    if trouble != "no folder":
        assert (tmp_path / "copy.part").read_bytes() == b"precious"
    assert not world.store.failed.done()


async def test_c2_nothing_stays_of_one_that_fails(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(file: int) -> None:
        raise OSError(5, "the disk is bad")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing)
        with pytest.raises(StoreUnusable, match="bad"):
            await back_up(world, tmp_path / "copy")
    assert names(tmp_path, "copy") == []
    await back_up(world, tmp_path / "copy")


async def test_c3_each_restored_copy_has_an_epoch_of_its_own(world: World, tmp_path: Path) -> None:
    await people_with_mail(world, 10)
    await back_up(world, tmp_path / "copy")
    epochs = {world.store.epoch}
    for name in ("one", "other"):
        copy = await restored(tmp_path / "copy", tmp_path / name)
        epochs.add(copy.store.epoch)
        await copy.store.close()
        reopened = await open_world("sqlite", tmp_path / name, ROOMY)
        assert reopened.store.epoch == copy.store.epoch
        await reopened.store.close()
    assert len(epochs) == 3


async def test_c3_no_key_that_the_original_may_have_handed_out(world: World, tmp_path: Path) -> None:
    person, other = await people_with_mail(world, 10)
    await back_up(world, tmp_path / "copy")
    copy = await restored(tmp_path / "copy", tmp_path / "restored")
    for who in (person, other):
        for device in who.devices:
            assert (await copy.store.key_state(device)).one_time_keys == 0
    assert await copy.store.take_session_keys(person.id, person.devices) == {}
    # They have to publish others: those that were taken in once are not taken in again.
    state = await copy.store.publish(person.device, KeyUpdate(session_keys(1, 2, 3)))
    assert state == KeyState(0, ())
    state = await copy.store.publish(person.device, KeyUpdate(session_keys(4, 5)))
    assert state == KeyState(2, ())
    await copy.store.close()
    reopened = await open_world("sqlite", tmp_path / "restored", ROOMY)
    assert await reopened.store.key_state(person.device) == KeyState(2, ())
    await reopened.store.close()


async def test_c3_nothing_that_was_replaced_or_revoked_since_comes_back(world: World, tmp_path: Path) -> None:
    person, _ = await people_with_mail(world, 10)
    token = await world.invite()
    await back_up(world, tmp_path / "copy")
    copy = await restored(tmp_path / "copy", tmp_path / "restored")
    assert await copy.store.seal_keys(person.id) == SealKeys(2, {})
    assert await copy.store.fallback_keys(person.id, person.devices) == {}
    assert await copy.store.invitations() == []
    with pytest.raises(InviteInvalid):
        await copy.store.enroll(copy.new_account(), token)
    usage = await copy.store.account_usage(person.id)
    assert (usage["seal-keys"], usage["fallback-keys"]) == ("0", "0")
    await copy.store.close()


async def test_c3_senders_are_told_and_can_send_when_the_devices_are_back(
    world: World, tmp_path: Path
) -> None:
    person, _ = await people_with_mail(world, 10)
    highest = {device: (await world.store.position(mailbox_of(device))).highest for device in person.devices}
    await back_up(world, tmp_path / "copy")
    copy = await restored(tmp_path / "copy", tmp_path / "restored")
    send = copy.send_to(person)
    with pytest.raises(StaleSeal) as stale:
        await copy.store.append_sealed(send)
    assert stale.value.keys == dict.fromkeys(person.devices)
    first, second = person.devices
    await copy.store.publish(first, KeyUpdate(seal_key=seal_key(7)))  # it has not rotated since
    with pytest.raises(StaleSeal) as stale:
        await copy.store.append_sealed(send)
    assert stale.value.keys == {second: None}
    await copy.store.publish(second, KeyUpdate(seal_key=seal_key(9)))  # it has
    person.seals[second] = 9
    sequences = await copy.store.append_sealed(copy.send_to(person))
    copy.now += RETIRED_AFTER
    assert (await copy.store.key_state(first)).retired == ()
    assert (await copy.store.key_state(second)).retired == (RetiredSealKey(7, highest[second]),)
    assert sequences[1] > highest[second]
    await copy.store.close()


async def test_c3_the_ids_of_seal_keys_still_only_grow(world: World, tmp_path: Path) -> None:
    person = await world.person()
    await world.store.publish(person.device, KeyUpdate(seal_key=seal_key(8)))
    await back_up(world, tmp_path / "copy")
    copy = await restored(tmp_path / "copy", tmp_path / "restored")
    with pytest.raises(StaleSeal) as stale:
        await copy.store.publish(person.device, KeyUpdate(seal_key=seal_key(7)))
    assert stale.value.keys == {person.device: None}
    await copy.store.publish(person.device, KeyUpdate(seal_key=seal_key(8)))
    assert (await copy.store.seal_keys(person.id)).keys == {person.device: seal_key(8)}
    await copy.store.close()


async def test_c3_everybody_is_a_stranger_until_the_token_is_published(world: World, tmp_path: Path) -> None:
    """One in the copy may be that of somebody who was blocked since."""
    person = await world.person()
    await back_up(world, tmp_path / "copy")
    copy = await restored(tmp_path / "copy", tmp_path / "restored")
    await copy.store.publish(person.device, KeyUpdate(seal_key=seal_key(7)))
    await copy.put(person)
    person.token = TokenHash.random()
    await copy.store.publish(person.device, KeyUpdate(token_hash=person.token))
    await copy.put(person)
    found = await copy.store.read(mailbox_of(person.device), after=0, max_count=9, max_bytes=99)
    assert [envelope.is_request for envelope in found] == [True, False]
    assert await copy.store.account_named(person.name) is not None
    await copy.store.close()


async def test_c3_who_left_stays_away(world: World, tmp_path: Path) -> None:
    person = await world.person()
    await world.store.leave(person.id)
    await back_up(world, tmp_path / "copy")
    copy = await restored(tmp_path / "copy", tmp_path / "restored")
    assert await copy.store.account(person.id) is None
    assert (await copy.store.stats()).left == 1
    await copy.store.close()
