"""The schema, as the steps that led to it. A step that was released is never edited: new ones follow.

`PRAGMA user_version` counts the steps that a database has seen; each is one transaction together with
its number, so that a database is always exactly at one of the versions ever released.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import IntEnum

from hushpost import sql
from hushpost.sql import Step


class Kind(IntEnum):
    """What a database is for: the number at offset 68 of its file. One is never taken for another."""

    CLASSIC = 0x48505354
    """`HPST`."""

    POST = 0x48505333
    """`HPS3`."""

    def __str__(self) -> str:
        return "the classic protocol" if self is Kind.CLASSIC else "version 3"


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one kind of database. The first step makes `store`, which has one row."""

    kind: Kind
    steps: tuple[Step, ...]

    @property
    def version(self) -> int:
        """How many steps a database has seen that is up to date."""
        return len(self.steps)

    def found(self, connection: sql.Connection) -> None:
        """Make a new store in an empty database."""
        connection.execute(f"PRAGMA application_id={self.kind.value}")
        sql.migrate(connection, self.steps)
        connection.execute(
            "INSERT INTO store (only, epoch, last_sequence, size) VALUES (1, ?, 0, 0)", (os.urandom(16),)
        )


_STEPS: tuple[Step, ...] = (
    Step(
        "accounts, mailboxes, envelopes, and the ids that were used",
        (
            # What is true of the whole store; one row. The last sequence number is kept here, because
            # the newest envelope may be deleted and its number must not come back.
            """CREATE TABLE store (
                only INTEGER PRIMARY KEY CHECK (only = 1),
                epoch BLOB NOT NULL,
                last_sequence INTEGER NOT NULL,
                size INTEGER NOT NULL
            ) STRICT""",
            """CREATE TABLE account (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                id BLOB NOT NULL UNIQUE,
                name TEXT NOT NULL UNIQUE,
                record BLOB NOT NULL
            ) STRICT""",
            # count and size are those of its envelopes, kept so that nobody has to add them up.
            """CREATE TABLE mailbox (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                id BLOB NOT NULL UNIQUE,
                account INTEGER NOT NULL REFERENCES account,
                count INTEGER NOT NULL DEFAULT 0,
                size INTEGER NOT NULL DEFAULT 0
            ) STRICT""",
            # size: header, body and attachment. The long columns come last, so that the short ones
            # are read without them.
            """CREATE TABLE envelope (
                sequence INTEGER PRIMARY KEY,
                mailbox INTEGER NOT NULL,
                size INTEGER NOT NULL,
                id BLOB,
                attachment BLOB,
                attachment_size INTEGER,
                header BLOB NOT NULL,
                body BLOB NOT NULL
            ) STRICT""",
            "CREATE INDEX envelope_of_mailbox ON envelope (mailbox)",
            "CREATE INDEX envelope_attachment ON envelope (attachment) WHERE attachment IS NOT NULL",
            # Ids begin with the time: new rows go to the end of the tree, and old ones are one range.
            """CREATE TABLE seen (
                id BLOB NOT NULL,
                mailbox INTEGER NOT NULL,
                sequence INTEGER NOT NULL,
                fingerprint BLOB NOT NULL,
                PRIMARY KEY (id, mailbox)
            ) STRICT, WITHOUT ROWID""",
        ),
    ),
    Step(
        "how far the contents of another system were taken over",
        (
            # No row: this store began empty. `last_sequence` is the highest number of the other system.
            """CREATE TABLE takeover (
                only INTEGER PRIMARY KEY CHECK (only = 1),
                position INTEGER NOT NULL,
                last_sequence INTEGER NOT NULL
            ) STRICT""",
        ),
    ),
)

CLASSIC = Schema(Kind.CLASSIC, _STEPS)
