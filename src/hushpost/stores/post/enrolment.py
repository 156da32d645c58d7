"""What the writer does for `base.Invitations` and `base.Accounts`. Like a method of `PostTables`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hushpost import sql
from hushpost.errors import IdTaken, InviteInvalid, NameTaken, StaleManifest, UnknownAccount
from hushpost.ids import AccountId, DeviceId, TokenHash
from hushpost.stores import rules
from hushpost.stores.base import Invitation, NewAccount, SessionKey
from hushpost.stores.post import publishing
from hushpost.stores.post.members import Member
from hushpost.stores.post.tables import PostTables


def invite(tables: PostTables, invitation: Invitation) -> None:
    """`Invitations.invite`."""
    token = sql.binary(invitation.token_hash)
    if tables.db.execute("SELECT 1 FROM invitation WHERE token_hash = ?", (token,)).fetchone():
        raise IdTaken("there is such an invitation")
    tables.db.execute("INSERT INTO invitation VALUES (?,?,?)", (token, invitation.uses, invitation.expires))


def revoke(tables: PostTables, token_hash: TokenHash) -> bool:
    """`Invitations.revoke`."""
    gone = tables.db.execute(
        "DELETE FROM invitation WHERE token_hash = ? RETURNING 1", (sql.binary(token_hash),)
    )
    return bool(gone.fetchall())


def _use(tables: PostTables, token_hash: TokenHash) -> None:
    """Take one use of an invitation that is known to be good."""
    token = sql.binary(token_hash)
    tables.db.execute("UPDATE invitation SET uses = uses - 1 WHERE token_hash = ?", (token,))
    tables.db.execute("DELETE FROM invitation WHERE token_hash = ? AND uses < 1", (token,))


def _check_good(tables: PostTables, token_hash: TokenHash) -> None:
    row = tables.db.execute(
        "SELECT expires FROM invitation WHERE token_hash = ?", (sql.binary(token_hash),)
    ).fetchone()
    if row is None or row[0] <= tables.now:
        raise InviteInvalid("this invitation is not good any more", hint="ask for another one")


def enroll(tables: PostTables, account: NewAccount, invitation: TokenHash | None) -> None:
    """`Accounts.enroll`."""
    if _is_repeat(tables, account):
        return
    if invitation is not None:
        _check_good(tables, invitation)
    keys = rules.new_keys(-1, 0, account.one_time_keys)
    db = tables.db
    if db.execute("SELECT 1 FROM account WHERE name = ?", (account.name,)).fetchone():
        raise NameTaken("this name is taken")
    identity = sql.binary(account.id)
    if db.execute("SELECT 1 FROM account WHERE id = ?", (identity,)).fetchone() or _are_listed(
        tables, [account.device]
    ):
        raise IdTaken("this id is taken")
    tables.check_room()
    db.execute(
        "INSERT INTO account VALUES (?,?,1,?)", (identity, account.name, sql.binary(account.token_hash))
    )
    db.execute("INSERT INTO manifest VALUES (?,1,?)", (identity, sql.binary(account.manifest)))
    _set_keys(tables, _insert_device(tables, account.id, account.device), account, keys)
    if invitation is not None:
        _use(tables, invitation)


def _is_repeat(tables: PostTables, account: NewAccount) -> bool:
    row = tables.db.execute(
        "SELECT a.name, m.manifest FROM account a JOIN manifest m ON m.account = a.id"
        " WHERE a.id = ? AND a.version = 1 AND m.version = 1 AND a.token_hash IS NOT NULL",
        (sql.binary(account.id),),
    ).fetchone()
    return row is not None and tuple(row) == (account.name, account.manifest)


def _are_listed(tables: PostTables, devices: Collection[bytes]) -> bool:
    """Whether one of these is some account's, or was before it was removed there."""
    return any(
        tables.db.execute("SELECT 1 FROM device WHERE id = ?", (sql.binary(device),)).fetchone()
        for device in devices
    )


def _insert_device(tables: PostTables, account: AccountId, device: bytes) -> int:
    """A new device with its mailbox; its number."""
    (number,) = tables.db.execute(
        "UPDATE store SET last_device = last_device + 1 RETURNING last_device"
    ).fetchall()[0]
    tables.db.execute(
        "INSERT INTO device (account, id, number) VALUES (?,?,?)",
        (sql.binary(account), sql.binary(device), number),
    )
    tables.db.execute("INSERT INTO device_key (device) VALUES (?)", (number,))
    return int(number)


def _set_keys(tables: PostTables, device: int, account: NewAccount, keys: Sequence[SessionKey]) -> None:
    """The first keys of the device with this number."""
    publishing.set_seal_key(tables, device, account.seal_key)
    publishing.set_fallback_key(tables, device, account.fallback_key)
    publishing.add_keys(tables, device, keys)


def put_manifest(
    tables: PostTables, account: AccountId, version: int, manifest: bytes, devices: Sequence[DeviceId]
) -> None:
    """`Accounts.put_manifest`."""
    member = _member(tables, account)
    if _is_next(tables, member, version, manifest, recovery=False):
        _append(tables, member, manifest, devices)


def recover(tables: PostTables, account: NewAccount, version: int) -> None:
    """`Accounts.recover`. Whatever can be refused is, before the first row is written."""
    member = _member(tables, account.id)
    if not _is_next(tables, member, version, account.manifest, recovery=True):
        return
    keys = rules.new_keys(-1, 0, account.one_time_keys)
    if account.device in member.boxes:
        raise IdTaken("a device of this id was listed before")
    _append(tables, member, account.manifest, [account.device])
    (number,) = tables.db.execute(
        "SELECT number FROM device WHERE id = ?", (sql.binary(account.device),)
    ).fetchone()
    _set_keys(tables, number, account, keys)
    tables.db.execute(
        "UPDATE account SET token_hash = ? WHERE id = ?",
        (sql.binary(account.token_hash), sql.binary(account.id)),
    )


def _is_next(tables: PostTables, member: Member, version: int, manifest: bytes, *, recovery: bool) -> bool:
    """Whether this manifest is to be appended; not if it is the newest.

    Raises:
        StaleManifest, TooManyManifests.
    """
    newest = tables.newest_manifest(member)
    if version == member.version and manifest == newest:
        return False
    if version != member.version + 1:
        raise StaleManifest("this manifest is not the next one", manifest=newest)
    (size,) = tables.db.execute(
        "SELECT sum(length(manifest)) FROM manifest WHERE account = ?", (sql.binary(member.id),)
    ).fetchone()
    rules.check_manifests(version, size + len(manifest), recovery=recovery)
    return True


def _append(tables: PostTables, member: Member, manifest: bytes, devices: Sequence[DeviceId]) -> None:
    """The next manifest, with these devices.

    Raises:
        IdTaken, StoreFull: nothing was changed.
    """
    listed = {device for device, box in member.boxes.items() if box.listed}
    added = [device for device in dict.fromkeys(devices) if device not in listed]
    if _are_listed(tables, added):
        raise IdTaken("a device of this id was listed before")
    tables.check_room()
    tables.settle()
    for device in listed.difference(devices):
        publishing.forget_keys(tables, member.boxes[device].number)
        tables.db.execute(
            "UPDATE device SET listed = 0, last_version = ?, seal_key_id = NULL WHERE number = ?",
            (member.version, member.boxes[device].number),
        )
    for device in added:
        _insert_device(tables, member.id, device)
    identity, version = sql.binary(member.id), member.version + 1
    tables.db.execute("INSERT INTO manifest VALUES (?,?,?)", (identity, version, sql.binary(manifest)))
    tables.db.execute("UPDATE account SET version = ? WHERE id = ?", (version, identity))
    tables.members.forget(member.id)


def _member(tables: PostTables, account: AccountId) -> Member:
    member = tables.members.find(account)
    if member is None:
        raise UnknownAccount("no such account")
    return member
