"""The address that links carry, kept in the data folder for commands while the server does not run."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from hushpost.errors import ProfileError
from hushpost.settings import parse_port

ADDRESS_FILE = "address"

Address = tuple[str, int]

log = structlog.get_logger()


def read_address(data: Path) -> Address:
    """What links carry.

    Raises:
        ProfileError: the server has not run yet, or the file is damaged.
    """
    try:
        host, port = (data / ADDRESS_FILE).read_text("ascii").splitlines()
        if not host or not (number := parse_port(port)):
            raise ValueError
    except FileNotFoundError:
        raise ProfileError(
            "the address that links shall carry is not known", hint="start the server once"
        ) from None
    except (OSError, ValueError):
        raise ProfileError(
            f"{data / ADDRESS_FILE} cannot be read or is damaged", hint="start the server: it is written anew"
        ) from None
    return host, number


def remember_address(data: Path, address: Address) -> None:
    """Keep it. Links live long: that new ones carry another address than those before is said in the log.

    Raises:
        ProfileError: it cannot be written.
    """
    path = data / ADDRESS_FILE
    if path.exists():
        _compare(data, address)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, 0o600)
            file.write(f"{address[0]}\n{address[1]}\n")
    except OSError as error:
        raise ProfileError(f"{path} cannot be written: {error.strerror}", hint="check its owner") from None


def _compare(data: Path, address: Address) -> None:
    try:
        before = read_address(data)
    except ProfileError as error:
        log.warning("what links carried is not known any more", why=str(error))
        return
    if before != address:
        log.warning("links carry another address now", before=before, now=address, see="--advertise")
