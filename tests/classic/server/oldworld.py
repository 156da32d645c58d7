"""An old server's folder, built by hand in the original's schema, and what must arrive from it."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

from hushpost.classic.payloads import STREAM_ABOVE, ClientId
from hushpost.ids import BlobId, MailboxId
from hushpost.stores.base import Account, Blobs
from hushpost.stores.sqlite import SqliteStore

SCHEMA = """
CREATE TABLE clients (client_id TEXT PRIMARY KEY, client_name TEXT UNIQUE, client_pk BLOB,
                      last_update TIMESTAMP);
CREATE TABLE messages (message_id INTEGER PRIMARY KEY AUTOINCREMENT, from_client_id TEXT, to_client_id TEXT,
                       message_type TINYINT, message_content BLOB);
"""

ALICE, BOB, CAROL, NOBODY = (ClientId(bytes((number,)) * 16) for number in (0xFF, 0x00, 0x61, 0x7F))
CLIENTS = [(ALICE, "alice", b"A" * 160), (BOB, "Bob שלום", b"B" * 160), (CAROL, "carol\nx", bytes(160))]

LARGE_TEXT = bytes(range(256)) * 300
LARGE_FILE = bytes(reversed(range(256))) * 5000 + b"end"
Message = tuple[int, ClientId, ClientId, int, bytes | None]

MESSAGES: list[Message] = [
    (2, ALICE, BOB, 1, b""),
    (3, BOB, ALICE, 2, b"k" * 128),
    (5, ALICE, BOB, 3, b"short"),
    (6, ALICE, ALICE, 3, LARGE_TEXT),
    (7, CAROL, BOB, 4, None),
    (8, CAROL, BOB, 4, None),
    (9, ALICE, NOBODY, 3, b"to nobody"),
    (10, BOB, CAROL, 4, None),
    (11, BOB, CAROL, 4, None),
    (12, NOBODY, CAROL, 3, None),
    (13, BOB, CAROL, 3, b"x" * STREAM_ABOVE),
    (14, BOB, CAROL, 3, b"x" * (STREAM_ABOVE + 1)),
]
FILES = {7: b"small file", 8: LARGE_FILE, 10: b""}
LAST_GIVEN = 40

ARRIVED = [
    (
        number,
        MailboxId(recipient),
        sender + bytes((kind,)),
        content if content is not None else FILES.get(number, b""),
    )
    for number, sender, recipient, kind, content in MESSAGES
    if recipient != NOBODY
]
EXPECTED = [(*entry[:3], b"-Missing-" if entry[0] == 11 else entry[3]) for entry in ARRIVED]


def build(folder: Path) -> Path:
    """Write it all; returns the folder."""
    (folder / "files").mkdir(parents=True)
    with closing(sqlite3.connect(folder / "server.db")) as database:
        database.executescript(SCHEMA)
        database.executemany("INSERT INTO clients VALUES (?,?,?,NULL)", CLIENTS)
        database.executemany("INSERT INTO messages VALUES (?,?,?,?,?)", MESSAGES)
        database.execute("UPDATE sqlite_sequence SET seq = ?", (LAST_GIVEN,))
        database.commit()
    for number, content in FILES.items():
        (folder / "files" / f"MSG{number}").write_bytes(content)
    return folder


def change(folder: Path, *statements: str) -> None:
    """Run SQL in the old database."""
    with closing(sqlite3.connect(folder / "server.db")) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def picture(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file with its time and its digest; nothing where there is no folder."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
    }


async def accounts(store: SqliteStore) -> list[Account]:
    extent = await store.accounts_extent()
    return [account for _, account in await store.accounts_page(0, extent.last, 1000)]


async def waiting(store: SqliteStore, blobs: Blobs) -> list[tuple[int, MailboxId, bytes, bytes]]:
    """Every envelope of the store: number, mailbox, header, content."""
    found: list[tuple[int, MailboxId, bytes, bytes]] = []
    for client, _, _ in CLIENTS:
        mailbox = MailboxId(client)
        for envelope in await store.read(mailbox, after=0, max_count=1000, max_bytes=2**30):
            content = envelope.body
            if envelope.attachment:
                content = await whole(blobs, envelope.attachment.blob, envelope.attachment.size)
            found.append((envelope.sequence, mailbox, envelope.header, content))
    return sorted(found)


async def whole(blobs: Blobs, blob: BlobId, size: int) -> bytes:
    buffer = bytearray(size + 1)
    return bytes(buffer[: await blobs.read_into(blob, 0, memoryview(buffer))])
