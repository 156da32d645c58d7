"""Links: what one person pastes and another's device then knows for certain.

    hush://HOST:PORT/join#SERVER.TOKEN.INVITER     an invitation; INVITER is left out by a server's own
    hush://HOST:PORT/join#SERVER.open.INVITER      the same, to a server that lets everybody in
    hush://HOST:PORT/u/NAME#SERVER.ACCOUNT         a contact, verified from the start

What must not be guessed or changed stands behind the `#`. Normative text: docs/spec/keys.md, section "Links".
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, TypeVar
from urllib.parse import quote, unquote

from hushpost.crypto.identity.keys import AccountFingerprint, Fingerprint
from hushpost.crypto.primitives import Secret
from hushpost.errors import LinkError
from hushpost.ids import FixedBytes
from hushpost.names import check_name

MAX_LINK = 1_280
"""Characters: a host of 253, a name of 254 bytes each written %XX, and two fingerprints fit."""

_SHAPE = re.compile(r"hush://(\[[0-9a-f:.]+\]|[a-z0-9._-]+):([1-9][0-9]{0,4})/(join|u/[^/#]+)#([a-z2-7.]+)")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


class ServerFingerprint(Fingerprint):
    """A server, for as long as it keeps its identity key."""

    __slots__ = ()


class InviteToken(Secret):
    """The right to register once, or as often as the server says. The server keeps a hash of it."""

    __slots__ = ()
    SIZE: ClassVar[int] = 16


class Uninvited(Enum):
    """Written in a token's place: the server lets everybody register.

    A word, and not a place left empty: an invitation that lost its end must not pass for an open one.
    """

    OPEN = "open"


class Authority(Enum):
    """Written in a fingerprint's place: the server is known by its name and a certificate authority."""

    CA = "ca"


ServerPin = ServerFingerprint | Authority
"""How a server is recognised."""

Right = InviteToken | Uninvited
"""Why a server should let somebody register."""


@dataclass(frozen=True, slots=True)
class JoinLink:
    """An invitation. `inviter` is None where the server's operator gave it out."""

    host: str
    port: int
    server: ServerPin
    token: Right
    inviter: AccountFingerprint | None = None

    def __str__(self) -> str:
        parts = [_pin(self.server), _right(self.token)]
        if self.inviter is not None:
            parts.append(_base32(self.inviter))
        return f"hush://{_authority(self.host, self.port)}/join#{'.'.join(parts)}"


@dataclass(frozen=True, slots=True)
class ContactLink:
    """A person's account."""

    host: str
    port: int
    server: ServerPin
    account: AccountFingerprint
    name: str = field(repr=False)

    def __str__(self) -> str:
        secret = f"{_pin(self.server)}.{_base32(self.account)}"
        return f"hush://{_authority(self.host, self.port)}/u/{quote(self.name, safe='')}#{secret}"


def parse_link(text: str) -> JoinLink | ContactLink:
    """Read a pasted link. White space around it is dropped; host and fingerprints may be in either case.

    Raises:
        LinkError: anything but a link in its one spelling; the text repeats nothing of it.
    """
    text = text.strip()
    if len(text) > MAX_LINK:
        raise LinkError("this link is too long to be one")
    before, mark, behind = text.partition("#")
    authority, slash, path = before.removeprefix("hush://").partition("/")
    canonical = f"hush://{authority.lower()}{slash}{path}{mark}{behind.lower()}"
    if not text.startswith("hush://") or not (shape := _SHAPE.fullmatch(canonical)):
        raise _broken("it does not look like hush://HOST:PORT/join#... or hush://HOST:PORT/u/NAME#...")
    host, port, path, secrets = shape.groups()
    try:
        link = _parse(_checked_host(host), _checked_port(port), path, secrets.split("."))
    except binascii.Error:  # before ValueError, which it is
        raise _broken("behind the # a letter is missing or wrong: copy it once more") from None
    except ValueError as error:
        raise _broken(str(error)) from None
    if (
        str(link) != canonical
    ):  # %41 for A, or bits behind the end of a fingerprint: two spellings of one link
        raise _broken("it is not spelt as links are")
    return link


def _parse(host: str, port: int, path: str, secrets: list[str]) -> JoinLink | ContactLink:
    server = Authority.CA if secrets[0] == "ca" else _debase32(ServerFingerprint, secrets[0])
    if path == "join":
        if len(secrets) not in {2, 3}:
            raise ValueError("an invitation has two or three parts behind the #")
        inviter = _debase32(AccountFingerprint, secrets[2]) if len(secrets) == 3 else None
        token = Uninvited.OPEN if secrets[1] == "open" else _debase32(InviteToken, secrets[1])
        return JoinLink(host, port, server, token, inviter)
    if len(secrets) != 2:
        raise ValueError("a contact has two parts behind the #")
    name = unquote(path.removeprefix("u/"), errors="strict")
    check_name(name)
    return ContactLink(host, port, server, _debase32(AccountFingerprint, secrets[1]), name)


def _checked_host(host: str) -> str:
    """Without the brackets. Raises ValueError: neither an address nor a DNS name."""
    if host.startswith("["):
        return str(ipaddress.IPv6Address(host[1:-1]))
    if re.fullmatch(r"[0-9.]+", host):
        return str(ipaddress.IPv4Address(host))
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise ValueError("the host is no name or address")
    return host


def _checked_port(port: str) -> int:
    if int(port) > 65_535:
        raise ValueError("a port is at most 65535")
    return int(port)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _pin(server: ServerPin) -> str:
    return server.value if isinstance(server, Authority) else _base32(server)


def _right(token: Right) -> str:
    return token.value if isinstance(token, Uninvited) else _base32(token)


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()


_Kind = TypeVar("_Kind", bound=FixedBytes)


def _debase32(kind: type[_Kind], text: str) -> _Kind:
    padding = "=" * (-len(text) % 8)
    return kind(base64.b32decode(text.upper() + padding))


def _broken(why: str) -> LinkError:
    return LinkError("this is not a whole hush:// link", hint=why)
