"""What a thief of the key sees: every page of a database and its log, decrypted, what is free included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from hushpost.client.store import StoreKey

PAGE, RESERVED, SALT = 4096, 80, 16
WAL_HEADER, FRAME_HEADER = 32, 24


def readable(path: Path, key: StoreKey) -> bytes:
    """The database's pages, then those in its log, whether they are still valid or not."""
    log = path.with_name(path.name + "-wal")
    logged = log.read_bytes() if log.exists() else b""
    pages = [*_pages(path.read_bytes(), 0, 0), *_pages(logged, WAL_HEADER, FRAME_HEADER)]
    return b"".join(_decrypted(page, key, has_salt=number == 0) for number, page in enumerate(pages))


def _pages(content: bytes, start: int, header: int) -> Iterator[bytes]:
    for at in range(start, len(content), header + PAGE):
        yield content[at + header : at + header + PAGE]


def _decrypted(page: bytes, key: StoreKey, *, has_salt: bool) -> bytes:
    """AES-256-CBC, its nonce at the start of the reserved end. A first page in the log begins as noise."""
    sealed, nonce = page[SALT * has_salt : PAGE - RESERVED], page[PAGE - RESERVED :][:16]
    if len(nonce) < 16:
        return b""
    return Cipher(algorithms.AES(key), modes.CBC(nonce)).decryptor().update(sealed)
