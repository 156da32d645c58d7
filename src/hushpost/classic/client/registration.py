"""Taking a name, so that neither a full disk nor a lost answer can burn it.

A name is for ever, and it is worth nothing without its private key. So the key is on disk, in `me.new`,
before the server hears of it; `me.info` follows when the server has given an id. Whatever happens in
between, the next `register` of the same name goes on with that key.
"""

from __future__ import annotations

import secrets

from hushpost.classic.client.identity import Identity
from hushpost.classic.client.profile import Profile
from hushpost.classic.client.requests import ClassicClient
from hushpost.classic.crypto import PrivateKey
from hushpost.classic.payloads import NOBODY, ClientId
from hushpost.errors import ProfileError, Refused, Unreachable, UsageError
from hushpost.untrusted import printable

HELPER = "looking-for-a-lost-answer-"
"""How the name begins under which we ask whether a refused name is ours: only who is registered may ask."""


def register(profile: Profile, client: ClassicClient, name: str) -> Identity:
    """Register a key under `name` and write me.info.

    Raises:
        ProfileError: this directory has a me.info already, or has begun to register another name.
        UsageError: a name that me.info could not hold, or that the protocol does not allow.
        Refused: the name is taken, by somebody else.
        Unreachable: it may be registered now; `register` with the same name finds out and goes on.
    """
    if printable(name) != name or name.strip() != name:
        raise UsageError(
            "a name has no spaces around it, and no character that a terminal would show as a code",
            hint="the plain space inside a name is allowed; no other space, and no control character",
        )
    client.check_name(name)
    with profile.locked():
        if profile.registered():
            raise ProfileError(
                "this directory has a me.info: its client is registered already",
                hint="for another client use another directory (--dir)",
            )
        begun = profile.begun()
        if begun is not None and begun.name != name:
            raise ProfileError(
                f"{profile.pending} holds another name, whose registration was begun and may have succeeded",
                hint="register that name (its first line) to finish, or move me.new away to give it up",
            )
        ours = begun or Identity(name, NOBODY, PrivateKey.generate())
        profile.begin(ours)  # again, too: it proves that there is room before anything is asked
        identity = Identity(
            name, _client_id(client, ours, profile, again=begun is not None), ours.private_key
        )
        profile.save_identity(identity)
    return identity


def _client_id(client: ClassicClient, ours: Identity, profile: Profile, *, again: bool) -> ClientId:
    """The id that the server gives, or has given to an earlier attempt whose answer was lost."""
    try:
        return client.register(ours.name, ours.private_key.public_key)
    except Unreachable as error:
        hint = "register the same name here again: if the server has it, this goes on with the same key"
        raise Unreachable(str(error), hint=f"{error.hint}; {hint}" if error.hint else hint) from None
    except Refused:
        found = _look_for(client, ours) if again else None
        if found is None:
            profile.forget_begun()
            raise
        return found


def _look_for(client: ClassicClient, ours: Identity) -> ClientId | None:
    """The id of our name, if it has our key.

    Asking takes an id, which we do not know; so a helper is registered, which stays as all clients do.
    """
    key = ours.private_key.public_key
    helper = client.register(HELPER + secrets.token_hex(8), PrivateKey.generate().public_key)
    for listed in client.list_clients(helper):
        if listed.name == ours.name:
            return listed.client_id if client.public_key(helper, listed.client_id) == key else None
    return None
