"""The schema, as the steps that led to it. A step that was released is never edited: new ones follow.

`PRAGMA user_version` counts the steps that a database has seen; each is one transaction together with
its number, so that a database is always exactly at one of the versions ever released.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from hushpost import sql
from hushpost.sql import Step, version_of

APPLICATION_ID = 0x48505354
"""`HPST` at offset 68 of the file: this database is a Hushpost server's."""


STEPS: tuple[Step, ...] = (
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

__all__ = ["APPLICATION_ID", "STEPS", "VERSION", "Step", "found", "migrate", "version_of"]

VERSION = len(STEPS)


def migrate(connection: sql.Connection, steps: Sequence[Step] = STEPS) -> None:
    """Take the steps that are missing, each whole or not at all."""
    sql.migrate(connection, steps)


def found(connection: sql.Connection) -> None:
    """Make a new store in an empty database."""
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    migrate(connection)
    connection.execute("INSERT INTO store VALUES (1, ?, 0, 0)", (os.urandom(16),))
