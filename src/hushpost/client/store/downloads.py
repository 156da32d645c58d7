"""Files that others offer: where they are to go, and which of their parts are there and were verified."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from hushpost.client.store.database import Database
from hushpost.client.store.uploads import NO_STAMP, Stamp
from hushpost.client.values import TransferState
from hushpost.crypto.filekeys import PartNonce
from hushpost.crypto.offer import FileOffer, Mode
from hushpost.ids import AccountId, MessageId
from hushpost.sql import Row


@dataclass(frozen=True, slots=True)
class Offered:
    """Somebody's file, with what is known of it in any state.

    Attributes:
        name: hostile.
        size: bytes.
        automatic: it is fetched because it is small enough, and nobody asked for it.
        target: the folder to put it into, or the name that it shall have; empty: nobody said.
        partial: the file in which it is put together; empty: it was not begun.
        final: what it is to be called, from the moment on in which it may be; empty: not so far.
        stamp: of what is to be called so.
        released: the server was told that we need it no more.
    """

    contact: AccountId
    message: MessageId
    name: str = field(repr=False)
    size: int
    is_folder: bool
    state: TransferState
    why: str
    made_at: int
    automatic: bool
    target: str
    partial: str
    final: str
    stamp: Stamp
    released: bool


@dataclass(frozen=True, slots=True)
class Arrived:
    """The parts of a file that are in it, all of them verified.

    Attributes:
        synced: the disk has them.
        written: the disk may have lost them since, if the system ended; each with the nonce under which it
            was sealed. Sealed again under this nonce it gives its digest, if it is still there.
    """

    synced: frozenset[int] = frozenset()
    written: Mapping[int, PartNonce] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Automatic:
    """What is fetched unasked: files of contacts of at most `below` bytes, into a folder. 0: nothing is."""

    below: int
    folder: str


_COLUMNS = (
    "contact, message, name, size, folder, state, why, made_at, automatic, target, partial, final, stamp,"
    " released"
)


class DownloadTable:
    """`t.downloads`. A message names one only together with its sender: others choose their ids."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def offered(
        self, contact: AccountId, message: MessageId, offer: FileOffer, now: int, *, target: str = ""
    ) -> None:
        """Somebody offers a file. `target`: fetch it at once, into this folder."""
        state = TransferState.WAITING if target else TransferState.OFFERED
        self._db.run(
            "INSERT OR IGNORE INTO download VALUES (?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?, x'', x'', ?, 0)",
            contact,
            message,
            offer.encode(),
            offer.name,
            offer.size,
            int(offer.mode is Mode.FOLDER),
            state.value,
            now,
            int(bool(target)),
            os.fsencode(target),
            NO_STAMP,
        )

    def get(self, contact: AccountId, message: MessageId) -> Offered | None:
        row = self._db.row(
            f"SELECT {_COLUMNS} FROM download WHERE contact = ? AND message = ?", contact, message
        )
        return _offered(row) if row else None

    def called(self, message: MessageId) -> tuple[Offered, ...]:
        """Whoever's: two may use the same id."""
        rows = self._db.rows(f"SELECT {_COLUMNS} FROM download WHERE message = ?", message)
        return tuple(map(_offered, rows))

    def offer(self, contact: AccountId, message: MessageId) -> FileOffer | None:
        """The offer with its keys; None: they are gone."""
        row = self._db.row("SELECT offer FROM download WHERE contact = ? AND message = ?", contact, message)
        return None if row is None or row[0] is None else FileOffer.decode(bytes(row[0]))

    def every(self) -> Iterator[tuple[Offered, int]]:
        """Each, the oldest first, with how many of its parts are here."""
        counts = {
            (contact, message): count
            for contact, message, count in self._db.rows(
                "SELECT contact, message, count(*) FROM download_part GROUP BY contact, message"
            )
        }
        for row in self._db.rows(f"SELECT {_COLUMNS} FROM download ORDER BY made_at, message"):
            yield _offered(row), counts.get((row[0], row[1]), 0)

    def aimed(self, download: Offered, target: str) -> None:
        """It is to go there: resuming it must know, even if nothing could be written yet."""
        self._db.run(
            "UPDATE download SET target = ?, final = x'' WHERE contact = ? AND message = ?",
            os.fsencode(target),
            *_key(download),
        )

    def begun(self, download: Offered, target: str, partial: str) -> None:
        """It is put together in this new file."""
        self._db.run("DELETE FROM download_part WHERE contact = ? AND message = ?", *_key(download))
        self._db.run(
            "UPDATE download SET state = 'waiting', why = '', target = ?, partial = ?, final = x''"
            " WHERE contact = ? AND message = ?",
            os.fsencode(target),
            os.fsencode(partial),
            *_key(download),
        )

    def continued(self, download: Offered) -> Arrived:
        """It goes on; the parts that are there."""
        self._db.run(
            "UPDATE download SET state = 'waiting', why = '' WHERE contact = ? AND message = ?",
            *_key(download),
        )
        rows = self._db.rows(
            "SELECT number, nonce FROM download_part WHERE contact = ? AND message = ?", *_key(download)
        )
        return Arrived(
            frozenset(number for number, nonce in rows if nonce is None),
            {number: PartNonce(nonce) for number, nonce in rows if nonce is not None},
        )

    def written(self, download: Offered, number: int, nonce: PartNonce) -> None:
        """A part is verified, and in the file; the disk may not have it yet."""
        self._db.run(
            "INSERT OR REPLACE INTO download_part VALUES (?, ?, ?, ?)", *_key(download), number, nonce
        )

    def synced(self, download: Offered, numbers: Iterable[int]) -> None:
        """The disk has these."""
        self._each_part("UPDATE download_part SET nonce = NULL", download, numbers)

    def lost(self, download: Offered, numbers: Iterable[int]) -> None:
        """The disk has something else in the places of these."""
        self._each_part("DELETE FROM download_part", download, numbers)

    def finishing(self, download: Offered, final: str, stamp: Stamp) -> None:
        """It is whole, and about to get this name."""
        self._db.run(
            "UPDATE download SET final = ?, stamp = ? WHERE contact = ? AND message = ?",
            os.fsencode(final),
            stamp,
            *_key(download),
        )

    def stands(self, download: Offered, state: TransferState, why: str = "") -> None:
        """From now on so."""
        self._db.run(
            "UPDATE download SET state = ?, why = ? WHERE contact = ? AND message = ?",
            state.value,
            why,
            *_key(download),
        )
        if state in {TransferState.DONE, TransferState.CANCELLED}:
            self._db.run("DELETE FROM download_part WHERE contact = ? AND message = ?", *_key(download))

    def released(self, download: Offered) -> None:
        """The server was told; the keys here have served."""
        self._db.run(
            "UPDATE download SET released = 1, offer = NULL WHERE contact = ? AND message = ?",
            *_key(download),
        )
        self._db.key_material_went()

    def _each_part(self, change: str, download: Offered, numbers: Iterable[int]) -> None:
        where = " WHERE contact = ? AND message = ? AND number = ?"
        self._db.run_each(change + where, ((*_key(download), number) for number in numbers))

    # --- what is fetched unasked

    def automatic(self) -> Automatic:
        row = self._db.row("SELECT below, folder FROM automatic")
        return Automatic(row[0], os.fsdecode(row[1])) if row else Automatic(0, "")

    def fetch_unasked(self, wish: Automatic) -> None:
        self._db.run("UPDATE automatic SET below = ?, folder = ?", wish.below, os.fsencode(wish.folder))


def _key(download: Offered) -> tuple[AccountId, MessageId]:
    return download.contact, download.message


def _offered(row: Row) -> Offered:
    contact, message, name, size, folder, state, why, made_at, automatic, *places, stamp, released = row
    target, partial, final = map(os.fsdecode, places)
    return Offered(
        AccountId(contact),
        MessageId(message),
        name,
        size,
        bool(folder),
        TransferState(state),
        why,
        made_at,
        bool(automatic),
        target,
        partial,
        final,
        Stamp(stamp),
        bool(released),
    )
