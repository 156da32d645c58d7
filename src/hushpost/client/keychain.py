"""The operating system's keyring, as far as a profile needs it.

Backends are other people's code behind D-Bus and the like: they are absent, locked, or raise whatever they
want. One that accepts a secret and forgets it exists, too: what is put in is read back.
"""

from __future__ import annotations

import base64
import binascii
import contextlib

from hushpost.crypto.primitives import equal

SERVICE = "hushpost"

LEAST_PRIORITY = 1
"""Backends below it are not recommended by the library itself: they write secrets into a readable file, or
drop them."""


class KeychainLocked(Exception):
    """The keyring is there, and does not answer. Its own words are not repeated: they may hold names."""


def name() -> str | None:
    """What the keyring in use is called. None: there is none that is fit for a key."""
    import keyring

    try:
        backend = keyring.get_keyring()
        behind = list(getattr(backend, "backends", [])) or [backend]
        return str(behind[0].name) if behind[0].priority >= LEAST_PRIORITY else None
    except Exception:  # a backend's constructor is as much its own business as all the rest
        return None


def put(entry: str, secret: bytes) -> bool:
    """Keep a secret; whether it can be had again."""
    import keyring

    try:
        keyring.set_password(SERVICE, entry, base64.b64encode(secret).decode())
        found = get(entry)
    except Exception:  # see the module: anything may come
        return False
    return found is not None and equal(found, secret)


def get(entry: str) -> bytes | None:
    """A secret that was put in. None: it is not there.

    Raises:
        KeychainLocked: the keyring does not say.
    """
    import keyring

    try:
        text = keyring.get_password(SERVICE, entry)
    except Exception as error:  # see the module: anything may come
        raise KeychainLocked(type(error).__name__) from error
    try:
        return None if text is None else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None


def remove(entry: str) -> None:
    """Let go of a secret, if it is there and the keyring lets us."""
    import keyring

    with contextlib.suppress(Exception):
        keyring.delete_password(SERVICE, entry)
