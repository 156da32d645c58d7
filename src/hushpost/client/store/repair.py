"""What is done over: encryptions for devices that have changed since, and sessions that broke."""

from __future__ import annotations

from hushpost.client.store.database import Database
from hushpost.client.store.outbox import take_back_counters
from hushpost.ids import AccountId, DeviceId, MessageId


class RepairTable:
    """`t.repair`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def redraft(self, number: int) -> None:
        """Nothing of it was stored at the server (`stale-devices`): encrypt it anew, for other devices."""
        take_back_counters(self._db, number)
        self._db.run("DELETE FROM outgoing_part WHERE number = ?", number)
        self._db.run(
            "UPDATE outgoing SET state = 'draft', envelope = NULL, body = NULL WHERE number = ?"
            " AND state = 'queued'",
            number,
        )

    def unconfirmed(
        self, account: AccountId, device: DeviceId, since: int, limit: int
    ) -> tuple[MessageId, ...]:
        """Messages that the server took for this device and that it never confirmed; oldest first."""
        rows = self._db.rows(
            "SELECT message FROM outgoing JOIN outgoing_part USING (number) WHERE account = ? AND device = ?"
            " AND state = 'accepted' AND purpose = 0 AND delivered_at IS NULL AND made_at >= ?"
            " ORDER BY number DESC LIMIT ?",
            account,
            device,
            since,
            limit,
        )
        return tuple(MessageId(message) for (message,) in reversed(rows))
