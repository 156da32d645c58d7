"""What the writer does for `base.Keys`. Like a method of `PostTables`."""

from __future__ import annotations

from collections.abc import Sequence

from hushpost import sql
from hushpost.errors import StaleSeal, UnknownAccount
from hushpost.ids import AccountId, DeviceId
from hushpost.stores import rules
from hushpost.stores.base import RETIRED_KEPT, KeyState, KeyUpdate, SealKey, SessionKey
from hushpost.stores.post import reading
from hushpost.stores.post.members import Box
from hushpost.stores.post.tables import PostTables


def publish(tables: PostTables, device: DeviceId, update: KeyUpdate) -> KeyState:
    """`Keys.publish`."""
    account = tables.members.owner(device)
    box = tables.members.box(device)
    if account is None or box is None or not box.listed:
        raise UnknownAccount("this device is not one of an account's")
    tables.check_room()
    db = tables.db
    highest, highest_seal, fallback, signed = db.execute(
        "SELECT highest_one_time, highest_seal, fallback_key, seal_key FROM device_key WHERE device = ?",
        (box.number,),
    ).fetchone()
    (count,) = db.execute("SELECT count(*) FROM one_time_key WHERE device = ?", (box.number,)).fetchone()
    fresh = rules.new_keys(highest, 0 if update.replace_all else count, update.one_time_keys)
    present = None if box.seal_key_id is None else SealKey(box.seal_key_id, signed)
    rotates = update.seal_key is not None and rules.is_newer_seal(present, update.seal_key, device)
    if update.seal_key is not None and update.seal_key.id < highest_seal:  # the present one was lost
        raise StaleSeal("the id of a seal key has to grow", keys={device: None})
    tables.settle()
    if update.replace_all:
        db.execute("DELETE FROM one_time_key WHERE device = ?", (box.number,))
    add_keys(tables, box.number, fresh)
    if update.seal_key is not None and rotates:
        if 0 <= highest_seal < update.seal_key.id:
            _retire(tables, box, highest_seal)
        set_seal_key(tables, box.number, update.seal_key)
    if update.fallback_key is not None and update.fallback_key != fallback:
        set_fallback_key(tables, box.number, update.fallback_key)
    if update.token_hash is not None:
        db.execute(
            "UPDATE account SET token_hash = ? WHERE id = ?",
            (sql.binary(update.token_hash), sql.binary(account)),
        )
    tables.members.forget(account)
    return reading.key_state_of(db, box.number, tables.now)


def _retire(tables: PostTables, box: Box, seal_key_id: int) -> None:
    """Note up to where this seal key was used."""
    tables.db.execute(
        "INSERT INTO retired_key VALUES (?,?,?,?)", (box.number, seal_key_id, box.highest, tables.now)
    )
    tables.db.execute(
        "DELETE FROM retired_key WHERE device = ? AND id NOT IN"
        " (SELECT id FROM retired_key WHERE device = ? ORDER BY id DESC LIMIT ?)",
        (box.number, box.number, RETIRED_KEPT),
    )


def set_seal_key(tables: PostTables, device: int, key: SealKey) -> None:
    """The present one from now on."""
    tables.db.execute("UPDATE device SET seal_key_id = ? WHERE number = ?", (key.id, device))
    tables.db.execute(
        "UPDATE device_key SET seal_key = ?, highest_seal = ? WHERE device = ?",
        (sql.binary(key.signed), key.id, device),
    )


def set_fallback_key(tables: PostTables, device: int, key: bytes) -> None:
    """The one to be handed out where no other is left."""
    tables.db.execute("UPDATE device_key SET fallback_key = ? WHERE device = ?", (sql.binary(key), device))


def add_keys(tables: PostTables, device: int, keys: Sequence[SessionKey]) -> None:
    """One-time keys that were never taken in, in the order of their ids."""
    if not keys:
        return
    tables.db.executemany(
        "INSERT INTO one_time_key VALUES (?,?,?)", [(device, key.id, sql.binary(key.signed)) for key in keys]
    )
    tables.db.execute("UPDATE device_key SET highest_one_time = ? WHERE device = ?", (keys[-1].id, device))


def forget_keys(tables: PostTables, device: int) -> None:
    """Everything that a removed device has published."""
    tables.db.execute("DELETE FROM one_time_key WHERE device = ?", (device,))
    tables.db.execute("DELETE FROM retired_key WHERE device = ?", (device,))
    tables.db.execute(
        "UPDATE device_key SET fallback_key = NULL, seal_key = NULL WHERE device = ?", (device,)
    )


def take(tables: PostTables, account: AccountId, devices: Sequence[DeviceId]) -> dict[DeviceId, bytes]:
    """`Keys.take_session_keys`."""
    member = tables.members.find(account)
    if member is None:
        raise UnknownAccount("no such account")
    taken: dict[DeviceId, bytes] = {}
    for device in dict.fromkeys(devices):
        box = member.boxes.get(device)
        signed = _take_one(tables, box.number) if box is not None and box.listed else None
        if signed is not None:
            taken[device] = signed
    return taken


def _take_one(tables: PostTables, device: int) -> bytes | None:
    rows = tables.db.execute(
        "DELETE FROM one_time_key WHERE device = ? AND id ="
        " (SELECT min(id) FROM one_time_key WHERE device = ?) RETURNING signed",
        (device, device),
    ).fetchall()
    if not rows:
        rows = tables.db.execute("SELECT fallback_key FROM device_key WHERE device = ?", (device,)).fetchall()
    signed: bytes | None = rows[0][0] if rows else None
    return signed
