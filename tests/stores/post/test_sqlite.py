"""What only the database can get wrong: reopening, a full one, what is remembered beside the rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hushpost.errors import IdConflict, RequestsFull, StaleSeal, StoreFull, StoreUnusable, UnknownAccount
from hushpost.ids import EnvelopeId
from hushpost.stores import checkpoints, opening, seen
from hushpost.stores.base import (
    REQUESTS_COUNT,
    KeyState,
    KeyUpdate,
    Position,
    Usage,
    mailbox_of,
)
from hushpost.stores.memory import MemoryBlobs
from hushpost.stores.post import members, recent, upkeep
from hushpost.stores.post.sqlite import SqlitePost
from hushpost.stores.post.tables import PostTables
from hushpost.stores.sqlite import SqliteStore

from .conftest import World, seal_key, session_keys

Worlds = Callable[..., Awaitable[World]]


@pytest.fixture
def kind() -> str:
    return "sqlite"


async def reopened(world: World, worlds: Worlds, **limits: int) -> World:
    """The same database again, at the same time of day."""
    await world.store.close()
    again = await worlds(**limits)
    again.clock.now, again.names = world.now, world.names
    return again


def tables_of(world: World) -> PostTables:
    """The writer's own; between two operations a test may use it."""
    assert isinstance(world.store, SqlitePost)
    return world.store._engine.tables


async def test_everything_is_there_after_reopening(worlds: Worlds) -> None:
    world = await worlds()
    person, token = await world.person(1, 2, devices=2), await world.invite()
    for stranger in (False, True):
        await world.store.append_sealed(world.send_to(person, stranger=stranger))
    await world.store.ack(mailbox_of(person.device), [1])
    await world.store.publish(person.device, KeyUpdate(seal_key=seal_key(8)))
    before = [
        await world.store.account_usage(person.id),
        await world.store.stats(),
        await world.store.manifests(person.id, 0, 9),
        await world.store.seal_keys(person.id),
    ]
    again = await reopened(world, worlds)
    assert again.store.epoch == world.store.epoch
    assert before == [
        await again.store.account_usage(person.id),
        await again.store.stats(),
        await again.store.manifests(person.id, 0, 9),
        await again.store.seal_keys(person.id),
    ]
    assert [await again.waiting(device) for device in person.devices] == [[3], [2, 4]]
    assert await again.store.position(mailbox_of(person.device)) == Position(1, 3)
    assert [each.token_hash for each in await again.store.invitations()] == [token]


async def test_m2_repeats_are_known_after_reopening(worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are remembered, and those that are too old for it."""
    monkeypatch.setattr(recent, "REMEMBERED", 5)
    world = await worlds()
    person = await world.person()
    sends = []
    for k in range(20):
        world.now += k % 2
        sends.append(world.send_to(person, b"%d" % k))
        await world.store.append_sealed(sends[-1])
    for _ in range(2):
        for number, send in enumerate(sends, start=1):
            assert await world.store.append_sealed(send) == (number,)
            other = world.send_to(person, b"other", send.envelope)
            assert await world.refusal(other) is IdConflict
        assert len(await world.waiting(person.device)) == 20
        world = await reopened(world, worlds)


async def test_m3_a_deleted_newest_number_is_not_reused(worlds: Worlds) -> None:
    world = await worlds()
    person = await world.person()
    for _ in range(3):
        await world.put(person)
    await world.store.ack_up_to(mailbox_of(person.device), 3)
    again = await reopened(world, worlds)
    assert await again.store.position(mailbox_of(person.device)) == Position(3, 3)
    assert await again.put(person) == 4


async def test_p4_p5_what_the_rows_do_not_say_yet_is_counted(worlds: Worlds) -> None:
    """Fewer than are noted at once; so the counts come from the envelopes, with every opening."""
    world = await worlds(mailbox_count=30)
    person = await world.person()
    for k in range(REQUESTS_COUNT):
        await world.put(person, stranger=True)
        world = await reopened(world, worlds, mailbox_count=30)
        assert await world.store.usage(mailbox_of(person.device)) == Usage(k + 1, 5 * (k + 1))
    assert await world.refusal(world.send_to(person, stranger=True)) is RequestsFull
    for _ in range(10):
        await world.put(person)
    again = await reopened(world, worlds, mailbox_count=30)
    assert await again.refusal(again.send_to(person)) is StoreFull
    await again.store.ack(mailbox_of(person.device), [1])
    again = await reopened(again, worlds, mailbox_count=30)
    await again.put(person, stranger=True)
    assert await again.store.usage(mailbox_of(person.device)) == Usage(30, 150)


async def test_k1_k4_keys_after_reopening(worlds: Worlds) -> None:
    world = await worlds()
    person = await world.person(1, 2, 3)
    await world.put(person)
    await world.store.take_session_keys(person.id, [person.device])
    await world.store.publish(person.device, KeyUpdate(seal_key=seal_key(8)))
    world.now += 3_600
    again = await reopened(world, worlds)
    state = await again.store.publish(person.device, KeyUpdate(session_keys(1, 2, 3)))
    assert (state.one_time_keys, [(key.id, key.up_to) for key in state.retired]) == (2, [(7, 1)])
    assert await again.refusal(again.send_to(person)) is StaleSeal


async def test_u2_an_interrupted_leave_goes_on_with_the_next_start(worlds: Worlds) -> None:
    world = await worlds()
    person = await world.person(1, devices=2)
    sends = [world.send_to(person) for _ in range(upkeep.REMOVED_AT_ONCE + 10)]
    await asyncio.gather(*map(world.store.append_sealed, sends))
    assert isinstance(world.store, SqlitePost)
    # As far as the first transaction goes, and no further.
    await world.store._submit(lambda tables: upkeep.leave(tables, person.id))
    with pytest.raises(UnknownAccount):
        await world.store.devices(person.id)
    assert (await world.store.stats()).envelopes == 2 * len(sends)
    again = await reopened(world, worlds)
    stats = await again.store.stats()
    assert (stats.envelopes, stats.size, stats.left) == (0, 0, 1)


async def test_u3_time_counts_over_several_openings(worlds: Worlds) -> None:
    world = await worlds(waiting_seconds=100)
    person = await world.person()
    await world.put(person)
    await world.store.tidy(0)
    for _ in range(4):
        world = await reopened(world, worlds, waiting_seconds=100)
        await world.store.tidy(24)
        assert await world.waiting(person.device) == [1]
    await world.store.tidy(4)
    assert await world.waiting(person.device) == []


async def test_u3_nothing_is_lost_by_an_interrupted_tidy(worlds: Worlds) -> None:
    world = await worlds(waiting_seconds=100)
    person = await world.person()
    await world.put(person)
    await world.store.tidy(0)
    assert isinstance(world.store, SqlitePost)
    assert await world.store._submit(lambda tables: upkeep.note_time(tables, 100)) == 1
    again = await reopened(world, worlds, waiting_seconds=100)
    await again.store.tidy(0)
    assert await again.waiting(person.device) == []


async def test_m7_a_full_database(worlds: Worlds) -> None:
    """What was rolled back is not remembered, and wakes nobody; what makes room is done."""
    world = await worlds()
    person = await world.person(1)
    db = tables_of(world).db
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count={pages + 12}")
    heard: list[int] = []
    world.store.subscribe(mailbox_of(person.device), heard.append)
    sends = [world.send_to(person, bytes(9_000)) for _ in range(10)]
    answers = await asyncio.gather(*map(world.store.append_sealed, sends), return_exceptions=True)
    assert all(isinstance(answer, StoreFull) for answer in answers)
    assert await world.store.usage(mailbox_of(person.device)) == Usage(0, 0)
    stored = 0
    while stored < 10 and not isinstance(
        (await asyncio.gather(world.store.append_sealed(sends[stored]), return_exceptions=True))[0], StoreFull
    ):
        stored += 1
    assert 0 < stored < 10
    assert await world.waiting(person.device) == list(range(1, stored + 1))
    taken = await world.store.take_session_keys(person.id, [person.device])
    assert taken == {person.device: b"one-time 1"}
    await world.store.ack(mailbox_of(person.device), [1])
    assert await world.store.append_sealed(sends[stored]) == (stored + 1,)
    assert await world.store.usage(mailbox_of(person.device)) == Usage(stored, stored * 9_001)
    await asyncio.sleep(0)
    assert heard == list(range(1, stored + 2))
    assert not world.store.failed.done()


async def test_m7_the_reserve_of_the_disk(worlds: Worlds) -> None:
    world = await worlds()
    person = await world.person(1)
    await world.put(person)
    again = await reopened(world, worlds, min_free_bytes=1 << 60)
    assert await again.refusal(again.send_to(person)) is StoreFull
    for refused in (
        again.store.enroll(again.new_account(), None),
        again.store.put_manifest(person.id, 2, b"second", person.devices),
        again.store.publish(person.device, KeyUpdate(session_keys(2))),
    ):
        with pytest.raises(StoreFull):
            await refused
    assert await again.store.take_session_keys(person.id, person.devices) == {person.device: b"one-time 1"}
    await again.store.ack(mailbox_of(person.device), [1])
    assert await again.waiting(person.device) == []


async def test_one_impossible_operation_harms_no_other_of_its_batch(worlds: Worlds) -> None:
    world = await worlds()
    person = await world.person()
    impossible = world.store.enroll(world.new_account(name="half a character \ud800"), None)
    answers = await asyncio.gather(
        world.put(person), impossible, world.put(person, stranger=True), return_exceptions=True
    )
    assert answers[0] == 1
    assert isinstance(answers[1], UnicodeEncodeError)
    assert answers[2] == 2
    assert await world.waiting(person.device) == [1, 2]


async def test_the_accounts_that_are_remembered_are_bounded(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "MEMBERS_CACHED", 3)
    world = await worlds()
    people = [await world.person(devices=2) for _ in range(3 * members.WORTH_IT)]
    for _ in range(2):
        sends = [world.send_to(person) for person in people]
        await asyncio.gather(*map(world.store.append_sealed, sends))
    cached = tables_of(world).members
    assert len(cached._by_id) == 3
    assert len(cached._accounts) == 6
    for person in people:
        assert await world.store.usage(mailbox_of(person.device)) == Usage(2, 10)


async def test_what_is_expected_but_not_there_harms_nobody(worlds: Worlds) -> None:
    """Many accounts are looked up together: those that left, those that never were, and the others."""
    world = await worlds()
    people = [await world.person() for _ in range(2 * members.LOADED_AT_ONCE)]
    await world.store.leave(people[0].id)
    tables_of(world).members.clear()
    sends = [world.send_to(person) for person in people]
    answers = await asyncio.gather(*map(world.store.append_sealed, sends * 2), return_exceptions=True)
    assert isinstance(answers[0], UnknownAccount)
    assert answers[1 : len(people)] == [(k,) for k in range(1, len(people))]
    assert answers[len(people) + 1 :] == answers[1 : len(people)]


async def test_records_of_old_ids_go(worlds: Worlds) -> None:
    world = await worlds()
    person = await world.person()
    sends = [world.send_to(person, b"") for _ in range(seen.FORGOTTEN_AT_ONCE + 10)]
    await asyncio.gather(*map(world.store.append_sealed, sends))
    world.now += 31 * 86_400 + 1
    kept = world.send_to(person)
    for _ in range(3):
        await world.store.append_sealed(kept)
        await world.store.tidy(0)
    assert tables_of(world).db.execute("SELECT id FROM seen").fetchall() == [(kept.envelope,)]


async def test_a_clock_beyond_the_last_second_of_an_id_harms_nobody(worlds: Worlds) -> None:
    world = await worlds()
    person = await world.person(1)
    world.now = 2.0**40
    assert await world.store.take_session_keys(person.id, person.devices) == {person.device: b"one-time 1"}
    assert await world.store.key_state(person.device) == KeyState(0, ())


async def test_the_log_does_not_grow_without_end(
    worlds: Worlds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "ROWS_BETWEEN", 50)
    world = await worlds()
    person = await world.person()
    for _ in range(40):
        sends = [world.send_to(person, bytes(5_000)) for _ in range(20)]
        await asyncio.gather(*map(world.store.append_sealed, sends))
    assert 0 < opening.beside(tmp_path / "post.db", "-wal").stat().st_size < 3_000_000
    assert (await world.store.usage(mailbox_of(person.device))).count == 800


async def test_one_kind_of_database_is_never_taken_for_the_other(tmp_path: Path) -> None:
    classic, post = tmp_path / "server.db", tmp_path / "post.db"
    await (await SqliteStore.open(classic, MemoryBlobs())).close()
    await (await SqlitePost.open(post)).close()
    before = classic.read_bytes(), post.read_bytes()
    with pytest.raises(StoreUnusable, match="database of the classic protocol") as refused:
        await SqlitePost.open(classic)
    assert "data folder" in refused.value.hint
    with pytest.raises(StoreUnusable, match="database of version 3"):
        await SqliteStore.open(post, MemoryBlobs())
    assert before == (classic.read_bytes(), post.read_bytes())


async def test_an_envelope_costs_look_ups_only(worlds: Worlds) -> None:
    """No table is walked, and nothing is sorted, to load accounts, to count a mailbox or to read it."""
    world = await worlds()
    db = tables_of(world).db
    for statement, parameters in (
        (members._LOAD, [bytearray(16)]),
        (members._LOAD_MANY, [bytearray(16)] * members.LOADED_AT_ONCE),
        ("SELECT body FROM envelope WHERE mailbox = ? AND sequence > ? ORDER BY sequence", [1, 1]),
    ):
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()]
        assert plan
        assert not [step for step in plan if not step.startswith("SEARCH")], plan


def test_ids_that_are_forgotten_are_forgotten_by_whole_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "REMEMBERED", 4)
    ids = {second: [EnvelopeId.at(second) for _ in range(2)] for second in (10, 11, 12)}
    known = recent.RecentIds([*ids[12], *ids[12], *ids[11]])
    assert not known.may_contain(EnvelopeId.at(9))
    known.add(ids[10][0])  # one too many: second 10 goes again
    assert known.may_contain(EnvelopeId.at(10))
    assert not known.may_contain(EnvelopeId.at(11))
    assert all(known.may_contain(envelope) for envelope in (*ids[10], *ids[11], *ids[12]))
    known.add(ids[10][1])
    known.add(EnvelopeId.at(12))
    assert known.may_contain(EnvelopeId.at(11))
    assert not known.may_contain(EnvelopeId.at(12))
