"""The public library: `hushpost.Client`.

    joined = await Client.join(profile, "hush://...", "alice")     # once; show joined.recovery_phrase
    async with Client.open(profile) as client:
        bob = await client.add("hush://.../u/bob#...")
        message = await client.send(bob, "hello")                    # durable in the outbox when it returns
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

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from hushpost.client.clock import Clock, SystemClock
from hushpost.client.values import Contact, Delivery, Event, Message
from hushpost.client.vault import Ask
from hushpost.crypto.identity import ContactLink
from hushpost.ids import AccountId, DeviceId, MessageId


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


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of a message: `hush explain`.

    Attributes:
        steps: what happened to it and when (seconds since 1970), oldest first.
    """

    message: MessageId
    steps: tuple[tuple[int, str], ...]


class Client:
    """One profile, open. Made by `open`; see the module for what is promised."""

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
        raise NotImplementedError

    @classmethod
    async def recover(
        cls, profile: Path, link: str, phrase: str, *, ask: Ask | None = None, clock: Clock | None = None
    ) -> Myself:
        """This device becomes the only one of one's account: a new account key, signed by the recovery key.

        Contacts are shown the change; who had verified us is asked to decide.

        Args:
            link: one's own contact link.

        Raises:
            PhraseError: a slip in the phrase.
            Untrusted: the phrase is of another account.
        """
        raise NotImplementedError

    @classmethod
    def open(
        cls, profile: Path, *, ask: Ask | None = None, clock: Clock | None = None
    ) -> AbstractAsyncContextManager[Client]:
        """Open a profile and begin to work: connect, transmit, receive, keep keys in order.

        Raises:
            ProfileError: there is none, or its database does not open.
        """
        raise NotImplementedError

    @property
    def online(self) -> bool:
        """Whether this process is connected; another of the profile's may be."""
        raise NotImplementedError

    async def settled(self) -> None:
        """Come back when what waited at the server is here and the outbox is empty or cannot move.

        Raises:
            Unreachable: there is no connection; everything is kept.
        """
        raise NotImplementedError

    async def whoami(self) -> Myself:
        raise NotImplementedError

    async def contacts(self) -> list[Contact]:
        """Everybody: contacts, requests and blocked."""
        raise NotImplementedError

    async def contact(self, who: str) -> Contact:
        """By alias, by name, or by account id in hexadecimal.

        Raises:
            UsageError: nobody, or several.
        """
        raise NotImplementedError

    async def add(self, who: str) -> Contact:
        """A new contact, by link (verified) or by exact name (unverified: trust on first use).

        Raises:
            UnknownAccount, ManifestError, Unreachable.
        """
        raise NotImplementedError

    async def rename(self, contact: AccountId, alias: str) -> Contact:
        """Call them so from now on; empty: by their own name."""
        raise NotImplementedError

    async def accept(self, contact: AccountId) -> Contact:
        """A request becomes a contact; for one whose key was replaced: go on with the new key, unverified."""
        raise NotImplementedError

    async def block(self, contact: AccountId) -> Contact:
        """Drop what they send; our delivery token changes, and every other contact gets the new one."""
        raise NotImplementedError

    async def safety_number(self, contact: AccountId) -> str:
        """Sixty digits to compare over another channel."""
        raise NotImplementedError

    async def verify(self, contact: AccountId) -> Contact:
        """The user has compared safety numbers."""
        raise NotImplementedError

    async def send(self, contact: AccountId, text: str) -> Message:
        """Put a text into the outbox, encrypted; it is durable when this returns, online or not.

        Raises:
            Blocked: by us, or because a verified person's key was replaced.
        """
        raise NotImplementedError

    async def history(
        self, contact: AccountId, *, before: MessageId | None = None, limit: int = 100
    ) -> list[Message]:
        """The newest messages with somebody, oldest first."""
        raise NotImplementedError

    async def search(
        self, words: str, *, contact: AccountId | None = None, limit: int = 100
    ) -> list[Message]:
        """Messages that hold all of these words, newest first."""
        raise NotImplementedError

    def events(self, handler: str, *, from_now: bool = False) -> AsyncIterator[Event]:
        """Everything that happens, in order, for ever; see the module for what the cursor promises.

        Args:
            handler: whose cursor. One iterator at a time may use it.
            from_now: a cursor that does not exist yet begins behind what is there already.
        """
        raise NotImplementedError

    async def pending(self, handler: str, *, limit: int = 1_000) -> list[Event]:
        """The oldest events that this handler's cursor has not passed. The cursor does not move."""
        raise NotImplementedError

    async def handled(self, handler: str, number: int) -> None:
        """Move a handler's cursor past this event, durably. It never moves back."""
        raise NotImplementedError

    async def message(self, message: MessageId) -> Message:
        """One message, as it stands now.

        Raises:
            UsageError: there is none of this id.
        """
        raise NotImplementedError

    async def reached(self, message: MessageId, delivery: Delivery) -> Message:
        """Come back when a message of ours has come as far as this, or was given up."""
        raise NotImplementedError

    async def usage(self) -> dict[str, str]:
        """Exactly what the server stores about us, in its own words."""
        raise NotImplementedError

    async def explain(self, message: MessageId) -> Explanation:
        """The story of a message."""
        raise NotImplementedError

    async def doctor(self) -> dict[str, str]:
        """Facts about this profile's health: how its key is kept, the connection, keys, the outbox."""
        raise NotImplementedError

    async def leave(self) -> None:
        """Delete the account at the server, for ever, and the keys here. The history stays."""
        raise NotImplementedError


DEFAULT_CLOCK: Clock = SystemClock()
