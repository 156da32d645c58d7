"""Who this profile is, where its server is, and how far it has read there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from hushpost.client.store.database import Database
from hushpost.crypto.identity import (
    AccountFingerprint,
    AccountSecret,
    Authority,
    InviteToken,
    ServerFingerprint,
    ServerPin,
    ServerStatement,
)
from hushpost.crypto.primitives import Secret
from hushpost.ids import DeviceId, FixedBytes


class Enrolment(StrEnum):
    """How far this device belongs to its account."""

    PENDING = "pending"  # keys are made; the server may or may not know of them
    ENROLLED = "enrolled"
    OLD_COPY = "old-copy"  # this database was found to be an old copy: nothing is ever sent again
    LEFT = "left"


class DeliveryToken(Secret):
    """Whoever shows it may write to an account without asking first. 32 bytes."""

    __slots__ = ()


class Epoch(FixedBytes):
    """Of a server's store: sequences of different epochs have nothing to do with each other."""

    __slots__ = ()


NO_EPOCH = Epoch(bytes(16))
"""Before the first meeting."""


@dataclass(frozen=True, slots=True)
class Home:
    """The server of this account, and how it is recognised."""

    host: str
    port: int
    pin: ServerPin


@dataclass(frozen=True, slots=True)
class Me:
    """This account and this device.

    Attributes:
        account_secret: on a primary device.
        invite: while `enrolment` is PENDING, what to register with; None on an open server.
        inviter: whose invitation it was; None: the operator's.
        created: seconds since 1970.
    """

    account: AccountFingerprint
    device: DeviceId
    name: str = field(repr=False)
    home: Home
    enrolment: Enrolment
    account_secret: AccountSecret | None
    invite: InviteToken | None
    inviter: AccountFingerprint | None
    created: int


@dataclass(frozen=True, slots=True)
class Position:
    """How far the mailbox was read: every envelope up to `committed` is in this database, or was dropped."""

    epoch: Epoch
    committed: int

    def is_old_copy(self, epoch: Epoch, acknowledged: int) -> bool:
        """Whether the server remembers more acknowledged than was ever committed here.

        Only what is committed gets acknowledged. So it was another copy of this database that did it, and its
        ratchets are ahead of ours. After a change of epoch the numbers cannot be compared; but where nothing
        was ever committed, there can be nothing acknowledged.
        """
        return self.epoch in {epoch, NO_EPOCH} and acknowledged > self.committed


@dataclass(frozen=True, slots=True)
class OwnToken:
    """The delivery token that contacts use. `generation` grows by each new one."""

    generation: int
    token: DeliveryToken
    published: bool


class MeTable:
    """`t.me`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def found(self, me: Me) -> None:
        """Write it down, in place of what a broken enrolment left; later changes have their own verbs."""
        self._db.run("DELETE FROM me")
        pin = b"" if isinstance(me.home.pin, Authority) else me.home.pin
        self._db.run(
            "INSERT INTO me VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            me.account,
            me.device,
            me.name,
            me.home.host,
            me.home.port,
            bytes(pin),
            me.enrolment.value,
            me.account_secret,
            me.invite,
            me.inviter,
            me.created,
        )

    def get(self) -> Me | None:
        """None: nobody has joined with this profile."""
        row = self._db.row(
            "SELECT account, device, name, host, port, pin, enrolment, account_secret, invite, inviter,"
            " created FROM me"
        )
        if row is None:
            return None
        account, device, name, host, port, pin, enrolment, secret, invite, inviter, created = row
        return Me(
            AccountFingerprint(account),
            DeviceId(device),
            name,
            Home(host, port, ServerFingerprint(pin) if pin else Authority.CA),
            Enrolment(enrolment),
            None if secret is None else AccountSecret(secret),
            None if invite is None else InviteToken(invite),
            None if inviter is None else AccountFingerprint(inviter),
            created,
        )

    def enrolled(self, enrolment: Enrolment) -> None:
        """From now on so. The invitation has served."""
        self._db.run("UPDATE me SET enrolment = ?, invite = NULL", enrolment.value)
        self._db.key_material_went()

    def moved(self, home: Home) -> None:
        """The server has another address; or a link gave its identity in place of an authority."""
        pin = b"" if isinstance(home.pin, Authority) else home.pin
        self._db.run("UPDATE me SET host = ?, port = ?, pin = ?", home.host, home.port, bytes(pin))

    def forget_inviter(self) -> None:
        """The account that the invitation named is not theirs."""
        self._db.run("UPDATE me SET inviter = NULL")

    def forget_server(self) -> None:
        """Everything that the last server told: a registration with another one begins."""
        self._db.run("UPDATE server SET statement = NULL, epoch = ?, committed = 0, drained_at = 0", NO_EPOCH)

    def forget_secrets(self) -> None:
        """Delete every key of this device and account: after leaving, and before another device is begun."""
        keys = "olm_account", "one_time_key", "one_time_made", "fallback_key", "seal_key"
        for table in (*keys, "session", "own_token"):
            self._db.run(f"DELETE FROM {table}")
        self._db.run("UPDATE me SET account_secret = NULL, invite = NULL")
        self._db.key_material_went()

    # --- the server

    def statement(self) -> ServerStatement | None:
        """The last statement that was accepted: `known` of `verify_server`."""
        row = self._db.row("SELECT statement FROM server")
        return None if row is None or row[0] is None else ServerStatement.decode(row[0])

    def keep_statement(self, statement: ServerStatement) -> None:
        self._db.run("UPDATE server SET statement = ?", statement.encode())

    def position(self) -> Position:
        row = self._db.row("SELECT epoch, committed FROM server")
        return Position(Epoch(row[0]), row[1]) if row else Position(NO_EPOCH, 0)

    def committed(self, epoch: Epoch, sequence: int) -> None:
        """Everything up to here is committed with this transaction. Within an epoch it never goes back."""
        known = self.position()
        highest = max(sequence, known.committed) if known.epoch == epoch else sequence
        new = replace(known, epoch=epoch, committed=highest)
        if new != known:
            self._db.run("UPDATE server SET epoch = ?, committed = ?", new.epoch, new.committed)

    def begins(self, epoch: Epoch, acknowledged: int) -> bool:
        """The epoch of this login. True: the server's store is another one than before, a restored copy.

        What is acknowledged was committed here, so nothing behind it is missed; see `Position.is_old_copy`.
        """
        known = self.position()
        if known.epoch == epoch:
            return False
        self.committed(epoch, acknowledged)
        return known.epoch != NO_EPOCH

    def drained_at(self) -> int:
        """When the mailbox was last read to its end; 0: never."""
        return self._db.number("SELECT drained_at FROM server")

    def drained(self, now: int) -> None:
        self._db.run("UPDATE server SET drained_at = ?", now)

    # --- what the user prefers

    def sends_receipts(self) -> bool:
        """Whether contacts are told that their messages have come. So it is until it is changed."""
        read = self._db.number
        return self._db.keep("preference", "receipts", lambda: read("SELECT receipts FROM preference")) != 0

    def send_receipts(self, wanted: bool) -> None:
        self._db.run("UPDATE preference SET receipts = ?", wanted)

    # --- our delivery token

    def token(self) -> OwnToken | None:
        """The newest; None: none was made yet."""
        row = self._db.row(
            "SELECT generation, token, published FROM own_token ORDER BY generation DESC LIMIT 1"
        )
        return OwnToken(row[0], DeliveryToken(row[1]), bool(row[2])) if row else None

    def new_token(self, token: DeliveryToken) -> OwnToken:
        """In place of the one before, to be published and told to contacts: see `contacts.untold`."""
        self._db.run("DELETE FROM own_token")
        generation = self._db.number(
            "INSERT INTO own_token (token, published) VALUES (?, 0) RETURNING generation", token
        )
        self._db.key_material_went()
        return OwnToken(generation, token, published=False)

    def token_unpublished(self) -> None:
        """The server has another store."""
        self._db.run("UPDATE own_token SET published = 0")

    def token_published(self, generation: int) -> None:
        self._db.run("UPDATE own_token SET published = 1 WHERE generation = ?", generation)
