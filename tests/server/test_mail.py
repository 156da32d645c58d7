"""Sending, reading, acknowledging: over real TLS, with every refusal."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec
import pytest

from hushpost.crypto.identity import next_manifest
from hushpost.settings import PostLimits, Rate, Rates
from hushpost.stores.base import REQUESTS_COUNT, StoreLimits
from hushpost.stores.memory import MemoryBlobs
from hushpost.stores.post.memory import MemoryPost
from hushpost.wire.limits import HEADER_SIZE, MAX_BODY, MAX_OPEN_REQUESTS
from hushpost.wire.messages import (
    Acknowledge,
    Acknowledged,
    Envelopes,
    ErrorCode,
    GetEnvelopes,
    KeysPublished,
    ManifestPut,
    PublishKeys,
    PutManifest,
    Stored,
)
from tests.crypto.people import ALICE, BOB, Hand
from tests.server.serving import Keeper, alice_and_bob, deliver, letter, serving, settings

EVERYTHING = GetEnvelopes(0, bytes(16), 0, 1_000, 1 << 20)
"""The epoch of no store: from the beginning."""


async def test_a_letter_waits_until_it_is_acknowledged(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (_, one), (bob, other)):
        first = await deliver(one, bob, b"for bob")
        page = await other.expect(Envelopes, EVERYTHING)
        assert page.epoch == served.store.epoch
        assert [(each.sequence, each.body) for each in page.envelopes] == [(first, b"for bob")]
        assert not page.more
        assert not page.envelopes[0].is_request
        assert (await other.expect(Envelopes, EVERYTHING)).envelopes == page.envelopes
        await other.expect(Acknowledged, Acknowledge(0, bytes(16), [first], first))  # of another epoch
        assert (await other.expect(Envelopes, EVERYTHING)).envelopes == page.envelopes
        await other.expect(Acknowledged, Acknowledge(0, served.store.epoch, [first]))
        assert (await other.expect(Envelopes, EVERYTHING)).envelopes == []
        assert (await one.expect(Envelopes, EVERYTHING)).envelopes == []


async def test_a_repeated_send_is_answered_the_same(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (_, (_, one), (bob, other)):
        send = letter(bob, b"once")
        first = await one.expect(Stored, send)
        assert (await one.expect(Stored, send)).sequences == first.sequences
        assert len((await other.expect(Envelopes, EVERYTHING)).envelopes) == 1
        changed = msgspec.structs.replace(send, body=b"other")
        assert (await one.refused(changed)).error == ErrorCode.ID_CONFLICT


async def test_what_is_out_of_date_comes_with_what_is_newer(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (_, (_, one), (bob, other)):
        assert (await one.refused(letter(bob, at=0))).error == ErrorCode.STALE_ID
        await other.expect(KeysPublished, PublishKeys(0, seal_key=bob.seal_key(2)))
        answer = await one.refused(letter(bob))
        assert answer.error == ErrorCode.STALE_SEAL
        assert [each[:16] for each in answer.detail] == [bob.device]
        assert answer.detail[0][16:] == bob.seal_key(2)
        spare = Hand(40)
        devices = [bob.owner.device, spare.joins(BOB.account)]
        newer = next_manifest(bob.manifest, BOB.secret, devices)
        await other.expect(ManifestPut, PutManifest(0, newer.encode()))
        answer = await one.refused(letter(bob))
        assert answer.error == ErrorCode.STALE_DEVICES
        assert answer.detail == [newer.encode()]


async def test_somebody_who_does_not_exist(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (_, (_, one), (bob, _)):
        nobody = msgspec.structs.replace(letter(bob), account=bytes(16))
        assert (await one.refused(nobody)).error == ErrorCode.UNKNOWN_ACCOUNT


async def test_strangers_cannot_fill_a_mailbox(tmp_path: Path) -> None:
    """Without the token, or with another: the requests lane, and that is small."""
    async with alice_and_bob(settings(tmp_path)) as (_, (_, one), (bob, other)):
        for _ in range(REQUESTS_COUNT):
            await deliver(one, bob, token=False)
        answer = await one.refused(letter(bob, token=False))
        assert answer.error == ErrorCode.REQUESTS_FULL
        guessed = msgspec.structs.replace(letter(bob), delivery_token=bytes(32))
        assert (await one.refused(guessed)).error == ErrorCode.REQUESTS_FULL
        known = await deliver(one, bob)
        page = await other.expect(Envelopes, EVERYTHING)
        assert [each.is_request for each in page.envelopes] == [True] * REQUESTS_COUNT + [False]
        assert page.envelopes[-1].sequence == known


async def test_full_is_an_answer_with_a_time(tmp_path: Path) -> None:
    limits = StoreLimits(mailbox_count=2)
    make_store = partial(lambda: MemoryPost(MemoryBlobs(), limits))
    alice, bob = Keeper.of(ALICE), Keeper.of(BOB)
    async with (
        serving(settings(tmp_path), make_store=make_store) as served,
        await served.enroll(alice) as one,
        await served.enroll(bob) as other,
    ):
        first = await deliver(one, bob)
        await deliver(one, bob)
        answer = await one.refused(letter(bob))
        assert answer.error == ErrorCode.FULL
        assert answer.retry_after
        await other.expect(Acknowledged, Acknowledge(0, served.store.epoch, [], first))
        await deliver(one, bob)


@pytest.mark.parametrize(
    ("name", "token"), [("sends", True), ("introductions", False)], ids=["sends", "introductions"]
)
async def test_sends_are_counted_by_account(tmp_path: Path, name: str, *, token: bool) -> None:
    rates = Rates(**{name: Rate(3, 3_000)})
    async with alice_and_bob(settings(tmp_path, rates=rates)) as (served, (alice, one), (bob, other)):
        for _ in range(3):
            await deliver(one, bob, token=token)
        answer = await one.refused(letter(bob, token=token))
        assert answer.error == ErrorCode.RATE_LIMITED
        assert answer.retry_after == 1_000
        async with await served.login(alice) as again:
            assert (await again.refused(letter(bob, token=token))).error == ErrorCode.RATE_LIMITED
        await deliver(other, alice, token=token)


async def test_reads_and_acknowledgements_are_counted_by_account(tmp_path: Path) -> None:
    rates = Rates(fetches=Rate(1, 100), acknowledgements=Rate(1, 100))
    async with alice_and_bob(settings(tmp_path, rates=rates)) as (_, (_, one), (_, other)):
        for request in (EVERYTHING, Acknowledge(0, bytes(16), [], 0)):
            await one.ask(request)
            assert (await one.refused(request)).error == ErrorCode.RATE_LIMITED
            await other.ask(request)


async def test_pages_keep_to_count_and_bytes(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (served, (_, one), (bob, other)):
        sequences = [await deliver(one, bob, bytes(size)) for size in (1, 100, 1_000, MAX_BODY, 5)]
        epoch = served.store.epoch

        async def page(after: int, count: int, size: int) -> tuple[list[int], bool]:
            found = await other.expect(Envelopes, GetEnvelopes(0, epoch, after, count, size))
            return [each.sequence for each in found.envelopes], found.more

        assert await page(0, 10, 1 << 20) == (sequences, False)
        assert await page(0, 2, 1 << 20) == (sequences[:2], True)
        assert await page(sequences[2], 2, 1 << 20) == (sequences[3:], False)
        assert await page(0, 10, 2 * HEADER_SIZE + 101) == (sequences[:2], True)
        assert await page(0, 10, 2 * HEADER_SIZE + 100) == (sequences[:1], True)
        assert await page(sequences[2], 10, 1) == (sequences[3:4], True), "one, however large"
        assert await page(0, 0, 0) == (sequences[:1], True)
        assert await page(sequences[4], 10, 1 << 20) == ([], False)


async def test_the_sends_of_a_connection_are_stored_in_their_order(tmp_path: Path) -> None:
    async with alice_and_bob(settings(tmp_path)) as (_, (_, one), (bob, _)):
        numbers = [one.write(letter(bob, b"%d" % index)) for index in range(MAX_OPEN_REQUESTS)]
        answers = [await one.answer(number) for number in numbers]
        sequences = [each.sequences[0] for each in answers if isinstance(each, Stored)]
        assert sequences == sorted(sequences)
        assert len(sequences) == MAX_OPEN_REQUESTS


async def test_more_than_is_taken_in_hand_waits_in_its_order(tmp_path: Path) -> None:
    """Above the limit nothing is read; everything is answered in the end."""
    limits = PostLimits(in_hand=4_000)
    async with alice_and_bob(settings(tmp_path, limits=limits)) as (served, (_, one), (bob, other)):
        numbers = [one.write(letter(bob, bytes(900) + b"%d" % index)) for index in range(200)]
        numbers += [one.write(EVERYTHING) for _ in range(20)]
        answers = [await one.answer(number) for number in numbers]
        assert not [each for each in answers if not isinstance(each, Stored | Envelopes)]
        page = await other.expect(Envelopes, EVERYTHING)
        assert [int(each.body.lstrip(b"\0")) for each in page.envelopes] == list(range(200))
        assert served.office.in_hand == 0


async def test_too_much_in_all_hands_is_refused_for_a_moment(tmp_path: Path) -> None:
    limits = PostLimits(in_hand_total=1)
    async with alice_and_bob(settings(tmp_path, limits=limits)) as (served, (_, one), (bob, _)):
        served.office.in_hand += 2
        answer = await one.refused(letter(bob))
        assert (answer.error, answer.retry_after) == (ErrorCode.UNAVAILABLE, 1)
        await one.expect(Acknowledged, Acknowledge(0, served.store.epoch, [1]))  # that makes room
        served.office.in_hand -= 2
        await deliver(one, bob)
