"""What an operator may set. Every limit has a name, a reason, and a flag of the same name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from ipaddress import IPv6Address
from pathlib import Path

import msgspec

from hushpost.errors import ProfileError, UsageError

MIB = 1 << 20


class LogFormat(StrEnum):
    """How events are written: for people, or one JSON object a line."""

    CONSOLE = "console"
    JSON = "json"


class ListenLimits(msgspec.Struct, frozen=True):
    """How much strangers on the port may take.

    Attributes:
        max_connections: open at once. Above it, or near the limit of file descriptors, accepting
            pauses; whoever waits is served when another is done.
        per_address: connections of one address. A classic client needs one; a household or an
            office behind one address, some dozens.
        request_deadline: seconds for a whole request of up to 64 KiB, from the connection to the
            last byte of the answer. The slowest modem needs ten.
        min_rate: bytes per second that a larger content must keep up on average, in either
            direction: its size divided by this is added to the deadline. A DSL line sends more.
        stop_deadline: seconds that a stopping server gives to what it has begun.
    """

    max_connections: int = 20_000
    per_address: int = 256
    request_deadline: float = 30.0
    min_rate: int = 64 * 1024
    stop_deadline: float = 10.0


class ClassicSettings(msgspec.Struct, frozen=True):
    """Where the classic server listens and keeps its data.

    Attributes:
        relayed: its clients come through something that ends and acknowledges connections itself.
    """

    host: str
    port: int
    data: Path
    limits: ListenLimits = ListenLimits()
    relayed: bool = False


class Rate(msgspec.Struct, frozen=True):
    """So many in so many seconds: all of them at once, or evenly spread."""

    count: int
    seconds: float


class Rates(msgspec.Struct, frozen=True):
    """How often something may be asked for. Each is counted for what its comment names.

    Attributes:
        connections: per address. Each costs a TLS handshake, before anything is known of who it is.
        entering: hello and authenticate, per address. An office behind one address comes back at once
            when its line does.
        registrations: per address: each costs a hundred signature checks.
        sends: per account. A script that sends one after the other does not meet it.
        introductions: sends without a delivery token, per account: strangers introduce themselves, and
            do not advertise.
        fetches: reading a page of envelopes, per account.
        acknowledgements: per account.
        subscriptions: per account.
        prekeys: fetches that hand out one-time keys, per account and account asked for: nobody needs
            more, and whoever takes more drains them.
        prekeys_of_one: the same, by everybody, of one account: many accounts must not drain it together.
            Beyond it, fallback keys are handed out.
        lookups: fetches of keys, per account: names could be guessed by the thousand.
        listings: pages of the directory, per account.
        publications: publishing keys, per account: each costs up to a hundred signature checks.
        manifests: per account. Devices do not change by the minute.
        questions: usage and leave, per account: they count everything anew.
        files: announcing one, per account. A folder is one.
        parts: putting and getting parts of files, per account: 4 MiB each, so 1.3 GB a second. More would be
            parts of few bytes, each of which costs a sync.
        file_questions: committing, asking for the status, releasing; per account.
    """

    connections: Rate = Rate(2_400, 600)
    entering: Rate = Rate(1_200, 600)
    registrations: Rate = Rate(60, 3_600)
    sends: Rate = Rate(2_000, 40)
    introductions: Rate = Rate(60, 3_600)
    fetches: Rate = Rate(600, 20)
    acknowledgements: Rate = Rate(2_000, 40)
    subscriptions: Rate = Rate(60, 60)
    prekeys: Rate = Rate(6, 600)
    prekeys_of_one: Rate = Rate(60, 600)
    lookups: Rate = Rate(300, 600)
    listings: Rate = Rate(60, 60)
    publications: Rate = Rate(60, 600)
    manifests: Rate = Rate(30, 3_600)
    questions: Rate = Rate(20, 60)
    files: Rate = Rate(600, 600)
    parts: Rate = Rate(20_000, 60)
    file_questions: Rate = Rate(1_200, 60)


class PostLimits(msgspec.Struct, frozen=True):
    """What connections to a version-3 server may take, beside `ListenLimits`.

    Attributes:
        entry_deadline: seconds from the connection to the end of TLS and authentication.
        per_device: open connections of one device: one for talking, some for a command at a time.
        window: bytes that are pushed to one subscription and not acknowledged yet, at most.
        in_hand: bytes of requests and awaited answers of one connection; above it, its next requests
            wait unread.
        in_hand_total: the same of all connections; above it, requests are refused for a second.
    """

    entry_deadline: float = 10.0
    per_device: int = 16
    window: int = 4 * MIB
    in_hand: int = 2 * MIB
    in_hand_total: int = 256 * MIB


class DirectoryPolicy(StrEnum):
    """Whether accounts may be listed. Whoever knows a whole name finds its account in any case."""

    OPEN = "open"
    CLOSED = "closed"


class ServeSettings(msgspec.Struct, frozen=True):
    """A version-3 server.

    Attributes:
        advertise: the address that links carry, if not the one that is listened on.
        classic: where the classic protocol is served, too, from a store of its own.
        metrics: a loopback address for them.
        open: everybody may register, without an invitation.
    """

    host: str
    port: int
    data: Path
    advertise: tuple[str, int] | None = None
    classic: tuple[str, int] | None = None
    metrics: tuple[str, int] | None = None
    open: bool = False
    directory: DirectoryPolicy = DirectoryPolicy.CLOSED
    log_addresses: bool = False
    listen_limits: ListenLimits = ListenLimits()
    limits: PostLimits = PostLimits()
    rates: Rates = Rates()


def parse_rates(texts: Sequence[str]) -> Rates:
    """Read `NAME=COUNT/SECONDS` entries, over the defaults.

    Raises:
        UsageError: an unknown name, or not of this form.
    """
    names = {name.replace("_", "-"): name for name in Rates.__struct_fields__}
    changed: dict[str, Rate] = {}
    for text in texts:
        shape = re.fullmatch(r"([a-z-]+)=([1-9][0-9]{0,8})/([1-9][0-9]{0,6})", text)
        if shape is None or shape[1] not in names:
            raise UsageError(
                f"{text!r} is not a rate",
                hint="write NAME=COUNT/SECONDS, where NAME is one of " + ", ".join(names),
            )
        changed[names[shape[1]]] = Rate(int(shape[2]), int(shape[3]))
    return msgspec.structs.replace(Rates(), **changed)


_LABEL = r"[A-Za-z0-9_-]{1,63}"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_PORT = re.compile(r"[0-9]{1,5}")


def parse_address(text: str) -> tuple[str, int]:
    """Read `HOST:PORT` or `[IPV6]:PORT`. Port 0 lets the system choose.

    Raises:
        UsageError: not of this form, or no host that could exist.
    """
    host, _, port = text.rpartition(":")
    number = parse_port(port)
    if number is None or not (_is_ipv6(host[1:-1]) if host[:1] + host[-1:] == "[]" else _is_host(host)):
        raise UsageError(f"{text!r} is not an address", hint="write HOST:PORT, such as 127.0.0.1:1234")
    return host.removeprefix("[").removesuffix("]"), number


def parse_port(text: str) -> int | None:
    """A port number, 0 included, or None for whatever else it is, however long."""
    number = int(text) if _PORT.fullmatch(text) else None
    return number if number is not None and number <= 65535 else None


def _is_host(text: str) -> bool:
    """An IPv4 address or a name; one in other letters is judged by what the resolver would be asked."""
    try:
        return _HOST.fullmatch(text if text.isascii() else text.encode("idna").decode()) is not None
    except UnicodeError:
        return False


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def read_port_file(path: Path) -> int:
    """The seed's `port.info`: a port number on the first line.

    Raises:
        ProfileError: missing, unreadable, or not a port.
    """
    try:
        first = path.read_text().partition("\n")[0].strip()
    except FileNotFoundError:
        raise ProfileError(
            "no address to listen on",
            hint="give --listen HOST:PORT, or write the port into a file named port.info here",
        ) from None
    except (OSError, UnicodeDecodeError):
        raise ProfileError(f"{path.name} cannot be read", hint="it needs one line: the port") from None
    if not (port := parse_port(first)):
        raise ProfileError(
            f"{path.name} does not begin with a port number", hint="write a number from 1 to 65535 into it"
        )
    return port
