"""Where the key of a profile's database is kept. A key file beside the database says how, one of three ways:

    "HUSHKEY" 7 | version u8 = 1 | kind u8 | entry 16 | check 16, and behind it, by kind:
    1 keyring       nothing: the key is in the operating system's keyring, under the entry's hexadecimal
    2 passphrase    salt 16 | nonce 12 | the key, sealed 48; by `stretch`, ad: everything before the nonce
    3 file          key 32: as secret as this file, no more

`check` is a digest of the key: so a keyring's or a passphrase's mistake is told from a damaged database. The
file is written once, under another name and renamed. Mode 0600, whatever it holds.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path

from hushpost.client import keychain
from hushpost.client.profiles import ProfileFiles
from hushpost.client.store.opening import StoreKey, beside, only_one
from hushpost.crypto.layout import Reader, u8
from hushpost.crypto.primitives import Label, digest, equal, random_bytes, seal, stretch, unseal
from hushpost.errors import ProfileError, ProfileLocked, Undecryptable, UsageError, WrongPassphrase

VARIABLE = "HUSH_KEY"
MAGIC = b"HUSHKEY"
VERSION = 1
MAX_FILE = 256
"""Bytes: the longest kind has 117."""

MIN_PASSPHRASE = 8
"""Characters of a new one. Argon2id makes guessing slow, and nothing makes up for a word of four letters."""

MAX_PASSPHRASE = 1_024
"""Bytes that are read from a file descriptor: whoever passes the wrong one finds out at once."""

ADVICE = f"set {VARIABLE}=pass:..., {VARIABLE}=fd:N, or {VARIABLE}=file for a key file that nothing protects"


class Kind(Enum):
    """How a key is kept; each value is what the key file calls it."""

    KEYRING = 1
    PASSPHRASE = 2
    FILE = 3


class Asking(Enum):
    """What a passphrase is asked for."""

    NEW = "a passphrase for a new profile"  # the caller asks twice and compares
    EXISTING = "the profile's passphrase"


Ask = Callable[[Asking], str]
"""How the caller asks its user; only it knows whether there is one. Nothing in here prompts."""


@dataclass(frozen=True, slots=True)
class Automatic:
    """The keyring if there is one that works; else a passphrase, if somebody can be asked."""


@dataclass(frozen=True, slots=True)
class InFile:
    """A key file. Only ever on request."""


@dataclass(frozen=True, slots=True)
class ByPassphrase:
    """This passphrase."""

    passphrase: str = field(repr=False)


KeySource = Automatic | InFile | ByPassphrase
"""What the user wants, for a new key; and what an existing one is opened with, where that needs anything."""


def key_source(environ: Mapping[str, str] = os.environ) -> KeySource:
    """Read `HUSH_KEY`: nothing, `file`, `pass:PASSPHRASE`, or `fd:N`, an open file descriptor.

    Raises:
        UsageError: anything else. The text repeats nothing of it.
    """
    wanted = environ.get(VARIABLE, "")
    kind, _, rest = wanted.partition(":")
    if not wanted:
        return Automatic()
    if wanted == "file":
        return InFile()
    if kind == "pass" and rest:
        return ByPassphrase(rest)
    if wanted == "pass:":
        raise UsageError(f"the passphrase in {VARIABLE} is empty", hint=ADVICE)
    if kind == "fd" and rest.isascii() and rest.isdecimal():
        return ByPassphrase(_from_descriptor(int(rest)))
    raise UsageError(f"{VARIABLE} is neither file, nor pass:..., nor fd:N", hint=ADVICE)


def check_passphrase(passphrase: str) -> str:
    """Accept what a new profile may be locked with. Raises UsageError: too short."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise UsageError(f"a passphrase has at least {MIN_PASSPHRASE} characters")
    return passphrase


@cache  # it can be read once only, and a process may open its profile twice
def _from_descriptor(descriptor: int) -> str:
    try:
        with os.fdopen(os.dup(descriptor), "rb") as file:
            line = file.read(MAX_PASSPHRASE + 2).partition(b"\n")[0].removesuffix(b"\r")
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"{VARIABLE} names a file descriptor that is not open for reading",
            hint=f"open it in the same command: {VARIABLE}=fd:3 hush ... 3< FILE",
        ) from error
    if not 0 < len(line) <= MAX_PASSPHRASE:
        raise UsageError(f"the file descriptor of {VARIABLE} gives no passphrase")
    return line.decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class _KeyFile:
    """What the key file says. `rest` is what its kind has behind the common part."""

    kind: Kind
    entry: bytes
    check: bytes
    rest: bytes = field(repr=False)

    def head(self) -> bytes:
        return MAGIC + u8(VERSION) + u8(self.kind.value) + self.entry + self.check

    @classmethod
    def decode(cls, raw: bytes) -> _KeyFile:
        """Raises ValueError: it is none of ours, or damaged."""
        reader = Reader(raw)
        if reader.take(len(MAGIC)) != MAGIC:
            raise ValueError("not a key file")
        reader.constant(VERSION)
        found = cls(Kind(reader.u8()), reader.take(16), reader.take(16), reader.rest())
        if len(found.rest) != _REST_SIZES[found.kind]:
            raise ValueError("a key file of another size")
        return found


_REST_SIZES = {Kind.KEYRING: 0, Kind.PASSPHRASE: 16 + 12 + 48, Kind.FILE: 32}


class Vault:
    """The key of one profile.

    Args:
        ask: how to ask for a passphrase; None: nobody can be asked.
    """

    def __init__(self, files: ProfileFiles, source: KeySource, ask: Ask | None = None) -> None:
        self._files = files
        self._source = source
        self._ask = ask

    def create(self) -> StoreKey:
        """A new key, kept from now on; or, if there is one already, that one.

        Blocks for a tenth of a second where a passphrase is involved.

        Raises:
            ProfileLocked: it can be kept nowhere; `hint` says what to set.
            UsageError: the passphrase is too short.
            ProfileError, WrongPassphrase: as `open`.
        """
        self._files.make_folder()
        with only_one(beside(self._files.key, ".lock"), self._files.key):
            if not self._files.exist:
                self._make()
        return self.open()

    def open(self) -> StoreKey:
        """The key of a profile that exists.

        Raises:
            ProfileError: there is no profile, or its key file is missing, damaged, or readable for others.
            ProfileLocked: the keyring does not give it out, or a passphrase is needed and nobody knows one.
            WrongPassphrase.
        """
        found = self._read()
        key = self._key(found)
        if not equal(_check(key), found.check):
            raise ProfileLocked("the key that was found is not this profile's", hint=_hint_of(found.kind))
        return key

    def asks(self) -> Asking | None:
        """What `create` and `open` will ask for, so that it can be asked before anything waits for it.

        Raises:
            ProfileError: as `open`.
        """
        if not self._files.key.exists():
            has_keyring = keychain.name() is not None
            return Asking.NEW if isinstance(self._source, Automatic) and not has_keyring else None
        is_asked = self._read().kind is Kind.PASSPHRASE and not isinstance(self._source, ByPassphrase)
        return Asking.EXISTING if is_asked else None

    def describe(self) -> str:
        """How the key is kept, as a sentence for `hush doctor`. Raises ProfileError as `open`."""
        match self._read().kind:
            case Kind.KEYRING:
                return f"in the keyring ({keychain.name() or 'which is not there now'})"
            case Kind.PASSPHRASE:
                return "behind a passphrase (Argon2id)"
            case Kind.FILE:
                return f"in {self._files.key}, protected by nothing but its mode 0600"

    def destroy(self) -> None:
        """Let go of the key for ever: nobody can open the database any more, nor copies of it."""
        found = self._read()
        if found.kind is Kind.KEYRING:
            keychain.remove(found.entry.hex())
        self._files.key.unlink(missing_ok=True)

    # --- making one

    def _make(self) -> None:
        key, entry = StoreKey.random(), random_bytes(16)
        kind = self._choose(entry, key)
        if kind is Kind.KEYRING:
            self._write(_KeyFile(kind, entry, _check(key), b""))
        elif kind is Kind.FILE:
            self._write(_KeyFile(kind, entry, _check(key), bytes(key)))
        else:
            passphrase = self._passphrase(Asking.NEW)
            check_passphrase(passphrase)
            draft = _KeyFile(kind, entry, _check(key), b"")
            salt, nonce = random_bytes(16), random_bytes(12)
            sealed = seal(stretch(_bytes(passphrase), salt), nonce, key, draft.head() + salt)
            self._write(_KeyFile(kind, entry, _check(key), salt + nonce + sealed))

    def _choose(self, entry: bytes, key: StoreKey) -> Kind:
        match self._source:
            case InFile():
                return Kind.FILE
            case ByPassphrase():
                return Kind.PASSPHRASE
            case Automatic():
                if keychain.name() is not None and keychain.put(entry.hex(), key):
                    return Kind.KEYRING
                if self._ask is not None:
                    return Kind.PASSPHRASE
                raise ProfileLocked(
                    "there is no keyring to keep the profile's key in, and nobody to ask for a passphrase",
                    hint=ADVICE,
                )

    def _write(self, file: _KeyFile) -> None:
        path, draft = self._files.key, beside(self._files.key, ".new")
        try:
            draft.unlink(missing_ok=True)
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as out:
                out.write(file.head() + file.rest)
                out.flush()
                os.fsync(handle)
            draft.rename(path)
            _sync_folder(path.parent)
        except OSError as error:
            raise ProfileError(
                f"{path} cannot be written: {os.strerror(error.errno or 0)}",
                hint="check the folder and its disk",
            ) from error

    # --- opening one

    def _read(self) -> _KeyFile:
        path = self._files.key
        try:
            with path.open("rb") as file:
                others = os.fstat(file.fileno()).st_mode & 0o077
                raw = file.read(MAX_FILE)
        except FileNotFoundError:
            raise self._missing() from None
        except OSError as error:
            raise ProfileError(
                f"{path} cannot be read: {os.strerror(error.errno or 0)}", hint="check its permissions"
            ) from error
        if others:
            raise ProfileError(f"{path} is open to other users of this machine", hint=f"chmod 600 {path}")
        try:
            return _KeyFile.decode(raw)
        except ValueError as error:
            raise ProfileError(
                f"{path} is damaged, or written by a newer Hushpost", hint="put a copy of it back"
            ) from error

    def _missing(self) -> ProfileError:
        if self._files.database.exists():
            return ProfileError(
                f"{self._files.key} is missing, and without it the database does not open",
                hint="put it back beside the database",
            )
        return ProfileError(f"there is no profile in {self._files.folder}", hint="run 'hush join LINK' first")

    def _key(self, file: _KeyFile) -> StoreKey:
        if file.kind is Kind.FILE:
            return StoreKey(file.rest)
        if file.kind is Kind.KEYRING:
            try:
                found = keychain.get(file.entry.hex())
            except keychain.KeychainLocked as error:
                raise ProfileLocked(
                    "the keyring does not give out the profile's key", hint=_hint_of(file.kind)
                ) from error
            if found is None or len(found) != StoreKey.SIZE:
                raise ProfileLocked("the profile's key is not in the keyring", hint=_hint_of(file.kind))
            return StoreKey(found)
        reader = Reader(file.rest)
        salt, nonce, sealed = reader.take(16), reader.take(12), reader.rest()
        wrapping = stretch(_bytes(self._passphrase(Asking.EXISTING)), salt)
        try:
            return StoreKey(unseal(wrapping, nonce, sealed, file.head() + salt))
        except Undecryptable:
            raise WrongPassphrase("this is not the profile's passphrase", hint="try again") from None

    def _passphrase(self, asking: Asking) -> str:
        if isinstance(self._source, ByPassphrase):
            return self._source.passphrase
        if self._ask is None:
            raise ProfileLocked(
                "the profile's key is behind a passphrase, and nobody can be asked for it",
                hint=f"set {VARIABLE}=pass:... or {VARIABLE}=fd:N",
            )
        return self._ask(asking)


def _check(key: StoreKey) -> bytes:
    """Tells keys apart, and tells nothing about one: it has 256 random bits."""
    return digest(Label.VAULT, key)[:16]


def _bytes(passphrase: str) -> bytes:
    """The same characters give the same bytes, on whichever keyboard."""
    return unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape")


def _hint_of(kind: Kind) -> str:
    return "unlock the keyring" if kind is Kind.KEYRING else "put the profile's own key file back"


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
