"""Files on their way to the server: where they come from, what they are sealed with, what was sealed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from hushpost.client.store.database import Database
from hushpost.client.values import TransferState
from hushpost.crypto.filekeys import FileKey, PartDigest, ReadToken, ReleaseToken
from hushpost.crypto.primitives import sha256
from hushpost.ids import AccountId, BlobId, FixedBytes, MessageId
from hushpost.sql import Row


class SourceKind(StrEnum):
    """What a file is read from."""

    FILE = "file"
    FOLDER = "folder"  # a tar stream is made of it on the way
    PIPE = "pipe"  # can be read once, and is kept as sealed parts until the server has them


class Stamp(FixedBytes):
    """SHA-256 of everything that shows that a source is still what it was: device, inode, size and time."""

    __slots__ = ()
    SIZE = 32

    @classmethod
    def of(cls, facts: bytes) -> Stamp:
        return cls(sha256(facts))


NO_STAMP = Stamp(bytes(32))
"""Of what nobody can look at: a pipe, or something that is not there yet."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one state of a source is sealed with. Another state is another attempt: see docs/spec/files.md.

    Attributes:
        size: bytes; None: of a pipe that has not ended.
    """

    blob: BlobId
    key: FileKey
    read: ReadToken
    release: ReleaseToken
    stamp: Stamp
    size: int | None

    @classmethod
    def new(cls, stamp: Stamp, size: int | None) -> Attempt:
        return cls(BlobId.random(), FileKey.random(), ReadToken.random(), ReleaseToken.random(), stamp, size)

    def ended(self, size: int) -> Attempt:
        """The pipe has: so many bytes were in it."""
        return replace(self, size=size)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to be sent.

    Attributes:
        message: will offer it, when the server has all of it.
        source: an absolute path; of a pipe, nothing.
        state: WAITING, or how it ended.
    """

    message: MessageId
    contact: AccountId
    kind: SourceKind
    source: Path
    name: str = field(repr=False)
    caption: str = field(repr=False)
    made_at: int
    attempt: Attempt
    state: TransferState = TransferState.WAITING
    why: str = ""


_COLUMNS = (
    "message, contact, kind, source, name, caption, made_at, blob, key, read_token, release_token, stamp,"
    " size, state, why"
)


class UploadTable:
    """`t.uploads`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, upload: Upload) -> None:
        attempt = upload.attempt
        self._db.run(
            f"INSERT INTO upload ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            upload.message,
            upload.contact,
            upload.kind.value,
            os.fsencode(upload.source),
            upload.name,
            upload.caption,
            upload.made_at,
            attempt.blob,
            attempt.key,
            attempt.read,
            attempt.release,
            attempt.stamp,
            attempt.size,
            upload.state.value,
            upload.why,
        )

    def get(self, message: MessageId) -> Upload | None:
        """None: nothing of ours is called so, or its keys are gone, since it has ended."""
        row = self._db.row(f"SELECT {_COLUMNS} FROM upload WHERE message = ? AND key IS NOT NULL", message)
        return _upload(row) if row else None

    def every(self) -> Iterator[tuple[Upload, int]]:
        """Each, the oldest first, with how many of its parts were sealed. What has ended shows no keys."""
        sealed = self._db.rows("SELECT blob, count(DISTINCT number) FROM upload_part GROUP BY blob")
        counts = {bytes(blob): int(count) for blob, count in sealed}
        for row in self._db.rows(f"SELECT {_COLUMNS} FROM upload ORDER BY made_at, message"):
            upload = _upload(row)
            yield upload, counts.get(bytes(upload.attempt.blob), 0)

    def again(self, message: MessageId, attempt: Attempt) -> None:
        """The source is another one by now: begin with new keys, and forget what was sealed."""
        self._forget_parts(message)
        self._db.run(
            "UPDATE upload SET blob = ?, key = ?, read_token = ?, release_token = ?, stamp = ?, size = ?"
            " WHERE message = ?",
            attempt.blob,
            attempt.key,
            attempt.read,
            attempt.release,
            attempt.stamp,
            attempt.size,
            message,
        )
        self._db.key_material_went()

    def ended_at(self, message: MessageId, size: int) -> None:
        """A pipe has ended after so many bytes."""
        self._db.run("UPDATE upload SET size = ? WHERE message = ?", size, message)

    def stands(self, message: MessageId, state: TransferState, why: str = "") -> None:
        """From now on so. What is done or cancelled needs its keys no more."""
        self._db.run("UPDATE upload SET state = ?, why = ? WHERE message = ?", state.value, why, message)
        if state in {TransferState.DONE, TransferState.CANCELLED}:
            self._forget_parts(message)
            self._db.run(
                "UPDATE upload SET key = NULL, read_token = NULL, release_token = NULL WHERE message = ?",
                message,
            )
            self._db.key_material_went()

    # --- parts

    def sealed(self, blob: BlobId, number: int, digest: PartDigest) -> None:
        """We made this part. To be committed before any of it is sent."""
        self._db.run("INSERT OR IGNORE INTO upload_part VALUES (?, ?, ?)", blob, number, digest)

    def parts(self, blob: BlobId, first: int, count: int) -> dict[int, set[bytes]]:
        """Of some parts by number, the digests that we made."""
        found: dict[int, set[bytes]] = {}
        for number, digest in self._db.rows(
            "SELECT number, digest FROM upload_part WHERE blob = ? AND number BETWEEN ? AND ?",
            blob,
            first,
            first + count - 1,
        ):
            found.setdefault(number, set()).add(digest)
        return found

    def _forget_parts(self, message: MessageId) -> None:
        self._db.run(
            "DELETE FROM upload_part WHERE blob = (SELECT blob FROM upload WHERE message = ?)", message
        )


def _upload(row: Row) -> Upload:
    message, contact, kind, source, name, caption, made_at, blob, *secrets, stamp, size, state, why = row
    key, read, release = (each or bytes(32) for each in secrets)
    return Upload(
        MessageId(message),
        AccountId(contact),
        SourceKind(kind),
        Path(os.fsdecode(source)),
        name,
        caption,
        made_at,
        Attempt(BlobId(blob), FileKey(key), ReadToken(read), ReleaseToken(release), Stamp(stamp), size),
        TransferState(state),
        why,
    )
