"""Who is at the other end of a connection: a guest, until it has proven to be a device; then a peer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from hushpost.crypto.identity import ClientNonce, ServerNonce
from hushpost.ids import AccountId, DeviceId, MailboxId
from hushpost.server.identity import Shown
from hushpost.server.parts.traffic import Traffic
from hushpost.server.refusals import Refusal
from hushpost.wire.messages import ErrorCode, EventMessage

NONCE_SECONDS = 30.0
"""How long a server nonce is good for."""


class Outlet(Protocol):
    """What handlers ask of a connection besides answering."""

    @property
    def writable(self) -> bool:
        """Whether more may be sent without being asked for: the peer keeps up with reading."""

    @property
    def to_come(self) -> int:
        """Bytes of the present request's data that have not come yet."""

    @property
    def traffic(self) -> Traffic:
        """Parts of files that come and go here."""

    def tell(self, event: EventMessage) -> None:
        """Send an event, unless the connection is ending."""

    def look_at(self, when: float) -> None:
        """Have the connection looked after at this time of the loop at the latest."""

    def abort(self) -> None:
        """End it at once; what was not sent is lost."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """The nonces of one hello, and when it was (loop time)."""

    server_nonce: ServerNonce
    client_nonce: ClientNonce
    at: float


class Guest:
    """Somebody who has proven nothing yet.

    Attributes:
        origin: what its address is counted as.
        shown: which certificate it was shown.
    """

    __slots__ = ("_greetings", "origin", "outlet", "shown")

    def __init__(self, outlet: Outlet, origin: bytes, shown: Shown) -> None:
        self.outlet = outlet
        self.origin = origin
        self.shown = shown
        self._greetings: list[Greeting] = []

    def greet(self, greeting: Greeting) -> None:
        """Remember the nonces for one attempt; those of an earlier hello are good no more."""
        self._greetings = [greeting]

    def take_greeting(self, now: float) -> Greeting:
        """The nonces to log in with: once, right or wrong, and in time.

        Raises:
            Refusal: DENIED.
        """
        greetings, self._greetings = self._greetings, []
        if not greetings or now - greetings[0].at > NONCE_SECONDS:
            raise Refusal(ErrorCode.DENIED)
        return greetings[0]


class Peer:
    """One connected device.

    Attributes:
        listed: it is in its account's newest manifest. If not, it may fetch what waits, and nothing more.
    """

    __slots__ = ("account", "device", "listed", "mailbox", "outlet")

    def __init__(self, outlet: Outlet, account: AccountId, device: DeviceId, *, listed: bool) -> None:
        self.outlet = outlet
        self.account = account
        self.device = device
        self.mailbox = MailboxId(device)
        self.listed = listed

    def require_listed(self) -> None:
        """Raises:
        Refusal: DENIED, since the device was removed from its account.
        """
        if not self.listed:
            raise Refusal(ErrorCode.DENIED)


class Peers:
    """Everybody who is connected, by account and in the order of arrival.

    Attributes:
        changes: grows whenever an account's devices change; whoever reads them in several steps compares.
    """

    def __init__(self, per_device: int) -> None:
        self._per_device = per_device
        self._by_account: dict[AccountId, list[Peer]] = {}
        self._count = 0
        self.changes = 0

    def __len__(self) -> int:
        return self._count

    def add(self, peer: Peer) -> None:
        """From now on it hears of changes. One connection too many of a device ends the oldest: a device
        that lost its line cannot end it itself.
        """
        peers = self._by_account.setdefault(peer.account, [])
        peers.append(peer)
        self._count += 1
        same = [each for each in peers if each.device == peer.device]
        for oldest in same[: -self._per_device]:
            self.remove(oldest)
            oldest.outlet.abort()

    def remove(self, peer: Peer) -> None:
        """Harmless if done before."""
        peers = self._by_account.get(peer.account, [])
        if peer in peers:
            peers.remove(peer)
            self._count -= 1
        if not peers:
            self._by_account.pop(peer.account, None)

    def of(self, account: AccountId) -> list[Peer]:
        """The connected devices of an account."""
        return list(self._by_account.get(account, ()))

    def list_only(self, account: AccountId, devices: Iterable[DeviceId]) -> None:
        """An account has a new manifest, with these devices."""
        self.changes += 1
        listed = set(devices)
        for peer in self.of(account):
            peer.listed = peer.device in listed

    def dismiss(self, account: AccountId, except_for: Peer) -> None:
        """An account has left: end its other connections."""
        self.changes += 1
        for peer in self.of(account):
            if peer is not except_for:
                peer.outlet.abort()
