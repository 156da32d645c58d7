"""The sessions that one transaction decrypts with: each is loaded once, and stored once, with its end.

Where many messages of one session are read in a transaction, loading and storing it takes longer than the
decryption. So it stays open from one to the next, and never beyond the transaction, which has a `Ratchets` of
its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hushpost.client.context import device_account
from hushpost.client.store import StoredSession, Tables
from hushpost.crypto.envelope import Claim
from hushpost.crypto.faults import EnvelopeFault
from hushpost.crypto.olm import OlmMessage, PrekeyMessage, SessionHash
from hushpost.crypto.ratchet import Decrypted, DeviceAccount, Session
from hushpost.errors import EnvelopeError
from hushpost.ids import DeviceId


@dataclass(slots=True)
class Loaded:
    """A session in use.

    Attributes:
        stored: as the transaction found it.
        session: where it is now.
        kept: what it has decrypted in between, and was kept.
    """

    stored: StoredSession
    session: Session
    kept: list[OlmMessage] = field(default_factory=list)

    def rewind(self) -> None:
        """Forget what it has decrypted since the last that was kept."""
        self.session = Session.unpickle(self.stored.pickle)
        for message in self.kept:
            self.session.decrypt(message)


@dataclass(frozen=True, slots=True)
class Known:
    """Decrypted by a session that we had."""

    loaded: Loaded
    proof: Decrypted


@dataclass(frozen=True, slots=True)
class First:
    """The message opened a session.

    Attributes:
        account: our Olm account without the used key.
    """

    session: Session
    proof: Decrypted
    account: DeviceAccount
    message: PrekeyMessage


Ratchet = Known | First
"""A decrypted message, with what its ratchet has become. It is kept, or else refused."""


class Ratchets:
    """Of one transaction, and used in no other."""

    def __init__(self, t: Tables) -> None:
        self._t = t
        self._loaded: dict[tuple[DeviceId, SessionHash], Loaded] = {}

    def decrypt(self, claim: Claim) -> Ratchet:
        """Open the ratchet's message.

        Raises:
            EnvelopeError: NO_SESSION, REPLAYED, WRONG_SESSION or RATCHET: nothing has moved.
        """
        name = claim.claimed_device, claim.session
        loaded = self._loaded.get(name)
        if loaded is None and (stored := self._t.sessions.find(*name)) is not None:
            loaded = self._loaded[name] = Loaded(stored, Session.unpickle(stored.pickle))
        if loaded is not None:
            return Known(loaded, loaded.session.decrypt(claim.message))
        if not isinstance(claim.message, PrekeyMessage):
            raise EnvelopeError(EnvelopeFault.NO_SESSION)
        account = device_account(self._t)
        remembered = self._t.prekeys.remembered(claim.session)
        session, proof = account.accept(claim.message, remembered=remembered)
        return First(session, proof, account, claim.message)

    def keep(self, ratchet: Ratchet, claim: Claim, device: DeviceId, now: int) -> None:
        """The message was taken: what it moved is stored with this transaction."""
        t = self._t
        if isinstance(ratchet, First):
            t.olm.keep(ratchet.account.pickle())
            t.prekeys.used(ratchet.message.one_time_key)
            t.prekeys.opened(claim.session)
            stored = t.sessions.add(device, claim.session, ratchet.session.pickle(), now)
            loaded = self._loaded[device, claim.session] = Loaded(stored, ratchet.session)
        else:
            loaded = ratchet.loaded
            loaded.kept.append(claim.message)
        t.sessions.decrypted(loaded.stored, loaded.session.pickle, now)

    def refuse(self, ratchet: Ratchet) -> None:
        """The message was not taken, and so it has moved nothing."""
        if isinstance(ratchet, Known):
            ratchet.loaded.rewind()
