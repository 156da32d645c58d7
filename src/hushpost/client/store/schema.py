"""The schema of a profile's database, as the steps that led to it. See `sql.Step`."""

from __future__ import annotations

from hushpost.sql import Step

APPLICATION_ID = 0x48505343
"""`HPSC`: this database is a Hushpost client's. Like everything in the file it is encrypted."""

_WHO_WE_ARE = (
    """CREATE TABLE me (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        account BLOB NOT NULL,
        device BLOB NOT NULL,
        name TEXT NOT NULL,
        host TEXT NOT NULL,
        port INTEGER NOT NULL,
        pin BLOB NOT NULL,
        enrolment TEXT NOT NULL,
        account_secret BLOB,
        invite BLOB,
        inviter BLOB,
        created INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE server (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        statement BLOB,
        epoch BLOB NOT NULL,
        committed INTEGER NOT NULL,
        drained_at INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    "INSERT INTO server VALUES (1, NULL, zeroblob(16), 0, 0)",
    """CREATE TABLE own_token (
        generation INTEGER PRIMARY KEY AUTOINCREMENT,
        token BLOB NOT NULL,
        published INTEGER NOT NULL
    ) STRICT""",
    # A registration that was begun, and the recovery seed until it was shown.
    """CREATE TABLE joining (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        request BLOB NOT NULL,
        seed BLOB
    ) STRICT""",
    # receipts: contacts are told that their messages have come.
    """CREATE TABLE preference (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        receipts INTEGER NOT NULL
    ) STRICT""",
    "INSERT INTO preference VALUES (1, 1)",
    # purge_due: key material was deleted, and its old pages may still stand in the log.
    """CREATE TABLE upkeep (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        purge_due INTEGER NOT NULL,
        dropped INTEGER NOT NULL
    ) STRICT""",
    "INSERT INTO upkeep VALUES (1, 0, 0)",
)

_KEYS = (
    """CREATE TABLE olm_account (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        pickle BLOB NOT NULL
    ) STRICT""",
    # Their ids are the ratchet's: it counts the keys that it makes.
    "CREATE TABLE one_time_key (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE) STRICT",
    """CREATE TABLE fallback_key (
        id INTEGER PRIMARY KEY,
        made_at INTEGER NOT NULL,
        published_at INTEGER
    ) STRICT""",
    # Ids only grow, also when the newest row is gone: so AUTOINCREMENT, here and elsewhere.
    """CREATE TABLE seal_key (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        secret BLOB NOT NULL,
        expires INTEGER NOT NULL,
        made_at INTEGER NOT NULL,
        published_at INTEGER,
        retired_up_to INTEGER,
        connected INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    # generation: how many fallback keys had been made when the session was opened.
    """CREATE TABLE opened_session (
        hash BLOB PRIMARY KEY,
        generation INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX opened_session_generation ON opened_session (generation)",
)

_OTHERS = (
    """CREATE TABLE contact (
        account BLOB PRIMARY KEY,
        fingerprint BLOB NOT NULL,
        name TEXT NOT NULL,
        alias TEXT NOT NULL,
        standing TEXT NOT NULL,
        trust TEXT NOT NULL,
        how TEXT NOT NULL,
        since INTEGER NOT NULL,
        token BLOB,
        told INTEGER NOT NULL DEFAULT 0,
        knows BLOB NOT NULL,
        asked INTEGER NOT NULL DEFAULT 0,
        held INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID""",
    # raw: of our own account every one, since we hand the chain on; of others the newest only.
    """CREATE TABLE manifest (
        account BLOB NOT NULL,
        version INTEGER NOT NULL,
        hash BLOB NOT NULL,
        raw BLOB,
        PRIMARY KEY (account, version)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE device (
        account BLOB NOT NULL,
        id BLOB NOT NULL,
        raw BLOB NOT NULL,
        listed INTEGER NOT NULL,
        seal BLOB,
        sent INTEGER NOT NULL DEFAULT 0,
        received INTEGER NOT NULL DEFAULT 0,
        sent_at INTEGER NOT NULL DEFAULT 0,
        heard_at INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (account, id)
    ) STRICT, WITHOUT ROWID""",
    # rank: grows with each use; the highest of a device is its active session.
    """CREATE TABLE session (
        device BLOB NOT NULL,
        hash BLOB NOT NULL,
        rank INTEGER NOT NULL,
        created INTEGER NOT NULL,
        heard_at INTEGER NOT NULL,
        unheard INTEGER NOT NULL,
        pickle BLOB NOT NULL,
        PRIMARY KEY (device, hash)
    ) STRICT""",
    "CREATE INDEX session_rank ON session (device, rank)",
    "CREATE TABLE session_reset (device BLOB PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE received (
        device BLOB NOT NULL,
        message BLOB NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (device, message)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX received_at ON received (at)",
)

_POST = (
    # wants_token: it was put off since the server had no room for what comes without one.
    """CREATE TABLE outgoing (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        message BLOB NOT NULL,
        account BLOB NOT NULL,
        silent INTEGER NOT NULL,
        state TEXT NOT NULL,
        made_at INTEGER NOT NULL,
        not_before INTEGER NOT NULL,
        wants_token INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL,
        finished_at INTEGER,
        reason TEXT NOT NULL,
        envelope BLOB,
        content BLOB,
        body BLOB
    ) STRICT""",
    "CREATE INDEX outgoing_waiting ON outgoing (account, number) WHERE state IN ('draft', 'queued')",
    "CREATE INDEX outgoing_message ON outgoing (message)",
    "CREATE INDEX outgoing_finished ON outgoing (finished_at) WHERE finished_at IS NOT NULL",
    """CREATE TABLE outgoing_part (
        number INTEGER NOT NULL REFERENCES outgoing ON DELETE CASCADE,
        device BLOB NOT NULL,
        inner BLOB,
        delivered_at INTEGER,
        PRIMARY KEY (number, device)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE receipt (
        account BLOB NOT NULL,
        message BLOB NOT NULL,
        due INTEGER NOT NULL,
        PRIMARY KEY (account, message)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX receipt_due ON receipt (due)",
    """CREATE TABLE message (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        contact BLOB NOT NULL,
        ours INTEGER NOT NULL,
        id BLOB NOT NULL,
        device BLOB NOT NULL,
        sent_at INTEGER NOT NULL,
        stored_at INTEGER NOT NULL,
        delivery TEXT NOT NULL,
        remark TEXT NOT NULL,
        text TEXT NOT NULL,
        content BLOB NOT NULL,
        UNIQUE (id, contact, ours)
    ) STRICT""",
    "CREATE INDEX message_of_contact ON message (contact, number)",
    """CREATE VIRTUAL TABLE message_text USING fts5 (
        text, content = 'message', content_rowid = 'number', tokenize = 'unicode61 remove_diacritics 2'
    )""",
    # A deleted text must be gone from the index, too, not only be marked there.
    "INSERT INTO message_text (message_text, rank) VALUES ('secure-delete', 1)",
    """CREATE TRIGGER message_added AFTER INSERT ON message BEGIN
        INSERT INTO message_text (rowid, text) VALUES (new.number, new.text);
    END""",
    """CREATE TRIGGER message_deleted AFTER DELETE ON message BEGIN
        INSERT INTO message_text (message_text, rowid, text) VALUES ('delete', old.number, old.text);
    END""",
    """CREATE TABLE undecryptable (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        envelope BLOB NOT NULL,
        at INTEGER NOT NULL,
        reason TEXT NOT NULL,
        claimed_account BLOB,
        claimed_device BLOB,
        header BLOB NOT NULL,
        body BLOB NOT NULL
    ) STRICT""",
)

_WHAT_HAPPENED = (
    """CREATE TABLE story (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        subject BLOB NOT NULL,
        at INTEGER NOT NULL,
        what TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE event (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        payload BLOB NOT NULL
    ) STRICT""",
    "CREATE TABLE handler (name TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT, WITHOUT ROWID",
)

_FILES = (
    # file: an `AttachedFile`, encoded.
    "ALTER TABLE message ADD COLUMN file BLOB",
    # source: where it comes from. stamp: what that was when its key was made. size: NULL until a pipe has
    # ended.
    """CREATE TABLE upload (
        message BLOB PRIMARY KEY,
        contact BLOB NOT NULL,
        kind TEXT NOT NULL,
        source BLOB NOT NULL,
        name TEXT NOT NULL,
        caption TEXT NOT NULL,
        state TEXT NOT NULL,
        why TEXT NOT NULL,
        made_at INTEGER NOT NULL,
        blob BLOB NOT NULL,
        key BLOB,
        read_token BLOB,
        release_token BLOB,
        stamp BLOB NOT NULL,
        size INTEGER
    ) STRICT, WITHOUT ROWID""",
    # Of every attempt to seal a part: which of them the server got is seen later.
    """CREATE TABLE upload_part (
        blob BLOB NOT NULL,
        number INTEGER NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (blob, number, digest)
    ) STRICT, WITHOUT ROWID""",
    # target: the folder or file that was asked for. partial: where it is being put together. automatic:
    # nobody asked for it. released: the server knows that it is needed no more.
    """CREATE TABLE download (
        contact BLOB NOT NULL,
        message BLOB NOT NULL,
        offer BLOB,
        name TEXT NOT NULL,
        size INTEGER NOT NULL,
        folder INTEGER NOT NULL,
        state TEXT NOT NULL,
        why TEXT NOT NULL,
        made_at INTEGER NOT NULL,
        automatic INTEGER NOT NULL,
        target BLOB NOT NULL,
        partial BLOB NOT NULL,
        final BLOB NOT NULL,
        stamp BLOB NOT NULL,
        released INTEGER NOT NULL,
        PRIMARY KEY (contact, message)
    ) STRICT, WITHOUT ROWID""",
    # What is verified, and in the file.
    """CREATE TABLE download_part (
        contact BLOB NOT NULL,
        message BLOB NOT NULL,
        number INTEGER NOT NULL,
        PRIMARY KEY (contact, message, number),
        FOREIGN KEY (contact, message) REFERENCES download ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID""",
    # below: files of contacts up to so many bytes are fetched unasked; 0: none.
    """CREATE TABLE automatic (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        below INTEGER NOT NULL,
        folder BLOB NOT NULL
    ) STRICT""",
    "INSERT INTO automatic VALUES (1, 0, x'')",
)

_GAPS = (
    """CREATE TABLE gap (
        device BLOB NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        account BLOB NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (device, first)
    ) STRICT, WITHOUT ROWID""",
)

_KEYS_A_DAY = (
    # One row: of the last day (since 1970) on which any were made.
    "CREATE TABLE one_time_made (day INTEGER PRIMARY KEY, count INTEGER NOT NULL) STRICT",
)

_PARTS_ON_THE_DISK = (
    # nonce: under which the part was sealed; NULL: the disk has it for certain.
    "ALTER TABLE download_part ADD COLUMN nonce BLOB",
)

STEPS: tuple[Step, ...] = (
    Step(
        "who we are, keys, others and their sessions, post, what happened",
        _WHO_WE_ARE + _KEYS + _OTHERS + _POST + _WHAT_HAPPENED,
    ),
    Step("files that are sent and received", _FILES),
    # See `outbox.Purpose`; a message that was sent again counted as silent before.
    Step("why something is sent", ("ALTER TABLE outgoing RENAME COLUMN silent TO purpose",)),
    Step("messages of others that are missing", _GAPS),
    Step("how many one-time keys were made in a day", _KEYS_A_DAY),
    Step("which fetched parts the disk may still lose", _PARTS_ON_THE_DISK),
)

VERSION = len(STEPS)
