"""Looking after our keys: enough one-time keys, a fresh seal key each day, old secrets gone when they may go.

What is uploaded is durable first, and uploaded again with the same bytes until the server has it. Every rule
here is one of docs/spec/delivery.md, "Keys".
"""

from __future__ import annotations

from dataclasses import dataclass

from hushpost.client import journal
from hushpost.client.context import Context, device_account, own_manifest
from hushpost.client.link import Link
from hushpost.client.store import OwnSealKey, Tables
from hushpost.client.values import Alarm
from hushpost.crypto.prekeys import Owner, SealPrekey, SessionPrekey
from hushpost.crypto.primitives import SealSecret, sha256
from hushpost.crypto.ratchet import ONE_TIME_KEYS, DeviceAccount, NewKey, Unpublished
from hushpost.errors import ProfileError
from hushpost.wire.messages import KeysPublished, PublishKeys

SEAL_LIFETIME = 90 * 86_400
"""Seconds: who is away for longer cannot be written to until they are back."""

SEAL_WAITS = SEAL_LIFETIME // 2
"""Seconds that a seal key may wait for its publication before another takes its place: a server takes none
that has expired."""

SEAL_ROTATION = 86_400
"""Seconds between two seal keys: as long as a thief of the device could read what was recorded before."""

ENOUGH_KEYS = 25
"""Unused one-time keys at the server, below which they are topped up: no request for each contact."""

DRAINED_WITHIN = 3_600
"""Seconds since the mailbox was last read to its end, for a new fallback key: what waits there may need the
one before."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An upload, and what to note when the server has it.

    Attributes:
        is_needed: there is something to upload, or to ask about.
    """

    request: PublishKeys
    unpublished: Unpublished
    seal: OwnSealKey
    generation: int
    is_needed: bool


def own_owner(t: Tables, ctx: Context) -> Owner:
    """Our device as our manifest lists it.

    Raises:
        ProfileError: it does not, any more.
    """
    device = own_manifest(t, ctx.me).device(ctx.me.device)
    if device is None:
        raise ProfileError("this device was removed from its account", hint="use hush recover")
    return Owner(ctx.me.account.id, device)


def sign_prekeys(account: DeviceAccount, owner: Owner) -> tuple[list[bytes], bytes]:
    """The one-time keys and the fallback key that are not published yet; empty where there is none."""

    def signed(new: NewKey) -> bytes:
        return SessionPrekey.by(account, owner, new.kind, new.key_id, new.key).encode()

    unpublished = account.unpublished
    fallback = signed(unpublished.fallback) if unpublished.fallback else b""
    return [signed(each) for each in unpublished.one_time], fallback


def signed_seal(account: DeviceAccount, owner: Owner, key: OwnSealKey) -> SealPrekey:
    return SealPrekey.by(account, owner, key.key_id, key.secret.public, key.expires)


def publish_again(t: Tables) -> None:
    """The server's store is a copy that was restored: what it has of our keys may be used up or gone here.

    Until it has the present seal key, senders get one whose secret was deleted, and mail is lost; until it
    has the present token, those who were blocked since have a good one.
    """
    t.seals.unpublished()
    t.me.token_unpublished()


def plan(t: Tables, ctx: Context, left: int) -> Plan:
    """Make what is due, and say what is to be uploaded.

    Args:
        left: unused one-time keys that the server has.
    """
    now, account, owner = ctx.clock.now(), device_account(t), own_owner(t, ctx)
    replace_all = not t.seals.is_published()
    _make_session_keys(t, account, 0 if replace_all else left, now, replace_all=replace_all)
    seal = _present_seal(t, now)
    token = t.me.token()
    if token is None:
        raise ProfileError("this profile has no delivery token", hint="use hush recover")
    t.olm.keep(account.pickle())
    one_time, fallback = sign_prekeys(account, owner)
    request = PublishKeys(
        0,
        one_time,
        replace_all,
        fallback,
        b"" if seal.published_at else signed_seal(account, owner, seal).encode(),
        b"" if token.published else sha256(token.token),
    )
    waits = bool(one_time or fallback or replace_all or not seal.published_at or not token.published)
    asks = len(t.seals.every()) > 1  # the server may have something to tell about the old ones
    return Plan(request, account.unpublished, seal, token.generation, waits or asks)


def _make_session_keys(t: Tables, account: DeviceAccount, left: int, now: int, *, replace_all: bool) -> None:
    if left < ENOUGH_KEYS:
        missing = ONE_TIME_KEYS - left - len(account.unpublished.one_time)
        account.make_one_time_keys(t.prekeys.allow(max(0, missing), now))
    known = t.prekeys.fallback()
    drained = 0 <= now - t.me.drained_at() < DRAINED_WITHIN
    is_due = account.may_make_fallback_key(drained=drained, age=now - known.made_at if known else now)
    if is_due or (replace_all and account.unpublished.fallback is None):
        account.make_fallback_key()
    note_unpublished(t, account, now)


def note_unpublished(t: Tables, account: DeviceAccount, now: int) -> None:
    """What was made, in the transaction that keeps the account with its secrets. Again: nothing changes."""
    for each in account.unpublished.one_time:
        t.prekeys.made(each.key_id, each.key)
    made, known = account.unpublished.fallback, t.prekeys.fallback()
    if made is not None and (known is None or known.key_id != made.key_id):
        t.prekeys.made_fallback(made.key_id, now)


def _present_seal(t: Tables, now: int) -> OwnSealKey:
    """The newest seal key; a new one where that has served for a day, or waits for far too long."""
    newest = t.seals.newest()
    if newest is not None:
        lasts = SEAL_WAITS if newest.published_at is None else SEAL_ROTATION
        if now - newest.made_at < lasts:
            return newest
    return t.seals.add(SealSecret.random(), now + SEAL_LIFETIME, now)


def settle(t: Tables, ctx: Context, done: Plan, answer: KeysPublished) -> None:
    """Note that the server has it; delete what is not needed any more."""
    now, account = ctx.clock.now(), device_account(t)
    if account.unpublished == done.unpublished:
        account.mark_published(done.unpublished)
        t.olm.keep(account.pickle())
        if done.unpublished.fallback is not None:
            t.prekeys.fallback_published(done.unpublished.fallback.key_id, now)
    t.seals.published(done.seal.key_id, now)
    t.me.token_published(done.generation)
    for each in answer.retired:
        t.seals.retired(each.seal_key_id, each.up_to)
    delete_old(t, now)


def grow_older(t: Tables, seconds: int, now: int) -> None:
    """We were connected for so long. A new seal key that was not taken in a day of that is an alarm, daily.

    Whoever serves us could otherwise keep the old key in use, and hope for this device.
    """
    t.seals.connected(seconds)
    newest = t.seals.newest()
    if newest is not None and newest.published_at is None:
        before = newest.connected - seconds
        if newest.connected // SEAL_ROTATION > before // SEAL_ROTATION:
            journal.alarm(t, Alarm.SEAL_NOT_TAKEN, now)
    delete_old(t, now)


def delete_old(t: Tables, now: int) -> None:
    """Seal keys for which nothing can come any more; and those that were kept for too long, with an alarm."""
    t.seals.delete_retired(t.me.position().committed)
    for _ in t.seals.delete_overdue():
        journal.alarm(t, Alarm.SEAL_KEPT_LONG, now)


async def look_after_keys(ctx: Context, link: Link, left: int) -> int:
    """One round. Returns how many unused one-time keys the server has then."""
    made = await ctx.db.transaction(lambda t: plan(t, ctx, left))
    if not made.is_needed:
        return left
    answer = await link.ask(made.request, KeysPublished)
    await ctx.change(lambda t: settle(t, ctx, made, answer))
    return answer.one_time_keys
