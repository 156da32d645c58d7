"""Queries of version 3, for the connections of `stores.reading`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from hushpost import sql
from hushpost.errors import UnknownAccount, UnknownMailbox
from hushpost.ids import AccountId, DeviceId, EnvelopeId, MailboxId, TokenHash
from hushpost.stores.base import (
    RETIRED_AFTER,
    Account,
    Device,
    DeviceList,
    Envelope,
    Invitation,
    KeyState,
    Position,
    RetiredSealKey,
    SealKey,
    SealKeys,
    Usage,
)

T = TypeVar("T")


def at_one_moment(db: sql.Connection, query: Callable[[], T]) -> T:
    """Run several statements that must agree with each other."""
    db.execute("BEGIN")
    try:
        return query()
    finally:
        db.execute("ROLLBACK")


# Envelopes


def read(
    db: sql.Connection, mailbox: MailboxId, after: int, max_count: int, max_bytes: int
) -> list[Envelope]:
    """`Waiting.read`."""
    row = db.execute("SELECT number FROM device WHERE id = ?", (sql.binary(mailbox),)).fetchone()
    if row is None:
        raise UnknownMailbox("no such mailbox")
    rows = db.execute(
        "SELECT sequence, header, body, id, seal_key_id, is_request FROM envelope"
        " WHERE mailbox = ? AND sequence > ? ORDER BY sequence LIMIT ?",
        (row[0], after, max(1, max_count)),
    )
    found: list[Envelope] = []
    size = 0
    try:
        for sequence, header, body, envelope, seal_key_id, is_request in rows:
            size += len(header) + len(body)
            if found and size > max_bytes:
                break
            found.append(
                Envelope(sequence, header, body, EnvelopeId(envelope), None, seal_key_id, bool(is_request))
            )
    finally:
        rows.close()
    return found


_WAITING = """
SELECT d.count + count(e.sequence), d.size + ifnull(sum(e.size), 0),
    max(d.highest, ifnull(max(e.sequence), 0)), d.acknowledged,
    d.requests + ifnull(sum(e.is_request), 0), d.request_size + ifnull(sum(e.is_request * e.size), 0)
FROM device d LEFT JOIN envelope e ON e.mailbox = d.number AND e.sequence > d.highest
WHERE d.id = ? GROUP BY d.id
"""


def _waiting(db: sql.Connection, mailbox: MailboxId) -> sql.Row:
    row: sql.Row | None = db.execute(_WAITING, (sql.binary(mailbox),)).fetchone()
    if row is None:
        raise UnknownMailbox("no such mailbox")
    return row


def usage(db: sql.Connection, mailbox: MailboxId) -> Usage:
    """`Waiting.usage`."""
    return Usage(*_waiting(db, mailbox)[:2])


def position(db: sql.Connection, mailbox: MailboxId) -> Position:
    """`SealedPost.position`."""
    highest, acknowledged = _waiting(db, mailbox)[2:4]
    return Position(acknowledged, highest)


# Accounts


def _version(db: sql.Connection, account: AccountId) -> int:
    """The version of the newest manifest of an account that has not left."""
    row = db.execute(
        "SELECT version FROM account WHERE id = ? AND token_hash IS NOT NULL", (sql.binary(account),)
    ).fetchone()
    if row is None:
        raise UnknownAccount("no such account")
    version: int = row[0]
    return version


def account(db: sql.Connection, account_id: AccountId) -> Account | None:
    """`Accounts.account`."""
    row = db.execute(
        "SELECT name FROM account WHERE id = ? AND token_hash IS NOT NULL", (sql.binary(account_id),)
    ).fetchone()
    return Account(account_id, row[0], b"") if row else None


def account_named(db: sql.Connection, name: str) -> Account | None:
    """`Accounts.account_named`."""
    row = db.execute("SELECT id FROM account WHERE name = ? AND token_hash IS NOT NULL", (name,)).fetchone()
    return Account(AccountId(row[0]), name, b"") if row else None


_NAMES_FROM = """
SELECT id, name FROM account WHERE name >= ? AND token_hash IS NOT NULL ORDER BY name LIMIT ?
"""

_NAMES_AFTER = """
SELECT id, name FROM account WHERE name > ? AND token_hash IS NOT NULL ORDER BY name LIMIT ?
"""


def accounts_by_name(db: sql.Connection, prefix: str, after: str, limit: int) -> list[Account]:
    """`Accounts.accounts_by_name`."""
    rows = db.execute(_NAMES_FROM if prefix > after else _NAMES_AFTER, (max(prefix, after), limit))
    return [Account(AccountId(raw), name, b"") for raw, name in rows if name.startswith(prefix)]


def manifests(db: sql.Connection, account_id: AccountId, after: int, limit: int) -> list[bytes]:
    """`Accounts.manifests`."""
    _version(db, account_id)
    rows = db.execute(
        "SELECT manifest FROM manifest WHERE account = ? AND version > ? ORDER BY version LIMIT ?",
        (sql.binary(account_id), after, limit),
    )
    return [manifest for (manifest,) in rows]


def devices(db: sql.Connection, account_id: AccountId) -> DeviceList:
    """`Accounts.devices`."""

    def query() -> DeviceList:
        version = _version(db, account_id)
        rows = db.execute("SELECT id FROM device WHERE account = ? AND listed", (sql.binary(account_id),))
        return DeviceList(version, frozenset(DeviceId(raw) for (raw,) in rows))

    return at_one_moment(db, query)


def device(db: sql.Connection, device_id: DeviceId) -> Device | None:
    """`Accounts.device`."""
    row = db.execute(
        "SELECT d.account, d.listed, iif(d.listed, a.version, d.last_version)"
        " FROM device d JOIN account a ON a.id = d.account WHERE d.id = ?",
        (sql.binary(device_id),),
    ).fetchone()
    return Device(AccountId(row[0]), bool(row[1]), row[2]) if row else None


def invitations(db: sql.Connection, now: float) -> list[Invitation]:
    """`Invitations.invitations`."""
    rows = db.execute(
        "SELECT token_hash, uses, expires FROM invitation WHERE expires > ? ORDER BY expires, token_hash",
        (now,),
    )
    return [Invitation(TokenHash(raw), uses, expires) for raw, uses, expires in rows]


# Keys


def key_state(db: sql.Connection, device_id: DeviceId, now: float) -> KeyState:
    """`Keys.key_state`."""

    def query() -> KeyState:
        row = db.execute(
            "SELECT number FROM device WHERE id = ? AND listed", (sql.binary(device_id),)
        ).fetchone()
        if row is None:
            raise UnknownAccount("this device is not one of an account's")
        return key_state_of(db, row[0], now)

    return at_one_moment(db, query)


def key_state_of(db: sql.Connection, number: int, now: float) -> KeyState:
    """The same, of the device with this number."""
    (count,) = db.execute("SELECT count(*) FROM one_time_key WHERE device = ?", (number,)).fetchone()
    rows = db.execute(
        "SELECT id, up_to FROM retired_key WHERE device = ? AND since <= ? ORDER BY id",
        (number, now - RETIRED_AFTER),
    )
    return KeyState(count, tuple(RetiredSealKey(*row) for row in rows))


def seal_keys(db: sql.Connection, account_id: AccountId) -> SealKeys:
    """`Keys.seal_keys`."""

    def query() -> SealKeys:
        version = _version(db, account_id)
        rows = db.execute(
            "SELECT d.id, d.seal_key_id, k.seal_key FROM device d JOIN device_key k ON k.device = d.number"
            " WHERE d.account = ? AND d.listed AND d.seal_key_id IS NOT NULL",
            (sql.binary(account_id),),
        )
        return SealKeys(version, {DeviceId(raw): SealKey(number, signed) for raw, number, signed in rows})

    return at_one_moment(db, query)


def fallback_keys(
    db: sql.Connection, account_id: AccountId, wanted: Collection[DeviceId]
) -> dict[DeviceId, bytes]:
    """`Keys.fallback_keys`."""

    def query() -> dict[DeviceId, bytes]:
        _version(db, account_id)
        rows = db.execute(
            "SELECT d.id, k.fallback_key FROM device d JOIN device_key k ON k.device = d.number"
            " WHERE d.account = ? AND d.listed AND k.fallback_key IS NOT NULL",
            (sql.binary(account_id),),
        )
        found = {DeviceId(raw): key for raw, key in rows}
        return {device: key for device, key in found.items() if device in wanted}

    return at_one_moment(db, query)
