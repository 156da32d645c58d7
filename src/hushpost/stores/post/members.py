"""Accounts with their devices, as the writer remembers them: what an envelope is checked against."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from hushpost import sql
from hushpost.ids import AccountId, MailboxId

MEMBERS_CACHED = 32_768
"""Accounts; about 40 MB when each has one device. One that is not among them costs one look-up."""

NOTED_EVERY = 64
"""Envelopes of a mailbox after which its row says so: the most that have to be counted when it is loaded."""

LOADED_AT_ONCE = 64
"""Accounts of one statement, when several are needed: nearly twice as quick as one by one."""

WORTH_IT = 8
"""Accounts. Fewer are looked up one by one, when they are asked for."""

_LOAD = """
SELECT a.id, a.version, a.token_hash, d.number, d.id, d.listed, d.seal_key_id,
    d.count + count(e.sequence), d.size + ifnull(sum(e.size), 0),
    d.requests + ifnull(sum(e.is_request), 0), d.request_size + ifnull(sum(e.is_request * e.size), 0),
    max(d.highest, ifnull(max(e.sequence), 0)), d.acknowledged, count(e.sequence)
FROM account a JOIN device d ON d.account = a.id
    LEFT JOIN envelope e ON e.mailbox = d.number AND e.sequence > d.highest
WHERE a.id = ? AND a.token_hash IS NOT NULL GROUP BY d.account, d.id
"""

_LOAD_MANY = _LOAD.replace("a.id = ?", f"a.id IN ({','.join('?' * LOADED_AT_ONCE)})")


@dataclass(slots=True)
class Box:
    """A device, and its mailbox: a row of `device`.

    Attributes:
        account: whose it is.
        seal_key_id: None if it has published none.
        unnoted: envelopes that the row does not know.
        changed: the row is to be written with the transaction.
    """

    account: AccountId
    number: int
    id: MailboxId
    listed: bool
    seal_key_id: int | None
    count: int
    size: int
    requests: int
    request_size: int
    highest: int
    acknowledged: int
    unnoted: int
    changed: bool = False


@dataclass(slots=True)
class Member:
    """An account that has not left.

    Attributes:
        boxes: of all devices that it ever listed.
        listed: how many of them are in its newest manifest.
    """

    id: AccountId
    version: int
    token_hash: bytes
    boxes: dict[bytes, Box]
    listed: int


class Members:
    """Those that were needed lately. Nothing here is newer than the writer's transaction."""

    def __init__(self, db: sql.Connection) -> None:
        self._db = db
        self._by_id: OrderedDict[AccountId, Member] = OrderedDict()
        self._accounts: dict[bytes, AccountId] = {}
        """Of each device of theirs."""
        self._expected: deque[AccountId] = deque()

    def find(self, account: AccountId) -> Member | None:
        """An account that has not left."""
        member = self._by_id.get(account)
        if member is not None:
            self._by_id.move_to_end(account)
            return member
        rows = self._db.execute(_LOAD, (sql.binary(account),)).fetchall()
        return self._remember(account, rows) if rows else None

    def expect(self, account: AccountId) -> None:
        """An operation on it is on its way to the writer. May be called from another thread."""
        self._expected.append(account)

    def load_expected(self) -> None:
        """Look up what the next operations will ask for, many at a time."""
        missing: set[AccountId] = set()
        while self._expected:
            account = self._expected.popleft()
            if account not in self._by_id:
                missing.add(account)
        if len(missing) < WORTH_IT:
            return
        keys = [sql.binary(account) for account in missing]
        for start in range(0, len(keys), LOADED_AT_ONCE):
            some = keys[start : start + LOADED_AT_ONCE]
            some += some[:1] * (LOADED_AT_ONCE - len(some))
            rows = self._db.execute(_LOAD_MANY, some).fetchall()
            for raw, of_account in groupby(rows, key=itemgetter(0)):
                self._remember(AccountId(raw), list(of_account))

    def _remember(self, account: AccountId, rows: list[sql.Row]) -> Member:
        boxes = {row[4]: Box(account, row[3], MailboxId(row[4]), bool(row[5]), *row[6:]) for row in rows}
        _, version, token_hash = rows[0][:3]
        listed = sum(box.listed for box in boxes.values())
        member = self._by_id[account] = Member(account, version, token_hash, boxes, listed)
        for device in boxes:
            self._accounts[device] = account
        return member

    def owner(self, device: bytes) -> AccountId | None:
        """Whose device or mailbox this is, or was before it was removed."""
        account = self._accounts.get(device)
        if account is None:
            row = self._db.execute(
                "SELECT account FROM device WHERE id = ?", (sql.binary(device),)
            ).fetchone()
            account = AccountId(row[0]) if row else None
        return account

    def box(self, device: bytes) -> Box | None:
        """A device or mailbox, listed or not."""
        account = self.owner(device)
        member = self.find(account) if account is not None else None
        return member.boxes[device] if member is not None else None

    def numbered(self, number: int) -> Box | None:
        """The mailbox of this number; None if its account has left."""
        row = self._db.execute("SELECT id FROM device WHERE number = ?", (number,)).fetchone()
        return self.box(row[0]) if row else None

    def forget(self, account: AccountId) -> None:
        """It was changed: the next one to ask for it loads it."""
        member = self._by_id.pop(account, None)
        if member is not None:
            self._drop(member)

    def trim(self) -> None:
        """Keep to the bound. Not while the row of a box is behind."""
        while len(self._by_id) > MEMBERS_CACHED:
            _, member = self._by_id.popitem(last=False)
            self._drop(member)

    def clear(self) -> None:
        """Forget all."""
        self._by_id.clear()
        self._accounts.clear()

    def _drop(self, member: Member) -> None:
        for device in member.boxes:
            del self._accounts[device]
