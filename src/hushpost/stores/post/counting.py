"""Queries that count: what is held of one account, and of all."""

from __future__ import annotations

from hushpost import sql
from hushpost.errors import UnknownAccount
from hushpost.ids import AccountId
from hushpost.stores.base import Stats
from hushpost.stores.post.holdings import Holdings
from hushpost.stores.post.reading import at_one_moment

_DEVICES = """
SELECT sum(d.listed), sum(1 - d.listed), count(k.fallback_key), count(k.seal_key),
    (SELECT count(*) FROM one_time_key WHERE device IN (SELECT number FROM device WHERE account = ?1)),
    (SELECT count(*) FROM retired_key WHERE device IN (SELECT number FROM device WHERE account = ?1))
FROM device d JOIN device_key k ON k.device = d.number WHERE d.account = ?1
"""

_ENVELOPES = """
SELECT count(*), ifnull(sum(e.size), 0), ifnull(sum(e.is_request), 0), ifnull(sum(e.is_request * e.size), 0)
FROM device d JOIN envelope e ON e.mailbox = d.number WHERE d.account = ?
"""

_STATS = """
SELECT (SELECT count(*) FROM account WHERE token_hash IS NOT NULL),
    (SELECT count(*) FROM account WHERE token_hash IS NULL),
    (SELECT count(*) FROM device),
    (SELECT count(*) FROM envelope),
    (SELECT size FROM store),
    (SELECT count(*) FROM envelope WHERE is_request),
    (SELECT count(*) FROM one_time_key),
    (SELECT count(*) FROM invitation WHERE expires > ?),
    (SELECT count(*) FROM blob WHERE ends > 0),
    (SELECT ifnull(sum(received), 0) FROM blob WHERE ends > 0),
    (SELECT count(*) FROM blob WHERE ends > 0 AND NOT committed)
"""


def account_usage(db: sql.Connection, account: AccountId) -> dict[str, str]:
    """`Upkeep.account_usage`."""
    return at_one_moment(db, lambda: _holdings(db, account)).facts()


def _holdings(db: sql.Connection, account: AccountId) -> Holdings:
    row = db.execute(
        "SELECT name FROM account WHERE id = ? AND token_hash IS NOT NULL", (sql.binary(account),)
    ).fetchone()
    if row is None:
        raise UnknownAccount("no such account")
    identity = sql.binary(account)
    manifests, manifest_bytes = db.execute(
        "SELECT count(*), sum(length(manifest)) FROM manifest WHERE account = ?", (identity,)
    ).fetchone()
    listed, removed, fallback_keys, seal_keys, one_time_keys, retired = db.execute(
        _DEVICES, (identity,)
    ).fetchone()
    envelopes, envelope_bytes, requests, request_bytes = db.execute(_ENVELOPES, (identity,)).fetchone()
    blob_days, blob_bytes = db.execute(
        "SELECT count(*), ifnull(sum(bytes), 0) FROM blob_quota WHERE account = ?", (identity,)
    ).fetchone()
    return Holdings(
        account=account,
        name=row[0],
        manifests=manifests,
        manifest_bytes=manifest_bytes,
        listed=listed,
        removed=removed,
        envelopes=envelopes,
        envelope_bytes=envelope_bytes,
        requests=requests,
        request_bytes=request_bytes,
        one_time_keys=one_time_keys,
        fallback_keys=fallback_keys,
        seal_keys=seal_keys,
        retired_seal_keys=retired,
        blob_days=blob_days,
        blob_bytes=blob_bytes,
    )


def stats(db: sql.Connection, now: float) -> Stats:
    """`Upkeep.stats`."""
    return Stats(*db.execute(_STATS, (now,)).fetchone())
