"""One process of a profile at work: the lease, the connection while there is one, and what is due.

The holder of the lease connects, transmits, receives and looks after keys; the others watch the database, and
take over when the lease is free. A connection that breaks is made again, after a wait that grows; what cannot
be mended by waiting stops it, and is told to everybody who waits. Normative text: docs/spec/delivery.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from hushpost.client import journal
from hushpost.client.clock import LONGEST_WAIT, Backoff, Stopwatch
from hushpost.client.context import Context, check_may_send, known_me
from hushpost.client.joining import Entered, enter
from hushpost.client.lease import Lease
from hushpost.client.link import WINDOW, Link
from hushpost.client.people import meet_inviter
from hushpost.client.receiving import Receiver, TakenOver
from hushpost.client.recovering import complete_chain
from hushpost.client.refusals import Denied, RetryLater
from hushpost.client.status import Bell, Phase
from hushpost.client.store import Enrolment, Epoch, Me, Position, Tables
from hushpost.client.threads import stoppable
from hushpost.client.transmitting import Ready, Transmitter
from hushpost.client.upkeep import grow_older, look_after_keys, publish_again
from hushpost.client.values import Alarm
from hushpost.client.writing import say
from hushpost.crypto.content import MAX_RECEIPTS, Receipt
from hushpost.errors import (
    HushpostError,
    OldCopy,
    ProfileError,
    ProtocolError,
    Refused,
    ServerUntrusted,
    StoreFailed,
    StoreFull,
    StoreUnusable,
    Unreachable,
)
from hushpost.ids import AccountId
from hushpost.wire.messages import Authenticated, Subscribe, Subscribed

POLL_SECONDS = 0.2
"""Between two looks at whether another process has changed the database: 10 us each."""

UPKEEP_SECONDS = 60
"""Between two looks at keys and old secrets."""

ANSWER_WITHIN = 86_400
"""Seconds: a contact who wrote to us gets an empty message at least so often, so that both ratchets turn. Not
at once, and strangers never: an answer that nobody has decided upon tells them whether we are there."""


DOUBT = "the server was restored from a backup since: if nobody had fetched this, it is lost"
"""What stands at messages that were accepted before."""

OTHERS_SECONDS = 10.0
"""How long another process of the profile is given to fetch what waits. What has expired never comes."""

FAREWELL_SECONDS = 2.0
"""That the end of a process may take, so that a short command's receipts do not wait for the next one."""


class Keeper:
    """Runs until it is cancelled."""

    def __init__(self, ctx: Context, lease: Lease) -> None:
        self._ctx = ctx
        self._lease = lease
        self._backoff = Backoff()
        self._stopwatch = Stopwatch(ctx.clock)
        self._work: Work | None = None

    async def run(self) -> None:
        """Take the lease when it is free, and be connected from then on."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch())
                # To its end, whatever ends us: a lease that is taken behind our back is never released.
                while not await stoppable(lambda _: self._lease.take()):
                    self._ctx.status.set(Phase.FOLLOWING)
                    await asyncio.sleep(POLL_SECONDS)
                await self._stay_connected()
        finally:
            self._lease.release()

    @asynccontextmanager
    async def link(self) -> AsyncIterator[Link]:
        """A connection to ask something with: ours, or, where another process receives, one for this alone.

        Raises:
            HushpostError: there is none, and why.
        """
        state = await self._ctx.status.until(lambda state: state.phase is not Phase.CONNECTING)
        if self._work is not None:
            yield self._work.link
            return
        if state.phase is not Phase.FOLLOWING:
            raise state.reason or Unreachable("there is no connection")
        me = await self._ctx.db.reading(known_me)
        entered = await enter(self._ctx.db, me, self._ctx.clock)
        try:
            yield entered.link
        finally:
            await entered.link.close()

    def prepare(self, t: Tables, account: AccountId) -> Ready | None:
        """Encrypt what waits for this account in the transaction that has just put something there.

        None: it is done later, in a transaction of its own.
        """
        work = self._work
        return None if work is None else work.transmitter.prepare(t, account)

    def send(self, account: AccountId, ready: Ready | None) -> None:
        """Something for this account waits, and was perhaps prepared already."""
        if self._work is not None and ready is not None:
            self._work.transmitter.hand(ready)
        self._ctx.outbox.ring(account)

    async def settled(self) -> None:
        """Come back when what waited for us is here, and nothing of ours can move any further.

        Raises:
            HushpostError: there is no connection, and why.
        """
        check_may_send(await self._ctx.db.reading(known_me))  # whoever cannot connect never settles
        while True:
            changed = self._ctx.status.next_change
            state, work = self._ctx.status.now, self._work
            if state.phase in {Phase.WAITING, Phase.STOPPED}:
                raise state.reason or Unreachable("there is no connection")
            is_read = state.phase is Phase.FOLLOWING or (work is not None and work.receiver.caught_up)
            if is_read and (work is None or work.transmitter.is_idle):
                now = self._ctx.clock.now()
                moving = await self._ctx.db.reading(partial(_is_moving, now=now))
                if not moving and (work is None or work.transmitter.is_idle):
                    return
            await changed.wait()

    async def caught_up(self) -> None:
        """As `settled`; and where another process receives, what waits at this moment has come to it.

        Raises:
            HushpostError: the server cannot be asked, and why.
        """
        await self.settled()
        if self._ctx.status.now.phase is not Phase.FOLLOWING:
            return
        entered = await enter(self._ctx.db, await self._ctx.db.reading(known_me), self._ctx.clock)
        await entered.link.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OTHERS_SECONDS):
                await self._read_up_to(Epoch(entered.greeting.answer.epoch), entered.answer.highest)
        await self.settled()

    async def _read_up_to(self, epoch: Epoch, highest: int) -> None:
        """Until somebody has put everything up to there into the database."""
        while highest:
            changed = self._ctx.status.next_change
            position = await self._ctx.db.reading(lambda t: t.me.position())
            if position.epoch == epoch and position.committed >= highest:
                return
            await changed.wait()

    async def farewell(self) -> None:
        """What can still be said before the process ends: receipts that are owed, if we are connected."""
        work = self._work
        if work is None:
            return
        await self._ctx.change(partial(work.say_receipts, all_of_them=True))
        self._ctx.outbox.ring()
        with contextlib.suppress(HushpostError, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self.settled()

    async def _watch(self) -> None:
        """Other processes of the profile put things into the outbox, and bring news."""
        known = await self._ctx.db.data_version()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            version = await self._ctx.db.data_version()
            if version != known:
                known = version
                self._ctx.outbox.ring()
                self._ctx.schedule.ring()
                self._ctx.status.touch()

    async def _stay_connected(self) -> None:
        while True:
            self._ctx.status.set(Phase.CONNECTING)
            error = await failure_of(self._connected)
            if isinstance(error, OldCopy | Denied | ProfileError | StoreFailed):
                self._ctx.status.set(Phase.STOPPED, error)
                return
            if isinstance(error, ServerUntrusted):
                await self._ctx.change(partial(self._distrust, why=str(error)))
            self._ctx.status.set(Phase.WAITING, error)
            wait = self._ctx.clock.sleep(self._backoff.failed(_least_wait(error)))
            if isinstance(error, Unreachable):
                await _either(wait, self._ctx.reached)
            else:
                await wait

    def _distrust(self, t: Tables, why: str) -> None:
        journal.alarm(t, Alarm.CANNOT_CONNECT, self._ctx.clock.now(), detail=why)

    async def _connected(self) -> None:
        """One connection, from its beginning to its end, which is always an error."""
        ctx = self._ctx
        me = await ctx.db.reading(known_me)
        check_may_send(me)
        entered = await self._enter(me)
        link, greeting, answer = entered.link, entered.greeting, entered.answer
        try:
            epoch = Epoch(greeting.answer.epoch)
            position = await ctx.change(lambda t: self._check_age(t, epoch, answer))
            check_may_send(await ctx.db.reading(known_me))
            # A server that told of more than it ever stored must not keep us waiting behind that for ever.
            after = min(position.committed, answer.highest)
            request = Subscribe(0, bytes(position.epoch), after, WINDOW)
            subscribed = await link.ask(request, Subscribed)
            receiver = Receiver(ctx, link, Epoch(subscribed.epoch), answer.highest)
            ahead = greeting.answer.server_time - ctx.clock.now()
            transmitter = Transmitter(ctx, link, ahead)
            self._stopwatch.start()
            self._work = Work(ctx, link, receiver, transmitter, self._stopwatch)
            self._backoff.succeeded()
            ctx.status.set(Phase.ONLINE)
            await self._work.run(answer.one_time_keys)
        finally:
            self._work = None
            self._stopwatch.stop()
            await link.close()

    async def _enter(self, me: Me) -> Entered:
        """What makes this database an old copy for ever is asked twice: one wrong number is not enough."""
        entered = await enter(self._ctx.db, me, self._ctx.clock)
        epoch, acknowledged = Epoch(entered.greeting.answer.epoch), entered.answer.acknowledged
        position = await self._ctx.db.reading(lambda t: t.me.position())
        if not position.is_old_copy(epoch, acknowledged):
            return entered
        await entered.link.close()
        return await enter(self._ctx.db, me, self._ctx.clock)

    def _check_age(self, t: Tables, epoch: Epoch, answer: Authenticated) -> Position:
        """Whether this database is an old copy: what was acknowledged was committed somewhere else then.

        And whether the server's store is one: then all keys are published again. Where to read on from is
        returned: of another epoch, if the store is new.
        """
        position = t.me.position()
        if position.is_old_copy(epoch, answer.acknowledged):
            t.me.enrolled(Enrolment.OLD_COPY)
            journal.alarm(t, Alarm.OLD_COPY, self._ctx.clock.now())
        elif t.me.begins(epoch, answer.acknowledged):
            publish_again(t)
            t.history.doubt(DOUBT)
            journal.alarm(t, Alarm.RESTORED, self._ctx.clock.now())
        return position


class Work:
    """Everything that goes on while a connection lasts."""

    def __init__(
        self,
        ctx: Context,
        link: Link,
        receiver: Receiver,
        transmitter: Transmitter,
        stopwatch: Stopwatch,
    ) -> None:
        self._ctx = ctx
        self.link = link
        self.receiver = receiver
        self.transmitter = transmitter
        self._stopwatch = stopwatch

    async def run(self, one_time_keys: int) -> None:
        """Until one part fails, which is the end of all.

        Args:
            one_time_keys: unused, that the server has.
        """
        await complete_chain(self._ctx, self.link)
        await meet_inviter(self._ctx, self.link)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.receiver.run())
            tasks.create_task(self.transmitter.run())
            tasks.create_task(self._keep_keys(one_time_keys))
            tasks.create_task(self._keep_time())

    async def _keep_keys(self, left: int) -> None:
        """Keys and what follows from them: at once, every minute, and when somebody rings."""
        while True:
            await self._ctx.change(self._age)
            with contextlib.suppress(RetryLater, StoreFull):  # the next round tries again
                left = await look_after_keys(self._ctx, self.link, left)
            self.receiver.forget_keys()
            await self._ctx.db.purge()
            self._ctx.outbox.ring()
            await _either(self._ctx.clock.sleep(UPKEEP_SECONDS), self._ctx.keys)

    def _age(self, t: Tables) -> None:
        """What passes with time: old secrets and records; and who is owed an answer or our token."""
        now = self._ctx.clock.now()
        if self.receiver.caught_up:
            t.me.drained(now)
            for each in t.gaps.overdue(now):
                journal.alarm(t, Alarm.MISSING, now, each.account, f"{each.messages} messages")
        grow_older(t, self._stopwatch.take(), now)
        t.received.trim(now)
        t.outbox.trim(now)
        for device in t.devices.unanswered(now - ANSWER_WITHIN):
            if t.outbox.head(device.account) is None:
                say(t, self._ctx, device.account)
        token = t.me.token()
        for account in t.people.untold(token.generation) if token else ():
            person = t.people.get(account)
            if person is not None and person.told and t.outbox.head(account) is None:
                say(t, self._ctx, account)  # whatever is said takes the new token along

    async def _keep_time(self) -> None:
        """Receipts that are due, and messages whose wait is over."""
        while True:
            self._ctx.schedule.looks()
            due = await self._ctx.change(self.say_receipts)
            self._ctx.outbox.ring()
            now = self._ctx.clock.now()
            wait = UPKEEP_SECONDS if due is None else min(max(1, due - now), UPKEEP_SECONDS)
            self._ctx.schedule.waits(now + wait)
            await _either(self._ctx.clock.sleep(wait), self._ctx.schedule)

    def say_receipts(self, t: Tables, *, all_of_them: bool = False) -> int | None:
        """Put receipts into the outbox; when to look again, seconds since 1970."""
        now = self._ctx.clock.now()
        for account in t.outbox.receipts_due(2**62 if all_of_them else now):
            while messages := t.outbox.take_receipts(account, MAX_RECEIPTS):
                say(t, self._ctx, account, Receipt(messages))
        due = [each for each in (t.outbox.next_receipt(), t.outbox.next_time()) if each is not None]
        return min(due, default=None)


async def failure_of(work: Callable[[], Awaitable[None]]) -> HushpostError:
    """What ended it. Errors that are not ours, and cancellation, go on."""
    try:
        await work()
    except HushpostError as error:
        return error
    except BaseExceptionGroup as group:
        found = list(_each(group))
        ours = [each for each in found if isinstance(each, HushpostError)]
        if len(ours) < len(found):
            raise
        # The gravest of several: what waiting does not mend goes first.
        return min(ours, key=lambda each: isinstance(each, Unreachable))
    return Unreachable("the connection ended")


def _each(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _each(error)
        else:
            yield error


def _is_moving(t: Tables, now: int) -> bool:
    return bool(t.outbox.heads(now, 1))


def _least_wait(error: HushpostError) -> float:
    if isinstance(error, RetryLater | StoreFull):
        return error.retry_after
    if isinstance(error, TakenOver | ServerUntrusted | ProtocolError | Refused | StoreUnusable):
        return LONGEST_WAIT / 4
    return 0.0


async def _either(first: Coroutine[Any, Any, None], bell: Bell) -> None:
    """Until one of them; the other is let go of."""
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(first), asyncio.create_task(bell.rung())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
