"""The public library: `hushpost.Client`.

    joined = await Client.join(profile, "hush://...", "alice")     # once; show joined.recovery_phrase
    async with Client.open(profile) as client:
        bob = await client.add("hush://.../u/bob#...")
        message = await client.send(bob.account, "hello")            # durable in the outbox when it returns
        async for event in client.events("my-bot"):
            ...

**What `events` promises.** An event is in the local database before the server is told that it may forget
the envelope, in the same transaction as the ratchet that opened it. A handler's name owns a durable cursor.
The cursor moves past an event when the *next* one is asked for, so whoever dies while handling one gets it
again, and whoever has asked for the next never does. A handler that must not act twice stores
`event.number` together with what it did: numbers only grow and are never used again.

**Several processes** may open one profile. One of them, which holds the lease, is connected; the others
write to the outbox and follow the database, and one takes over when it is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hushpost.client import journal, people
from hushpost.client.clock import Clock, SystemClock
from hushpost.client.context import Context, known_me
from hushpost.client.directory import Listed, listed
from hushpost.client.feed import advance, events_after, feed
from hushpost.client.joining import Wish, check_account_name, join
from hushpost.client.keeper import Keeper
from hushpost.client.moving import move
from hushpost.client.profiles import ProfileFiles
from hushpost.client.recovering import recover
from hushpost.client.running import Opening, created, facts_of, held_up, link_of, running
from hushpost.client.status import Phase
from hushpost.client.store import Enrolment, Me, Tables
from hushpost.client.transfers.library import Files
from hushpost.client.transfers.porter import Porter
from hushpost.client.transmitting import Ready
from hushpost.client.values import Contact, Delivery, Event, Message
from hushpost.client.vault import Ask, Vault
from hushpost.client.writing import compose
from hushpost.crypto.identity import ContactLink, JoinLink, format_phrase, parse_link, parse_phrase
from hushpost.errors import LinkError, UsageError
from hushpost.ids import AccountId, DeviceId, MessageId
from hushpost.wire.messages import Accounts, GetUsage, Leave, Left, UsageAnswer

_ORDER = (Delivery.QUEUED, Delivery.ACCEPTED, Delivery.DELIVERED)


@dataclass(frozen=True, slots=True)
class Joined:
    """A new account. The phrase is shown once and kept nowhere."""

    link: ContactLink
    recovery_phrase: str


@dataclass(frozen=True, slots=True)
class Myself:
    """Who this profile is: what `hush whoami` shows."""

    account: AccountId
    device: DeviceId
    name: str
    link: ContactLink


def myself(me: Me) -> Myself:
    """As `hush whoami` shows it."""
    return Myself(me.account.id, me.device, me.name, link_of(me))


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of a message: `hush explain`.

    Attributes:
        steps: what happened to it and when (seconds since 1970), oldest first.
    """

    message: MessageId
    steps: tuple[tuple[int, str], ...]


class Client(Files):
    """One profile, open. Made by `open`; see the module for what is promised."""

    def __init__(self, ctx: Context, keeper: Keeper, vault: Vault, porter: Porter) -> None:
        super().__init__(porter)
        self._ctx = ctx
        self._keeper = keeper
        self._vault = vault

    @classmethod
    async def join(
        cls, profile: Path, link: str, name: str, *, ask: Ask | None = None, clock: Clock | None = None
    ) -> Joined:
        """Create an account and this device. Repeating it after a crash or a lost answer is safe.

        Args:
            ask: asks for the passphrase of the database's key, where one is needed; None: nobody is there.

        Raises:
            ProfileLocked: there is nowhere to keep the database's key.
            LinkError: not an invitation.
            InviteInvalid, NameTaken: nothing was created.
            ServerUntrusted, Unreachable.
        """
        invitation = parse_link(link)
        if not isinstance(invitation, JoinLink):
            raise LinkError("this link is no invitation", hint="a contact is added with hush contacts add")
        check_account_name(name)
        clock = clock or SystemClock()
        async with created(profile, ask) as db:
            seed = await join(db, Wish.of(invitation, name), clock)
            me = await db.reading(known_me)
        if seed is None:
            raise UsageError("this profile has joined already", hint="use --profile for another account")
        return Joined(link_of(me), format_phrase(seed))

    @classmethod
    async def recover(
        cls, profile: Path, link: str, phrase: str, *, ask: Ask | None = None, clock: Clock | None = None
    ) -> Myself:
        """This device becomes the only one of one's account: a new account key, signed by the recovery key.

        Contacts are shown the change; who had verified us is asked to decide.

        Args:
            link: one's own contact link.

        Raises:
            PhraseError: a slip in the phrase, or it is of another account.
        """
        own = parse_link(link)
        if not isinstance(own, ContactLink):
            raise LinkError("this is not your own contact link", hint="it is the one that hush whoami shows")
        clock = clock or SystemClock()
        async with created(profile, ask) as db:
            await recover(db, own, parse_phrase(phrase), clock)
            return myself(await db.reading(known_me))

    @classmethod
    def open(
        cls, profile: Path, *, ask: Ask | None = None, clock: Clock | None = None
    ) -> AbstractAsyncContextManager[Client]:
        """Open a profile and begin to work: connect, transmit, receive, keep keys in order.

        Raises:
            ProfileError: there is none, or its database does not open.
        """
        return _opened(cls, Opening(profile, ask, clock or SystemClock()))

    @property
    def online(self) -> bool:
        """Whether this process is connected; another of the profile's may be."""
        return self._ctx.status.now.phase is Phase.ONLINE

    async def settled(self) -> None:
        """Come back when what waited at the server is here and the outbox is empty or cannot move.

        Raises:
            Unreachable: there is no connection; everything is kept.
        """
        await self._keeper.settled()

    async def caught_up(self) -> None:
        """As `settled`, also where another process of this profile receives: what waits now is here.

        Raises:
            Unreachable: the server cannot be asked; everything is kept.
        """
        await self._keeper.caught_up()

    async def whoami(self) -> Myself:
        return myself(await self._ctx.db.reading(known_me))

    async def move(self, link: str) -> Myself:
        """Our server has another address: that of this link, if the same server proves to be there.

        Raises:
            LinkError, UsageError: not a link to our server.
            Unreachable, ServerUntrusted: it is not there; nothing was changed.
        """
        return myself(await move(self._ctx, link))

    async def contacts(self) -> list[Contact]:
        """Everybody: contacts, requests and blocked."""
        return await self._ctx.db.reading(
            lambda t: [journal.as_contact(t, person) for person in t.people.every()]
        )

    async def contact(self, who: str, *, among_all: bool = False) -> Contact:
        """By alias, by name, or by account id in hexadecimal.

        Args:
            among_all: strangers count as much; else a contact goes before a stranger of the same name.

        Raises:
            UsageError: nobody, or several.
        """
        return await self._ctx.db.reading(lambda t: people.find(t, who, among_all=among_all))

    async def add(self, who: str) -> Contact:
        """A new contact, by link (verified) or by exact name (unverified: trust on first use).

        Raises:
            LinkError, UsageError: neither; nothing was told to the server.
            UnknownAccount, ManifestError, Unreachable.
        """
        pasted = people.parse_contact(who)
        async with self._keeper.link() as link:
            return await people.add(self._ctx, link, pasted)

    async def directory(self, prefix: str = "", after: str = "") -> AsyncGenerator[list[Listed], None]:
        """Who is on the server, page by page: see `directory.listed`."""
        async with self._keeper.link() as link:
            async for page in listed(lambda request: link.ask(request, Accounts), prefix, after):
                yield page

    async def rename(self, contact: AccountId, alias: str) -> Contact:
        """Call them so from now on; empty: by their own name."""
        return await self._ctx.change(lambda t: people.rename(t, contact, alias))

    async def accept(self, contact: AccountId) -> Contact:
        """A request becomes a contact; for one whose key was replaced: go on with the new key, unverified."""
        accepted = await self._ctx.change(lambda t: people.accept(t, self._ctx, contact))
        self._ctx.outbox.ring()
        return accepted

    async def block(self, contact: AccountId) -> Contact:
        """Drop what they send; our delivery token changes, and every other contact gets the new one."""
        blocked = await self._ctx.change(lambda t: people.block(t, contact))
        self._ctx.keys.ring()
        return blocked

    async def safety_number(self, contact: AccountId) -> str:
        """Sixty digits to compare over another channel."""
        both = await self._ctx.db.reading(lambda t: people.safety_keys(t, self._ctx, contact))
        return await asyncio.to_thread(people.number_of, *both)

    async def verify(self, contact: AccountId, safety_number: str) -> Contact:
        """The user has compared this safety number; spaces in it mean nothing.

        Raises:
            Untrusted: it is not the one that is shared with them now. Nobody is verified.
        """
        both = await self._ctx.db.reading(lambda t: people.safety_keys(t, self._ctx, contact))
        number = await asyncio.to_thread(people.number_of, *both)
        if "".join(safety_number.split()) != "".join(number.split()):
            raise people.changed_number()
        return await self._ctx.change(lambda t: people.verify(t, self._ctx, both))

    async def send(self, contact: AccountId, text: str) -> Message:
        """Put a text into the outbox, encrypted; it is durable when this returns, online or not.

        Raises:
            Blocked: by us, or because a verified person's key was replaced.
        """

        def work(t: Tables) -> tuple[Message, Ready | None]:
            return compose(t, self._ctx, contact, text), self._keeper.prepare(t, contact)

        message, ready = await self._ctx.change(work)
        self._keeper.send(contact, ready)
        return message

    async def history(
        self, contact: AccountId, *, before: MessageId | None = None, limit: int = 100
    ) -> list[Message]:
        """The newest messages with somebody, oldest first."""
        return list(await self._ctx.db.reading(lambda t: t.history.page(contact, before=before, limit=limit)))

    async def search(
        self, words: str, *, contact: AccountId | None = None, limit: int = 100
    ) -> list[Message]:
        """Messages that hold all of these words, newest first."""
        return list(
            await self._ctx.db.reading(lambda t: t.history.search(words, contact=contact, limit=limit))
        )

    def events(self, handler: str, *, from_now: bool = False) -> AsyncGenerator[Event, None]:
        """Everything that happens, in order, for ever; see the module for what the cursor promises.

        Args:
            handler: whose cursor. One iterator at a time may use it.
            from_now: a cursor that does not exist yet begins behind what is there already.

        Raises:
            HushpostError: nothing will come any more, and why: when everything that has come was given out.
        """
        return feed(self._ctx, handler, from_now=from_now)

    async def pending(self, handler: str, *, limit: int = 1_000) -> list[Event]:
        """The oldest events that this handler's cursor has not passed. The cursor does not move."""

        def work(t: Tables) -> list[Event]:
            found = events_after(t, t.handlers.position(handler) or 0, limit)
            return [event for _, event in found if event is not None]

        return await self._ctx.db.reading(work)

    async def handled(self, handler: str, number: int) -> None:
        """Move a handler's cursor past this event, durably. It never moves back."""
        await self._ctx.db.transaction(partial(advance, handler=handler, number=number))

    async def message(self, message: MessageId) -> Message:
        """One message, as it stands now.

        Raises:
            UsageError: there is none of this id.
        """
        return await self._ctx.db.reading(lambda t: _message(t, message))

    async def reached(self, message: MessageId, delivery: Delivery) -> Message:
        """Come back when a message of ours has come as far as this, or was given up."""
        while True:
            changed = self._ctx.status.next_change
            found = await self.message(message)
            if found.delivery is Delivery.FAILED or _ORDER.index(found.delivery) >= _ORDER.index(delivery):
                return found
            await changed.wait()

    async def held_up(self, contact: AccountId) -> str:
        """Why what waits for somebody did not go out when it was tried last; empty: nothing is known."""
        return await self._ctx.db.reading(lambda t: held_up(t, contact))

    async def sends_receipts(self) -> bool:
        """Whether contacts are told that their messages have come, as they are at first."""
        return await self._ctx.db.reading(lambda t: t.me.sends_receipts())

    async def send_receipts(self, *, wanted: bool) -> None:
        """Tell contacts that their messages have come, or not: then theirs stay "accepted".

        Durable, and so for every process of the profile, from the next message on. Receipts that are owed
        are dropped; one that is on its way may still go out.
        """
        await self._ctx.change(lambda t: _send_receipts(t, wanted))

    async def usage(self) -> dict[str, str]:
        """Exactly what the server stores about us, in its own words."""
        async with self._keeper.link() as link:
            return (await link.ask(GetUsage(0), UsageAnswer)).stored

    async def explain(self, message: MessageId) -> Explanation:
        """The story of a message."""
        steps = await self._ctx.db.reading(lambda t: t.story.of(message))
        if not steps:
            raise UsageError("nothing is known of a message with this id")
        return Explanation(message, steps)

    async def doctor(self) -> dict[str, str]:
        """Facts about this profile's health: how its key is kept, the connection, keys, the outbox."""
        state = self._ctx.status.now
        facts = {
            "key": await asyncio.to_thread(self._vault.describe),
            "connection": f"{state.phase.value}{f': {state.reason}' if state.reason else ''}",
        }
        return facts | await self._ctx.db.reading(lambda t: facts_of(t, self._ctx))

    async def leave(self) -> None:
        """Delete the account at the server, for ever, and the keys here. The history stays."""
        async with self._keeper.link() as link:
            await link.ask(Leave(0, bytes(self._ctx.me.account.id)), Left)
        await self._ctx.change(_forget)


@asynccontextmanager
async def _opened(cls: type[Client], opening: Opening) -> AsyncIterator[Client]:
    async with running(opening) as (ctx, keeper, vault):
        yield cls(ctx, keeper, vault, Porter(ctx, ProfileFiles(opening.profile)))


def _message(t: Tables, message: MessageId) -> Message:
    """Ours, if both sides use this id: the other side may choose theirs to be the same."""
    found = sorted(t.history.called(message), key=lambda each: not each.ours)
    if not found:
        raise UsageError("there is no message with this id")
    return found[0]


def _send_receipts(t: Tables, wanted: bool) -> None:
    t.me.send_receipts(wanted)
    if not wanted:
        t.outbox.owe_nothing()


def _forget(t: Tables) -> None:
    t.me.forget_secrets()
    t.me.enrolled(Enrolment.LEFT)
