"""The outbox on its way: first in, first out for each account, the accounts side by side.

What the server refuses because something of ours is out of date is put right and sent again at once, a few
times; what only time mends is put off; what nothing mends is given up, and said so. Normative text:
docs/spec/delivery.md, "Sending".
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from hushpost.client import journal
from hushpost.client.clock import LONGEST_WAIT, Backoff
from hushpost.client.context import Context
from hushpost.client.following import fetch
from hushpost.client.link import Link
from hushpost.client.refusals import RetryLater
from hushpost.client.store import Draft, PeerDevice, Purpose, Queued, Tables
from hushpost.client.values import Delivery, DeliveryChanged
from hushpost.client.writing import Lacking, can_seal_to, encrypt
from hushpost.crypto.body import BodyDigest
from hushpost.crypto.envelope import seal
from hushpost.crypto.prekeys import Owner, PrekeyCheck, PrekeyFault
from hushpost.crypto.seal import Header
from hushpost.errors import (
    Blocked,
    HushpostError,
    IdConflict,
    ManifestError,
    PrekeyError,
    ProtocolError,
    Refused,
    RequestsFull,
    StaleDevices,
    StaleId,
    StaleSeal,
    StoreError,
    StoreFull,
    UnknownAccount,
    Unreachable,
)
from hushpost.ids import AccountId, DeviceId, EnvelopeId
from hushpost.wire.messages import Recipient, SendEnvelope, Stored

AT_ONCE = 8
"""Accounts that are written to side by side: a path of 200 ms then carries forty messages a second."""

MENDS = 8
"""Steps for one message without a pause: the first to a stranger takes four, mending one thing two. A server
that finds something out of date every time gets us to wait, not to spin."""

SEALED_AT_ONCE = 4
"""Headers that are sealed in the event loop, 0.15 ms each; more go to a thread, which costs more to wake."""

LINGER = 0.005
"""Seconds that what the server has accepted waits to be noted, where nothing else waits for the account: in a
conversation the next message comes meanwhile, and one commit does for both."""

CLOCK_DRIFT = 600
"""Seconds: an id that is refused although it is younger than this was made by a clock that is wrong, and the
next would be refused, too."""

DISTRUST_WAIT = 3_600
"""Seconds until a message is tried again for which the server gave out keys that are not the recipient's."""

AWAY = "the recipient's device was not connected for months, or its server was restored: its keys are missing"
AWAY_WAIT = 900
"""Seconds until it is asked again whether somebody is back who has no good keys at the server."""


@dataclass(frozen=True, slots=True)
class Ready:
    """An encrypted message, and what is needed to seal and address it.

    Attributes:
        is_last: nothing waits behind it for the account.
    """

    head: Queued
    devices: dict[DeviceId, PeerDevice]
    token: bytes
    is_last: bool


@dataclass(frozen=True, slots=True)
class Wanting:
    """A draft that cannot be encrypted yet, or not at all."""

    head: Draft
    why: Lacking | HushpostError


class Transmitter:
    """Sends what waits, over one link, until that fails.

    Args:
        server_ahead: seconds that the server's clock is ahead of ours: envelope ids carry its time.
    """

    def __init__(self, ctx: Context, link: Link, server_ahead: int) -> None:
        self._ctx = ctx
        self._link = link
        self._server_ahead = server_ahead
        self._busy: set[AccountId] = set()
        self._missed: set[AccountId] = set()
        self._handed: dict[AccountId, Ready] = {}
        self._unnoted: dict[AccountId, Queued] = {}
        self._lingering: dict[AccountId, asyncio.Event] = {}

    async def run(self) -> None:
        """Until the link fails.

        Raises:
            Unreachable, ProtocolError: it has.
        """
        async with asyncio.TaskGroup() as tasks:
            accounts: AbstractSet[AccountId] = frozenset()
            while True:
                for account in accounts or await self._waiting():
                    if account in self._lingering:
                        self._lingering[account].set()
                        continue
                    ready = self._handed.pop(account, None)
                    if account in self._busy or len(self._busy) >= AT_ONCE:
                        self._missed.add(account)
                        continue
                    self._busy.add(account)
                    tasks.create_task(self._serve(account, ready))
                accounts = await self._ctx.outbox.rung()

    def prepare(self, t: Tables, account: AccountId) -> Ready | None:
        """The first that waits for this account, encrypted within the transaction; None: not now.

        Called in the store's thread. Whoever is busy with the account finds it by themselves, unless they
        linger with something accepted; that is noted here then. Should the transaction fail, it is sent
        once more, and the server takes it once.
        """
        accepted = self._unnoted.pop(account, None)
        if account in self._busy and accepted is None:
            return None
        step = self._next(account, accepted, t)
        return step if isinstance(step, Ready) else None

    def hand(self, ready: Ready) -> None:
        """What `prepare` gave, committed since. It need not be read again, if nobody has done so meanwhile.

        Sent twice in the worst case: the same bytes, which the server takes once.
        """
        self._handed[ready.head.account] = ready

    @property
    def is_idle(self) -> bool:
        """Nothing is under way."""
        return not self._busy

    async def _waiting(self) -> AbstractSet[AccountId]:
        """For whom something is due."""
        now = self._ctx.clock.now()
        return {each.account for each in await self._ctx.db.reading(lambda t: t.outbox.heads(now))}

    async def _serve(self, account: AccountId, ready: Ready | None) -> None:
        """Everything that waits for one account, in order, until it is done or put off."""
        try:
            mends, accepted = 0, None
            step: Ready | Wanting | None = ready
            while (step := step or await self._move(account)) is not None:
                try:
                    accepted = await self._advance(step)
                    if accepted is not None:
                        self._unnoted[account] = accepted
                    mends = 0 if accepted else mends + 1
                    if mends > MENDS:
                        mends = 0
                        await self._put_off(step.head, LONGEST_WAIT, "what the server gives out does not fit")
                except (Unreachable, ProtocolError):
                    raise
                except HushpostError as error:
                    await self._refused(step, error)
                step = await self._linger(step) if account in self._unnoted else None
        finally:
            self._busy.discard(account)
            missed, self._missed = self._missed, set()
            for each in missed:
                self._ctx.outbox.ring(each)
            self._ctx.status.touch()

    async def _move(self, account: AccountId) -> Ready | Wanting | None:
        """Note what was accepted, and encrypt what is next: one commit for both."""
        return await self._ctx.change(lambda t: self._next(account, self._unnoted.pop(account, None), t))

    async def _linger(self, accepted: Ready | Wanting) -> Ready | None:
        """Whoever puts the next message into the outbox notes this one as well, and hands on the next."""
        account = accepted.head.account
        if isinstance(accepted, Ready) and accepted.is_last:
            self._lingering[account] = asyncio.Event()
            try:
                async with asyncio.timeout(LINGER):
                    await self._lingering[account].wait()
            except TimeoutError:
                pass
            finally:
                del self._lingering[account]
        return self._handed.pop(account, None)

    def _next(self, account: AccountId, accepted: Queued | None, t: Tables) -> Ready | Wanting | None:
        """What is next for an account, encrypted.

        What keeps a draft from being encrypted is handed on with it, and raised where it is handled.

        Args:
            accepted: what the server has, to be noted first.
        """
        if accepted is not None:
            self._accepted(t, accepted)
        head = t.outbox.head(account, self._ctx.clock.now())
        if isinstance(head, Draft):
            try:
                lacking = encrypt(t, self._ctx, head, self._fresh_id())
            except HushpostError as error:
                return Wanting(head, error)
            except (ValueError, OverflowError):  # it fails, and what waits behind it goes on
                return Wanting(head, Refused("this message cannot be encrypted"))
            if lacking is not None:
                return Wanting(head, lacking)
            head = t.outbox.waiting(head.number)
        if not isinstance(head, Queued):
            return None
        devices = {part.device: t.devices.get(account, part.device) for part in head.parts}
        known = {name: each for name, each in devices.items() if each}
        return Ready(head, known, _token(t, account), t.outbox.is_last(account, head.number))

    async def _advance(self, step: Ready | Wanting) -> Queued | None:
        """One step towards the server's answer; what it has accepted, if that was the step."""
        head = step.head
        if isinstance(step, Wanting):
            if isinstance(step.why, HushpostError):
                raise step.why
            await self._fetch(head.account, step.why.sessions)
            return None
        if not can_seal_to(tuple(step.devices.values()), self._ctx.clock.now()):
            await self._fetch(head.account)
            if not all(each.listed for each in step.devices.values()):
                await self._ctx.db.transaction(lambda t: t.repair.redraft(head.number))
            return None
        try:
            await self._transmit(step)
        except StaleDevices:
            await fetch(self._ctx, self._link, head.account)
            await self._ctx.db.transaction(lambda t: t.repair.redraft(head.number))
            return None
        except StaleSeal as stale:
            keys = dict(stale.keys)
            await self._ctx.db.transaction(lambda t: self._keep_seals(t, head.account, keys))
            return None
        except (StaleId, IdConflict) as refused:
            fresh, used = self._fresh_id(), step.head.envelope
            if isinstance(refused, StaleId) and abs(fresh.seconds - used.seconds) < CLOCK_DRIFT:
                raise Unreachable(
                    "this device's clock was changed: the server is asked for its own"
                ) from None
            await self._ctx.db.transaction(lambda t: t.outbox.renew(head.number, fresh))
            return None
        return step.head

    async def _fetch(self, account: AccountId, sessions: Sequence[DeviceId] = ()) -> None:
        """What is missing to write to an account.

        Raises:
            RetryLater: it is missing at the server, too, until its owner connects again.
        """
        await fetch(self._ctx, self._link, account, sessions)
        listed = await self._ctx.db.reading(lambda t: t.devices.listed(account))
        if not can_seal_to(listed, self._ctx.clock.now()):
            raise RetryLater(AWAY, retry_after=AWAY_WAIT)

    async def _transmit(self, step: Ready) -> None:
        head = step.head
        if len(head.parts) > SEALED_AT_ONCE:
            recipients = await asyncio.to_thread(self._sealed, head, step.devices)
        else:
            recipients = self._sealed(head, step.devices)
        request = SendEnvelope(
            0, bytes(head.account), bytes(head.envelope), recipients, head.body, step.token
        )
        await self._link.ask(request, Stored)

    def _sealed(self, queued: Queued, devices: dict[DeviceId, PeerDevice]) -> list[Recipient]:
        """Fresh seals around the bytes that never change."""
        digest = BodyDigest.of(queued.body)
        recipients: list[Recipient] = []
        for part in queued.parts:
            device = devices[part.device]
            if device.seal is None or device.seal.is_expired(self._ctx.clock.now()):
                raise PrekeyError(PrekeyFault.EXPIRED)  # never silently, whatever led here
            header = seal(
                Header.decode(part.inner),
                recipient=part.device,
                to=device.seal,
                envelope=queued.envelope,
                body=digest,
            )
            recipients.append(Recipient(bytes(part.device), device.seal.key_id, header))
        return recipients

    def _accepted(self, t: Tables, queued: Queued) -> None:
        now = self._ctx.clock.now()
        t.outbox.accepted(queued.number, now)
        t.story.tell(queued.message, "accepted by the server", now)
        journal.progress(
            t,
            DeliveryChanged(journal.UNNUMBERED, now, queued.message, queued.account, Delivery.ACCEPTED),
        )

    def _keep_seals(self, t: Tables, account: AccountId, keys: dict[bytes, bytes | None]) -> None:
        """The keys that a `stale-seal` brought, checked like any other.

        Raises:
            PrekeyError: one is not its device's, or older than one that we know.
            RetryLater: a device has none.
        """
        for name, raw in keys.items():
            known = t.devices.get(account, DeviceId(name))
            if known is None:
                continue
            if raw is None:
                raise RetryLater(AWAY, retry_after=AWAY_WAIT)
            check = PrekeyCheck(Owner(account, known.device), self._ctx.clock.now(), known.seal)
            t.devices.keep_seal(account, known.id, check.seal(raw))

    async def _refused(self, step: Ready | Wanting, error: HushpostError) -> None:
        """What is not mended at once: put it off, or give it up."""
        head = step.head
        if isinstance(error, StoreFull | RetryLater):
            shown = step.token if isinstance(error, RequestsFull) and isinstance(step, Ready) else None
            await self._put_off(head, error.retry_after, str(error), shown)
        elif isinstance(error, ManifestError | PrekeyError):
            await self._put_off(head, DISTRUST_WAIT, str(error))
        elif isinstance(error, Blocked | UnknownAccount | Refused | StoreError):
            await self._ctx.change(lambda t: self._failed(t, head, str(error)))
        else:
            raise error

    async def _put_off(
        self, head: Draft | Queued, seconds: float, reason: str, shown: bytes | None = None
    ) -> None:
        """Try again later.

        Args:
            shown: the token, if any, that did not get it past the limits of requests. Another ends the wait.
        """
        now = self._ctx.clock.now()
        due = now + max(1, math.ceil(Backoff(first=seconds / 4).failed(at_least=seconds)))

        def work(t: Tables) -> None:
            if shown is not None and _token(t, head.account) != shown:
                return  # it came meanwhile
            t.outbox.put_off(head.number, due, reason, wants_token=shown is not None)
            t.story.tell(head.message, f"waits: {reason}", now)

        await self._ctx.change(work)

    def _failed(self, t: Tables, head: Draft | Queued, reason: str) -> None:
        now = self._ctx.clock.now()
        t.outbox.failed(head.number, now, reason)
        t.story.tell(head.message, f"given up: {reason}", now)
        if head.purpose is not Purpose.MESSAGE:
            return
        change = DeliveryChanged(journal.UNNUMBERED, now, head.message, head.account, Delivery.FAILED, reason)
        journal.progress(t, change)

    def _fresh_id(self) -> EnvelopeId:
        return EnvelopeId.at(self._ctx.clock.now() + self._server_ahead)


def _token(t: Tables, account: AccountId) -> bytes:
    """Their delivery token; empty: they gave us none."""
    person = t.people.get(account)
    return bytes(person.token) if person and person.token else b""
