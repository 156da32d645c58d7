"""A profile's files, key and database, put together and let go of in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hushpost.client.clock import Clock
from hushpost.client.context import Context, known_me
from hushpost.client.keeper import Keeper
from hushpost.client.lease import Lease
from hushpost.client.profiles import ProfileFiles
from hushpost.client.store import Enrolment, Me, StoreThread, Tables
from hushpost.client.vault import Ask, Vault, key_source
from hushpost.crypto.identity import ContactLink
from hushpost.errors import HushpostError, ProfileError
from hushpost.ids import AccountId


@asynccontextmanager
async def created(profile: Path, ask: Ask | None) -> AsyncIterator[StoreThread]:
    """The database of a profile that exists or is made now."""
    files = ProfileFiles(profile)
    key = await asyncio.to_thread(lambda: Vault(files, key_source(), ask).create())
    db = await StoreThread.open(files.database, key)
    try:
        yield db
    finally:
        await db.purge()
        await db.close()


Running = tuple[Context, Keeper, Vault]


@dataclass(frozen=True, slots=True)
class Opening:
    """How a profile is opened: see `Client.open`."""

    profile: Path
    ask: Ask | None
    clock: Clock


@asynccontextmanager
async def running(opening: Opening) -> AsyncIterator[Running]:
    """A profile at work, until the block is left; then it says farewell, and lets go of everything."""
    files = ProfileFiles(opening.profile)
    vault = await asyncio.to_thread(lambda: Vault(files, key_source(), opening.ask))
    db = await StoreThread.open(files.database, await asyncio.to_thread(vault.open))
    try:
        me = await db.transaction(_begin)
        ctx = Context(db, opening.clock, me)
        keeper = Keeper(ctx, Lease(files.lease))
        async with _at_work(keeper):
            yield ctx, keeper, vault
    finally:
        await db.purge()
        await db.close()


@asynccontextmanager
async def _at_work(keeper: Keeper) -> AsyncIterator[None]:
    """The keeper beside the block. If it fails, the block is cancelled, and its error raised.

    What the block itself raises comes out as it is, not wrapped into a group.
    """
    raised: Exception | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(keeper.run())
            try:
                yield
            except Exception as error:
                raised = error
            else:
                await keeper.farewell()
            task.cancel()
    except BaseExceptionGroup as group:
        ours = [error for error in group.exceptions if isinstance(error, HushpostError)]
        if len(ours) == len(group.exceptions) == 1:
            raise ours[0] from None
        raise
    if raised is not None:
        raise raised


def _begin(t: Tables) -> Me:
    """Raises:
    ProfileError: the account was begun and not finished.
    """
    me = known_me(t)
    if me.enrolment is Enrolment.PENDING:
        begun = t.joining.get()
        if begun is not None and begun.seed is None:  # the user has the phrase: it is not from a join
            hint = "repeat hush recover with your own link and its phrase"
            raise ProfileError("this profile has not finished recovering its account", hint=hint)
        raise ProfileError("this profile has not finished joining", hint="repeat the same hush join")
    t.joining.finish()  # whoever opens it has seen the recovery phrase
    return me


def link_of(me: Me) -> ContactLink:
    """What to give to others."""
    return ContactLink(me.home.host, me.home.port, me.home.pin, me.account, me.name)


def held_up(t: Tables, account: AccountId) -> str:
    """Why what waits for somebody did not go out when it was tried; empty: nothing waits, or it was not."""
    head = t.outbox.head(account)
    if head is None:
        return ""
    return next((each.reason for each in t.outbox.of(head.message) if each.number == head.number), "")


def _outbox(t: Tables) -> str:
    reasons = sorted({held_up(t, each.account) for each in t.outbox.heads(2**62)} - {""})
    return f"{t.outbox.count()} waiting{': ' if reasons else ''}{'; '.join(reasons)}"


def facts_of(t: Tables, ctx: Context) -> dict[str, str]:
    """What `hush doctor` shows of the database."""
    now, seal, fallback = ctx.clock.now(), t.seals.newest(), t.prekeys.fallback()
    position, me = t.me.position(), known_me(t)
    return {
        "enrolment": me.enrolment.value,
        "server": f"{me.home.host}:{me.home.port}",
        "outbox": _outbox(t),
        "mailbox": f"read up to {position.committed}",
        "receipts": "on" if t.me.sends_receipts() else "off",
        "one-time keys": f"{t.prekeys.count()} unused",
        "seal key": f"number {seal.key_id}, {_days(now - seal.made_at)} old" if seal else "none",
        "old seal keys": str(max(0, len(t.seals.every()) - 1)),
        "fallback key": f"{_days(now - fallback.made_at)} old" if fallback else "none",
        "undecryptable": str(len(t.undecryptable.every())),
        "strangers turned away": str(t.people.turned_away()),
    }


def _days(seconds: int) -> str:
    return f"{max(0, seconds) // 86_400} days"
