"""Keyrings as they are found in the world: one that works, and all the ways not to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keyring
from keyring.backend import KeyringBackend
from keyring.backends import fail, null
from keyring.errors import KeyringLocked

__all__ = ["Forgetful", "InMemory", "Locked", "NoBackend", "Null", "Plaintext", "Raising", "using"]


class InMemory(KeyringBackend):
    """A keyring that works, for as long as the process lives."""

    priority = 5.0
    viable = False  # the library would choose it by itself, in other tests, too

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


class Plaintext(InMemory):
    """Writes secrets where anybody can read them; the library does not recommend it."""

    priority = 0.5


class Forgetful(InMemory):
    """Says yes, and keeps nothing."""

    def set_password(self, service: str, username: str, password: str) -> None:
        pass


class Locked(InMemory):
    """Somebody would have to unlock it first."""

    def get_password(self, service: str, username: str) -> str | None:
        raise KeyringLocked("locked")


class Raising(InMemory):
    """Raises what no interface promises, as backends behind a broken D-Bus do."""

    def get_password(self, service: str, username: str) -> str | None:
        raise RuntimeError("no bus")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise RuntimeError("no bus")


NoBackend: type[KeyringBackend] = fail.Keyring
Null: type[KeyringBackend] = null.Keyring


@contextmanager
def using(backend: KeyringBackend) -> Iterator[KeyringBackend]:
    """The keyring of this process is this one."""
    before = keyring.get_keyring()
    keyring.set_keyring(backend)
    try:
        yield backend
    finally:
        keyring.set_keyring(before)
