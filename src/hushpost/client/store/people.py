"""Other accounts: who they are to us, and who has written without being known.

Strangers can make rows here: how many is limited, and what one of them can fill.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from hushpost.client.store.database import Database
from hushpost.client.store.me import DeliveryToken
from hushpost.client.values import Standing, Trust
from hushpost.crypto.identity import NO_MANIFEST, AccountFingerprint, ManifestHash
from hushpost.ids import AccountId
from hushpost.sql import Row

MAX_REQUESTS = 100
"""Strangers that wait for a decision. Beyond it new ones are turned away, not old ones: whoever floods us
shall not push out somebody who asked before."""

MAX_HELD = 20
"""Messages of one stranger that are kept: as many as wait in the server's lane for strangers."""


class How(StrEnum):
    """What the trust in somebody rests on."""

    LINK = "link"
    SAFETY_NUMBER = "safety number"
    INVITATION = "invitation"  # one of us gave the other the link to join with
    NAME = "name"  # the server's word: trust on first use
    WROTE = "wrote to us"  # the same, and it was them who began


@dataclass(frozen=True, slots=True)
class Person:
    """An account that we know, or that has written to us.

    Attributes:
        name: as their manifest says; hostile until it is escaped.
        alias: what we call them; empty: the name.
        since: seconds since 1970.
        token: lets us write to them without asking; None: they gave us none.
        told: the generation of our own delivery token that they have; 0: none.
        knows: the manifest of ours that they last named; `NO_MANIFEST`: they may not know us.
        asked: messages they have sent as a stranger, kept or not.
        held: those of them that were kept.
    """

    fingerprint: AccountFingerprint
    name: str = field(repr=False)
    alias: str = field(repr=False)
    standing: Standing
    trust: Trust
    how: How
    since: int
    token: DeliveryToken | None = None
    told: int = 0
    knows: ManifestHash = NO_MANIFEST
    asked: int = 0
    held: int = 0

    @property
    def account(self) -> AccountId:
        return self.fingerprint.id

    @property
    def is_open(self) -> bool:
        """Whether anything of ours may go to them: the user has decided so, for their present key."""
        return self.standing is Standing.CONTACT and self.trust is not Trust.CHANGED


_COLUMNS = "fingerprint, name, alias, standing, trust, how, since, token, told, knows, asked, held"


class PeopleTable:
    """`t.people`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, account: AccountId) -> Person | None:

        def read() -> Person | None:
            row = self._db.row(f"SELECT {_COLUMNS} FROM contact WHERE account = ?", account)
            return _person(row) if row else None

        return self._db.keep("contact", account, read)

    def called(self, who: str) -> tuple[Person, ...]:
        """Whoever has this alias, and whoever has this name."""
        if not who:
            return ()
        rows = self._db.rows(
            f"SELECT {_COLUMNS} FROM contact WHERE alias = ? OR name = ? ORDER BY account", who, who
        )
        return tuple(map(_person, rows))

    def every(self, *standings: Standing) -> tuple[Person, ...]:
        """Everybody of these standings, or everybody, in the order of what they are called."""
        wanted = standings or tuple(Standing)
        rows = self._db.rows(
            f"SELECT {_COLUMNS} FROM contact WHERE standing IN ({', '.join('?' * len(wanted))})"
            " ORDER BY iif(alias = '', name, alias), account",
            *(each.value for each in wanted),
        )
        return tuple(map(_person, rows))

    def add(self, person: Person) -> None:
        """Somebody new, by our own doing. Strangers come through `ask`."""
        self._db.run(
            "INSERT INTO contact (account, " + _COLUMNS + ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            person.account,
            person.fingerprint,
            person.name,
            person.alias,
            person.standing.value,
            person.trust.value,
            person.how.value,
            person.since,
            person.token,
            person.told,
            person.knows,
            person.asked,
            person.held,
        )

    def rename(self, account: AccountId, alias: str) -> None:
        self._db.run("UPDATE contact SET alias = ? WHERE account = ?", alias, account)

    def stands(self, account: AccountId, standing: Standing) -> None:
        """Accept, or block."""
        self._db.run("UPDATE contact SET standing = ? WHERE account = ?", standing.value, account)

    def trusts(self, account: AccountId, trust: Trust, how: How) -> None:
        """Verified, or not any more, or their account key was replaced."""
        self._db.run(
            "UPDATE contact SET trust = ?, how = ? WHERE account = ?", trust.value, how.value, account
        )

    def gave_token(self, account: AccountId, token: DeliveryToken | None) -> None:
        """What to write to them with; None: the one we have does not serve any more."""
        self._db.run("UPDATE contact SET token = ? WHERE account = ?", token, account)

    def told(self, account: AccountId, generation: int) -> None:
        """A message with our delivery token of this generation is in the outbox for them."""
        self._db.run("UPDATE contact SET told = max(told, ?) WHERE account = ?", generation, account)

    def untell(self, account: AccountId) -> None:
        """A device of theirs does not have our token."""
        self._db.run("UPDATE contact SET told = 0 WHERE account = ?", account)

    def untold(self, generation: int) -> tuple[AccountId, ...]:
        """Contacts that do not have our token of this generation yet."""
        rows = self._db.rows(
            "SELECT account FROM contact WHERE told < ? AND standing = ? ORDER BY account",
            generation,
            Standing.CONTACT.value,
        )
        return tuple(AccountId(account) for (account,) in rows)

    def knows(self, account: AccountId, manifest: ManifestHash) -> None:
        """They named this manifest of ours."""
        known = self.get(account)
        if known is not None and known.knows != manifest:
            self._db.run("UPDATE contact SET knows = ? WHERE account = ?", manifest, account)

    # --- strangers

    def ask(self, fingerprint: AccountFingerprint, name: str, now: int) -> bool:
        """A stranger has written. Whether this message may be kept; it is counted in any case.

        The caller keeps it, and what is needed to answer, in the same transaction; or, told False, nothing.
        """
        known = self.get(fingerprint.id)
        if known is None:
            if not self.has_room():
                self.turn_away()
                return False
            self.add(
                Person(
                    fingerprint, name, "", Standing.REQUEST, Trust.UNVERIFIED, How.WROTE, now, asked=1, held=1
                )
            )
            return True
        if known.standing is not Standing.REQUEST:
            return known.standing is Standing.CONTACT
        keep = known.held < MAX_HELD
        self._db.run(
            "UPDATE contact SET asked = asked + 1, held = held + ? WHERE account = ?",
            int(keep),
            known.account,
        )
        return keep

    def has_room(self) -> bool:
        """Whether one more stranger may wait for a decision."""
        waiting = self._db.number("SELECT count(*) FROM contact WHERE standing = ?", Standing.REQUEST.value)
        return waiting < MAX_REQUESTS

    def turn_away(self) -> None:
        """A message of a stranger for whom there is no room."""
        self._db.run("UPDATE upkeep SET dropped = dropped + 1")

    def turned_away(self) -> int:
        """Messages of strangers that came when too many others waited."""
        return self._db.number("SELECT dropped FROM upkeep")

    def forget(self, account: AccountId) -> None:
        """Nothing is left of them: their manifests, devices, sessions, messages."""
        self._db.run("DELETE FROM session WHERE device IN (SELECT id FROM device WHERE account = ?)", account)
        for table in ("device", "manifest", "receipt", "gap", "contact"):
            self._db.run(f"DELETE FROM {table} WHERE account = ?", account)
        self._db.run("DELETE FROM outgoing WHERE account = ?", account)
        self._db.run("DELETE FROM message WHERE contact = ?", account)
        self._db.key_material_went()


def _person(row: Row) -> Person:
    fingerprint, name, alias, standing, trust, how, since, token, told, knows, asked, held = row
    return Person(
        AccountFingerprint(fingerprint),
        name,
        alias,
        Standing(standing),
        Trust(trust),
        How(how),
        since,
        None if token is None else DeliveryToken(token),
        told,
        ManifestHash(knows),
        asked,
        held,
    )
