"""The tables of version 3. A step that was released is never edited: new ones follow."""

from __future__ import annotations

from hushpost.sql import Step
from hushpost.stores.migrations import Kind, Schema

_STEPS = (
    Step(
        "accounts, devices, keys, sealed envelopes",
        (
            # last_device: the highest number that was ever given to one. seconds: for how long this store
            # has been open, all in all. is_backup: it must become a store of its own before it is used.
            """CREATE TABLE store (
                only INTEGER PRIMARY KEY CHECK (only = 1),
                epoch BLOB NOT NULL,
                last_sequence INTEGER NOT NULL,
                size INTEGER NOT NULL,
                last_device INTEGER NOT NULL DEFAULT 0,
                seconds INTEGER NOT NULL DEFAULT 0,
                is_backup INTEGER NOT NULL DEFAULT 0
            ) STRICT""",
            """CREATE TABLE invitation (
                token_hash BLOB PRIMARY KEY,
                uses INTEGER NOT NULL,
                expires INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID""",
            # A row stays for ever, since ids and names do. No token: the account has left; an empty one fits
            # nobody. Rows of accounts
            # and devices stand in the order of the account's id, without a tree in between: an envelope
            # to anybody among a million costs as many page reads as there are trees to go down.
            """CREATE TABLE account (
                id BLOB PRIMARY KEY,
                name TEXT NOT NULL UNIQUE,
                version INTEGER NOT NULL,
                token_hash BLOB
            ) STRICT, WITHOUT ROWID""",
            """CREATE TABLE manifest (
                account BLOB NOT NULL REFERENCES account,
                version INTEGER NOT NULL,
                manifest BLOB NOT NULL,
                PRIMARY KEY (account, version)
            ) STRICT, WITHOUT ROWID""",
            # A device and its mailbox; its number is never another's. `last_version` is that of the last
            # manifest that listed it, so that nobody need look for that; 0 while one does. The four
            # figures are those of the envelopes up to `highest`: what came after it is counted when the
            # device is looked at, so that storing an envelope need not write here every time.
            """CREATE TABLE device (
                account BLOB NOT NULL REFERENCES account,
                id BLOB NOT NULL UNIQUE,
                number INTEGER NOT NULL UNIQUE,
                listed INTEGER NOT NULL DEFAULT 1,
                last_version INTEGER NOT NULL DEFAULT 0,
                seal_key_id INTEGER,
                count INTEGER NOT NULL DEFAULT 0,
                size INTEGER NOT NULL DEFAULT 0,
                requests INTEGER NOT NULL DEFAULT 0,
                request_size INTEGER NOT NULL DEFAULT 0,
                highest INTEGER NOT NULL DEFAULT 0,
                acknowledged INTEGER NOT NULL DEFAULT 0,
                PRIMARY KEY (account, id)
            ) STRICT, WITHOUT ROWID""",
            # Apart from `device`, whose rows are looked at for every envelope. `highest_...`: the highest
            # ids that were ever taken in, or -1.
            """CREATE TABLE device_key (
                device INTEGER PRIMARY KEY REFERENCES device (number),
                highest_one_time INTEGER NOT NULL DEFAULT -1,
                highest_seal INTEGER NOT NULL DEFAULT -1,
                fallback_key BLOB,
                seal_key BLOB
            ) STRICT""",
            """CREATE TABLE one_time_key (
                device INTEGER NOT NULL REFERENCES device (number),
                id INTEGER NOT NULL,
                signed BLOB NOT NULL,
                PRIMARY KEY (device, id)
            ) STRICT, WITHOUT ROWID""",
            """CREATE TABLE retired_key (
                device INTEGER NOT NULL REFERENCES device (number),
                id INTEGER NOT NULL,
                up_to INTEGER NOT NULL,
                since REAL NOT NULL,
                PRIMARY KEY (device, id)
            ) STRICT, WITHOUT ROWID""",
            # mailbox: the number of a device. The long columns come last, so that the short ones are
            # read without them.
            """CREATE TABLE envelope (
                sequence INTEGER PRIMARY KEY,
                mailbox INTEGER NOT NULL,
                size INTEGER NOT NULL,
                is_request INTEGER NOT NULL,
                seal_key_id INTEGER NOT NULL,
                id BLOB NOT NULL,
                header BLOB NOT NULL,
                body BLOB NOT NULL
            ) STRICT""",
            # All that counting needs.
            "CREATE INDEX envelope_of_mailbox ON envelope (mailbox, sequence, size, is_request)",
            # Ids begin with the time: new rows go to the end of the tree, and old ones are one range.
            """CREATE TABLE seen (
                id BLOB NOT NULL,
                mailbox INTEGER NOT NULL,
                sequence INTEGER NOT NULL,
                fingerprint BLOB NOT NULL,
                PRIMARY KEY (id, mailbox)
            ) STRICT, WITHOUT ROWID""",
            # Mailboxes of accounts that left, of which there are envelopes to delete.
            "CREATE TABLE leaving (mailbox INTEGER PRIMARY KEY) STRICT",
            # What the last sequence was when the store had been open for so long: it tells the age of
            # envelopes, by a clock that does not jump.
            """CREATE TABLE hour (
                seconds INTEGER PRIMARY KEY,
                last_sequence INTEGER NOT NULL
            ) STRICT""",
        ),
    ),
    Step(
        "blobs of parts: the contents of files",
        (
            # Nothing here says whose it is. received, present: bytes and number of its parts. day: on which
            # it counts against a quota. ends: when it goes, in seconds of the store; 0: it is going.
            """CREATE TABLE blob (
                number INTEGER PRIMARY KEY,
                id BLOB NOT NULL UNIQUE,
                size INTEGER NOT NULL,
                received INTEGER NOT NULL,
                present INTEGER NOT NULL,
                committed INTEGER NOT NULL,
                day INTEGER NOT NULL,
                ends INTEGER NOT NULL,
                read_hash BLOB NOT NULL
            ) STRICT""",
            "CREATE INDEX blob_by_end ON blob (ends)",
            """CREATE TABLE blob_part (
                blob INTEGER NOT NULL REFERENCES blob,
                number INTEGER NOT NULL,
                size INTEGER NOT NULL,
                digest BLOB NOT NULL,
                PRIMARY KEY (blob, number)
            ) STRICT, WITHOUT ROWID""",
            """CREATE TABLE blob_release (
                blob INTEGER NOT NULL REFERENCES blob,
                token_hash BLOB NOT NULL,
                shown INTEGER NOT NULL,
                PRIMARY KEY (blob, token_hash)
            ) STRICT, WITHOUT ROWID""",
            # What accounts have put, by the day on which it goes. Two blobs of a day are one sum.
            """CREATE TABLE blob_quota (
                account BLOB NOT NULL REFERENCES account,
                day INTEGER NOT NULL,
                bytes INTEGER NOT NULL,
                PRIMARY KEY (account, day)
            ) STRICT, WITHOUT ROWID""",
        ),
    ),
)

POST = Schema(Kind.POST, _STEPS)
