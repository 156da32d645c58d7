"""What the server pushes goes into the database; only then is the server told that it may forget it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from hushpost.client import journal
from hushpost.client.context import Context
from hushpost.client.following import fetch
from hushpost.client.link import Link
from hushpost.client.reading import Reader, Unlisted
from hushpost.client.refusals import RetryLater
from hushpost.client.store import Epoch, Tables
from hushpost.client.values import Alarm, Standing
from hushpost.crypto.identity import ManifestHash
from hushpost.errors import (
    HushpostError,
    ProfileError,
    ProtocolError,
    Refused,
    StoreError,
    StoreFull,
    Unreachable,
)
from hushpost.ids import AccountId
from hushpost.wire.messages import (
    Acknowledge,
    Acknowledged,
    Envelopes,
    GetEnvelopes,
    Taken,
    WaitingEnvelope,
)

BATCH = 128
"""Envelopes of one transaction, where so many wait: 40 ms, in which nothing else gets at the database."""


class Unfit(Exception):
    """An envelope that would take more room than its sender gets. Its transaction is undone."""


class TakenOver(Refused):
    """Another connection of this very device receives now: another copy of the profile, perhaps."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How many of a page were taken, and what has to be fetched before the next.

    Attributes:
        outbox: there may be something to send.
        receipts_due: seconds since 1970; None: none are owed.
    """

    count: int
    missing: Unlisted | None
    outbox: bool
    receipts_due: int | None


class Receiver:
    """Takes in one device's mailbox over one link.

    Args:
        epoch: of the server's store.
        highest: the last sequence that waited when the device logged in.
    """

    def __init__(self, ctx: Context, link: Link, epoch: Epoch, highest: int) -> None:
        self._ctx = ctx
        self._link = link
        self._epoch = epoch
        self._highest = highest
        self._reader = Reader(ctx)
        self._caught_up = False

    @property
    def caught_up(self) -> bool:
        """What waited when the device logged in is in the database."""
        return self._caught_up

    def forget_keys(self) -> None:
        """Let go of what was opened of our seal keys; what is needed is opened again."""
        self._reader.forget_keys()

    async def run(self) -> None:
        """Until the link fails.

        Raises:
            TakenOver, Unreachable, ProtocolError.
        """
        await self._look_for_the_end()
        while True:
            event = await self._link.next_push()
            if isinstance(event, Taken):
                raise TakenOver("another connection of this device receives its messages now")
            await self.take(event.envelopes)
            self._note_end(event.envelopes[-1].sequence if event.envelopes else 0)

    async def take(self, envelopes: Sequence[WaitingEnvelope]) -> None:
        """Commit a page, then acknowledge it. A crash in between repeats nothing: repeats are known."""
        rest, again, count = list(envelopes), False, BATCH
        while rest:
            batch = rest[:count]
            try:
                done = await self._ctx.change(partial(self._commit, envelopes=batch, again=again))
            except (StoreError, ProfileError, MemoryError):
                raise  # it is not for what an envelope says that they come
            except Exception as error:  # whatever it is: one envelope must not stop those behind it
                if len(batch) == 1:
                    await self._put_aside(batch[0], error)
                    rest, again, count = rest[1:], False, BATCH
                else:
                    count = len(batch) // 2
                continue
            rest, count = rest[done.count :], min(2 * count, BATCH)
            if done.outbox:
                self._ctx.outbox.ring()
            if done.receipts_due is not None:
                self._ctx.schedule.by(done.receipts_due)
            again = done.missing is not None
            if done.missing is not None:
                await self._fetch(done.missing.account)
        sequences = [each.sequence for each in envelopes]
        if sequences:
            await self._link.ask(Acknowledge(0, bytes(self._epoch), sequences), Acknowledged)
        for account, named in self._reader.take_unseen():
            await self._look_after(account, named)

    def _commit(self, t: Tables, envelopes: Sequence[WaitingEnvelope], *, again: bool) -> Progress:
        count, missing, page = 0, None, self._reader.begin(t)
        for each in envelopes:
            try:
                missing = self._reader.take(page, each, again=again and not count)
            except StoreFull as full:  # a bound of ours: that of the disk shows as an error of a statement
                raise Unfit(str(full)) from full
            if missing is not None:
                break
            count += 1
        if count:
            t.me.committed(self._epoch, max(each.sequence for each in envelopes[:count]))
        due = page.receipts_due if t.outbox.owes_more else None
        return Progress(count, missing, t.outbox.has_moved, due)

    async def _put_aside(self, waiting: WaitingEnvelope, error: Exception) -> None:
        """Keep what could not be taken in, as it came, and go on."""
        reason = str(error) if isinstance(error, Unfit | HushpostError) else ""

        def work(t: Tables) -> None:
            self._reader.put_aside(t, waiting, reason or "it cannot be taken in")
            t.me.committed(self._epoch, waiting.sequence)

        await self._ctx.change(work)

    async def _fetch(self, account: AccountId) -> bool:
        """Newer manifests of a sender. Where there are none, the message is refused at the next reading.

        A contact's message is not lost because the server does not answer just now: it is asked again, and
        nothing is acknowledged meanwhile. For strangers nobody waits.

        Returns:
            Whether the server has answered, and with nothing that is refused.
        """
        while True:
            try:
                await fetch(self._ctx, self._link, account)
            except (Unreachable, ProtocolError):
                raise
            except RetryLater as later:
                if not await self._ctx.db.reading(lambda t: _is_contact(t, account)):
                    return False
                await self._ctx.clock.sleep(later.retry_after)
            except HushpostError:
                return False
            else:
                return True

    async def _look_after(self, account: AccountId, named: ManifestHash) -> None:
        """A contact named a manifest of theirs that we have not seen: the server should have it.

        If it answers, and has another, there are two. A stranger's word for it would be worth nothing.
        """
        if not await self._fetch(account):
            return

        def work(t: Tables) -> None:
            if t.manifests.version_of(account, named) is None:
                journal.alarm(t, Alarm.FORK, self._ctx.clock.now(), account)

        await self._ctx.change(work)

    # --- the end of what waits

    async def _look_for_the_end(self) -> None:
        """Where everything was read, or has expired at the server, no push will say so."""
        position = await self._ctx.db.reading(lambda t: t.me.position())
        after = position.committed if position.epoch == self._epoch else 0
        if after < self._highest:
            page = await self._link.ask(GetEnvelopes(0, bytes(self._epoch), after, 1, 1), Envelopes)
            if page.envelopes:
                return
        self._note_end(self._highest)

    def _note_end(self, sequence: int) -> None:
        if not self._caught_up and sequence >= self._highest:
            self._caught_up = True
            self._ctx.status.touch()


def _is_contact(t: Tables, account: AccountId) -> bool:
    person = t.people.get(account)
    return person is not None and person.standing is Standing.CONTACT
