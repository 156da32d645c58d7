"""What an operator may set. Every limit has a name, a reason, and a flag of the same name."""

from __future__ import annotations

from enum import StrEnum
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
    """Where the classic server listens and keeps its data."""

    host: str
    port: int
    data: Path
    limits: ListenLimits = ListenLimits()


def parse_address(text: str) -> tuple[str, int]:
    """Read `HOST:PORT` or `[IPV6]:PORT`. Port 0 lets the system choose.

    Raises:
        UsageError: not of this form.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise UsageError(f"{text!r} is not an address", hint="write HOST:PORT, such as 127.0.0.1:1234")
    return host, int(port)


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
    if not (first.isascii() and first.isdigit() and 0 < int(first) <= 65535):
        raise ProfileError(
            f"{path.name} does not begin with a port number", hint="write a number from 1 to 65535 into it"
        )
    return int(first)
