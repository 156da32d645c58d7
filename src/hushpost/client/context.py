"""What every part of a running client shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from hushpost.client.clock import Clock
from hushpost.client.status import Bell, Schedule, Status
from hushpost.client.store import Enrolment, Me, StoreThread, Tables
from hushpost.crypto.identity import Manifest
from hushpost.crypto.ratchet import DeviceAccount
from hushpost.errors import OldCopy, ProfileError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context:
    """One open profile.

    Attributes:
        outbox: rung when something was put into it.
        keys: rung when keys or tokens should be looked after.
        schedule: rung when something is due earlier than before.
        reached: rung when a transfer has found the server, while messages wait for the next attempt.
    """

    db: StoreThread
    clock: Clock
    me: Me
    status: Status = field(default_factory=Status)
    outbox: Bell = field(default_factory=Bell)
    keys: Bell = field(default_factory=Bell)
    schedule: Schedule = field(default_factory=Schedule)
    reached: Bell = field(default_factory=Bell)

    async def change(self, work: Callable[[Tables], T]) -> T:
        """A transaction; whoever waits for news looks again."""
        result = await self.db.transaction(work)
        self.status.touch()
        return result


def own_manifest(t: Tables, me: Me) -> Manifest:
    """The newest of our own account.

    Raises:
        ProfileError: the database has none.
    """
    manifest = t.manifests.newest(me.account.id)
    if manifest is None:
        raise ProfileError("this profile has not joined a server", hint="use hush join LINK")
    return manifest


def device_account(t: Tables) -> DeviceAccount:
    """Our Olm account. Whoever changes it stores it again in the same transaction.

    Raises:
        ProfileError: the database has none.
    """
    pickle = t.olm.pickle()
    if pickle is None:
        check_may_send(known_me(t))  # who has left has none any more, and is told so
        raise ProfileError("this profile has no device keys", hint="use hush join LINK")
    return DeviceAccount.unpickle(pickle)


def known_me(t: Tables) -> Me:
    """Who this profile is.

    Raises:
        ProfileError: nobody yet.
    """
    me = t.me.get()
    if me is None:
        raise ProfileError(
            "this profile is nobody yet, or its database was lost",
            hint="use hush join LINK; or, to keep a name that you had, hush recover LINK with the phrase",
        )
    return me


def check_may_send(me: Me) -> None:
    """Raises:
    OldCopy: another copy of this database has used its ratchets further.
    ProfileError: not joined to the end, or left.
    """
    if me.enrolment is Enrolment.OLD_COPY:
        raise OldCopy(
            "this database is an old copy of the profile: its keys were used further elsewhere",
            hint="go on with the newer copy; or recover the account with its phrase, as a new device",
        )
    if me.enrolment is Enrolment.LEFT:
        raise ProfileError(
            "this profile's account has left its server: there is nothing but its history",
            hint="join again with another --profile, under another name",
        )
    if me.enrolment is not Enrolment.ENROLLED:
        raise ProfileError("this profile has not finished joining", hint="repeat the same hush join")
