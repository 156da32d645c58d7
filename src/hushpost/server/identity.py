"""Who the server is: its long-term key, its certificate, and the statement that joins them.

Two files in the data folder, both of mode 0600 and written whole or not at all:

    identity.key      the server key, which every link pins; whoever loses it needs new links
    certificate.pem   statement, certificate and its key; made anew every two months, under a higher serial

Normative text: docs/spec/auth.md.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hushpost.crypto.identity import (
    CertificateDigest,
    LeafCertificate,
    LeafKeyDigest,
    ServerFingerprint,
    ServerSecret,
    ServerStatement,
)
from hushpost.errors import ProfileError, ServerUntrusted

ALPN = "hushpost/3"
KEY_FILE, CERTIFICATE_FILE = "identity.key", "certificate.pem"

LIFETIME = 90 * 86_400
"""Seconds of a certificate."""

RENEWED_BEFORE = 30 * 86_400
"""Seconds before its end: a server that was off for a month has a certificate when it is back."""

_KEY_HEAD = "hushpost server key 1"
_STATEMENT = "HUSHPOST STATEMENT"
_BLOCK = re.compile(rf"-----BEGIN ({_STATEMENT}|CERTIFICATE)-----\n([A-Za-z0-9+/=\n]+)-----END \1-----\n")


@dataclass(frozen=True, slots=True)
class Shown:
    """What one connection is shown. It stays with the connection when the certificate is renewed."""

    context: ssl.SSLContext
    server: ServerFingerprint
    statement: ServerStatement
    certificate: CertificateDigest


class ServerIdentity:
    """The two files, read. Everything here may block on the disk."""

    def __init__(self, folder: Path, secret: ServerSecret, shown: Shown) -> None:
        self._path = folder / CERTIFICATE_FILE
        self._secret = secret
        self.shown = shown

    @classmethod
    def open(cls, folder: Path, now: int) -> Self:
        """Read them, or make them at the first start.

        Raises:
            ProfileError: one is damaged or readable by others, or the key is gone from a folder in use.
        """
        secret = _read_key(folder / KEY_FILE) if (folder / KEY_FILE).exists() else _make_key(folder)
        path = folder / CERTIFICATE_FILE
        if not path.exists():
            _renew(path, secret, now, 0)
        identity = cls(folder, secret, _read_certificate(path, secret))
        identity.renew(now)
        return identity

    def renew(self, now: int) -> bool:
        """Make a new certificate if it is time; whether it was."""
        statement = self.shown.statement
        if statement.not_before <= now < statement.not_after - RENEWED_BEFORE:
            return False
        _renew(self._path, self._secret, now, statement.serial)
        self.shown = _read_certificate(self._path, self._secret)
        return True


def check_key_is_not_lost(folder: Path) -> None:
    """Where there is no key, there must be nothing that belongs to one.

    Raises:
        ProfileError: the folder is in use.
    """
    others = sorted(each.name for each in folder.iterdir()) if folder.exists() else []
    if CERTIFICATE_FILE in others or any(name.endswith(".db") for name in others):
        raise ProfileError(
            f"{KEY_FILE} is missing from a data folder in use",
            hint="restore it from a backup: with another key, no link to this server would work any more",
        )


def _make_key(folder: Path) -> ServerSecret:
    check_key_is_not_lost(folder)
    secret = ServerSecret.random()
    text = f"{_KEY_HEAD}\n{secret.hex()}\n{secret.public.fingerprint.hex()}\n"
    _write(folder / KEY_FILE, text.encode())
    return secret


def _read_key(path: Path) -> ServerSecret:
    try:
        head, secret_line, fingerprint_line = _read(path).splitlines()
        secret = ServerSecret.parse(secret_line)
        if head != _KEY_HEAD or ServerFingerprint.parse(fingerprint_line) != secret.public.fingerprint:
            raise ValueError
    except ValueError:
        raise _damaged(path) from None
    return secret


def _read_certificate(path: Path, secret: ServerSecret) -> Shown:
    blocks = dict(_BLOCK.findall(_read(path)))
    try:
        statement = ServerStatement.decode(base64.b64decode(blocks[_STATEMENT]))
        certificate = base64.b64decode(blocks["CERTIFICATE"])
        fits = statement.leaf_key == LeafKeyDigest.of(certificate) and statement.is_signed()
        if not fits or statement.server != secret.public:
            raise ValueError
        context = _context(path)
    except (KeyError, ValueError, binascii.Error, ServerUntrusted, ssl.SSLError):
        raise _damaged(path) from None
    digest = CertificateDigest.of(certificate)
    return Shown(context, secret.public.fingerprint, statement, digest)


def _context(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    context.num_tickets = 0  # a connection lasts; and a ticket is a second way in
    context.load_cert_chain(path)
    return context


def _renew(path: Path, secret: ServerSecret, now: int, last_serial: int) -> None:
    """A serial is never used twice, not even where the file with the last one was lost."""
    leaf = LeafCertificate.make(now - 86_400, now + LIFETIME)
    serial = max(last_serial + 1, now)
    statement = ServerStatement.by(secret, LeafKeyDigest.of(leaf.certificate), serial, now, now + LIFETIME)
    block = base64.encodebytes(statement.encode()).decode()
    text = (
        f"-----BEGIN {_STATEMENT}-----\n{block}-----END {_STATEMENT}-----\n"
        f"{ssl.DER_cert_to_PEM_cert(leaf.certificate)}{leaf.secret.decode()}"
    )
    _write(path, text.encode())


def _read(path: Path) -> str:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ProfileError(f"{path} can be read by others", hint=f"chmod 600 {path}")
        return path.read_text("ascii")
    except UnicodeDecodeError:
        raise _damaged(path) from None
    except OSError as error:
        raise ProfileError(
            f"{path} cannot be read: {error.strerror}", hint="check its owner and permissions"
        ) from None


def _damaged(path: Path) -> ProfileError:
    hint = "restore it from a backup"
    if path.name == CERTIFICATE_FILE:
        hint = "restore it from a backup, or move it away: a new one is made, and links go on to work"
    return ProfileError(f"{path} is damaged", hint=hint)


def _write(path: Path, content: bytes) -> None:
    """Durably, and all of it or nothing."""
    draft = path.with_name(f"{path.name}.new")
    try:
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ProfileError(
            f"{path} cannot be written: {error.strerror}", hint="check the data folder and its disk"
        ) from None
