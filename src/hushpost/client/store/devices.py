"""Manifests that were verified, and the devices that they list or have listed.

Of our own account every manifest is kept, since the chain goes to others; of other accounts the newest, and
the hashes of those before it: who names one of these knows an older state of theirs, and has not forked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from hushpost.client.store.database import Database
from hushpost.crypto.identity import Device, Manifest, ManifestHash
from hushpost.crypto.layout import Reader
from hushpost.crypto.prekeys import SealPrekey
from hushpost.errors import StoreFull
from hushpost.ids import AccountId, DeviceId
from hushpost.sql import Row

MAX_VERSIONS = 10_000
"""Of one account: a hash each, so that nobody fills our disk by changing devices back and forth."""

MAX_DEVICES_EVER = 1_000
"""Of one account, listed or removed since: for the same reason."""


@dataclass(frozen=True, slots=True)
class PeerDevice:
    """A device of an account that we know.

    Attributes:
        listed: False: it was removed since; its mail is delivered, marked.
        seal: its newest seal key that was accepted; None: fetch it.
        sent: the counter of our last message to it; 0: none.
        received: the highest counter that came from it; 0: none.
        sent_at: when, seconds since 1970; 0: never.
        heard_at: when the first message came that we have not written since; 0: never.
    """

    account: AccountId
    device: Device
    listed: bool
    seal: SealPrekey | None
    sent: int
    received: int
    sent_at: int
    heard_at: int

    @property
    def id(self) -> DeviceId:
        return self.device.id


_COLUMNS = "account, raw, listed, seal, sent, received, sent_at, heard_at"


class ManifestTable:
    """`t.manifests`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def append(self, manifest: Manifest, *, own: bool = False) -> None:
        """The account's newest, verified by the caller. Its devices are known from now on.

        Raises:
            StoreFull: the account has changed more often than anybody honest would.
        """
        account = manifest.account.id
        known = self._db.number("SELECT count(*) FROM manifest WHERE account = ?", account)
        if known >= MAX_VERSIONS:
            raise StoreFull("an account has more manifests than are kept of one")
        if not own:
            self._db.run("UPDATE manifest SET raw = NULL WHERE account = ? AND raw IS NOT NULL", account)
        self._db.run(
            "INSERT OR REPLACE INTO manifest VALUES (?, ?, ?, ?)",
            account,
            manifest.version,
            manifest.hash,
            manifest.encode(),
        )
        self._db.run("UPDATE device SET listed = 0 WHERE account = ?", account)
        self._db.run_each(
            "INSERT INTO device (account, id, raw, listed) VALUES (?, ?, ?, 1)"
            " ON CONFLICT (account, id) DO UPDATE SET raw = excluded.raw, listed = 1",
            ((account, device.id, device.encode()) for device in manifest.devices),
        )
        if self._db.number("SELECT count(*) FROM device WHERE account = ?", account) > MAX_DEVICES_EVER:
            raise StoreFull("an account has had more devices than are kept of one")

    def newest(self, account: AccountId) -> Manifest | None:
        """None: the account is not known."""

        def read() -> Manifest | None:
            row = self._db.row(
                "SELECT raw FROM manifest WHERE account = ? ORDER BY version DESC LIMIT 1", account
            )
            return _manifest(row[0]) if row else None

        return self._db.keep("manifest", account, read)

    def version_of(self, account: AccountId, named: ManifestHash) -> int | None:
        """Which of the account's manifests is called so. None: none that we know."""
        row = self._db.row("SELECT version FROM manifest WHERE account = ? AND hash = ?", account, named)
        return row[0] if row else None

    def chain(self, account: AccountId, after: int = 0) -> tuple[bytes, ...]:
        """Every manifest behind this version, oldest first, encoded. Whole for our own account only."""
        rows = self._db.rows(
            "SELECT raw FROM manifest WHERE account = ? AND version > ? AND raw IS NOT NULL ORDER BY version",
            account,
            after,
        )
        return tuple(raw for (raw,) in rows)


class DeviceTable:
    """`t.devices`: of other accounts, and the other ones of our own."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, account: AccountId, device: DeviceId) -> PeerDevice | None:
        """None: the account has never listed it."""

        def read() -> PeerDevice | None:
            row = self._db.row(f"SELECT {_COLUMNS} FROM device WHERE account = ? AND id = ?", account, device)
            return _device(row) if row else None

        return self._db.keep("device", (account, device), read)

    def listed(self, account: AccountId) -> tuple[PeerDevice, ...]:
        """The account's devices by its newest manifest, in the order of their ids."""
        rows = self._db.rows(
            f"SELECT {_COLUMNS} FROM device WHERE account = ? AND listed ORDER BY id", account
        )
        return tuple(map(_device, rows))

    def keep_seal(self, account: AccountId, device: DeviceId, seal: SealPrekey) -> None:
        """A seal key that was checked. One with a lower id than the known changes nothing."""
        known = self.get(account, device)
        if known is not None and (known.seal is None or known.seal.key_id < seal.key_id):
            self._db.run(
                "UPDATE device SET seal = ? WHERE account = ? AND id = ?", seal.encode(), account, device
            )

    def next_counter(self, account: AccountId, device: DeviceId, now: int) -> int:
        """The number of the message to it that is encrypted in this transaction: 1, then one more each."""
        return self._db.number(
            "UPDATE device SET sent = sent + 1, sent_at = ? WHERE account = ? AND id = ? RETURNING sent",
            now,
            account,
            device,
        )

    def heard(
        self, account: AccountId, device: DeviceId, counter: int, now: int, *, speaks: bool = True
    ) -> None:
        """A message of it was decrypted. Nothing happens where the account has never listed it.

        Args:
            speaks: it was not empty. One that was wants no answer, or two devices would write for ever.
        """
        known = self.get(account, device)
        if known is None:
            return
        highest = max(known.received, counter)
        heard_at = now if speaks and known.heard_at <= known.sent_at else known.heard_at
        self._db.instead(
            "device",
            (account, device),
            PeerDevice(
                account, known.device, known.listed, known.seal, known.sent, highest, known.sent_at, heard_at
            ),
        )
        self._db.later(
            "device",
            (account, device),
            "UPDATE device SET received = ?, heard_at = ? WHERE account = ? AND id = ?",
            highest,
            heard_at,
            account,
            device,
        )

    def unanswered(self, before: int) -> tuple[PeerDevice, ...]:
        """Listed devices that were heard before this time, and not written to since.

        They get an empty message, so that both sides' ratchets turn.
        """
        rows = self._db.rows(
            f"SELECT {_COLUMNS} FROM device WHERE listed AND heard_at > sent_at AND heard_at <= ?"
            " ORDER BY account, id",
            before,
        )
        return tuple(map(_device, rows))


# Reading one costs hashes and checks of keys, and one conversation reads the same few for every message.
_manifest = lru_cache(maxsize=64)(Manifest.decode)
_seal = lru_cache(maxsize=256)(SealPrekey.decode)


@lru_cache(maxsize=256)
def _listed(raw: bytes) -> Device:
    return Device.decode(Reader(raw))


def _device(row: Row) -> PeerDevice:
    account, raw, listed, seal, *numbers = row
    return PeerDevice(
        AccountId(account),
        _listed(raw),
        bool(listed),
        None if seal is None else _seal(seal),
        *numbers,
    )
