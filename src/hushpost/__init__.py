"""Hushpost: a self-hosted post office for end-to-end encrypted messages and files.

The library is `Client`; what it tells of are `Contact`, `Message` and `Event`; what goes wrong is a
`HushpostError`. They are loaded when they are first asked for, so that `hush --help` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hushpost.client.api import Client
    from hushpost.client.values import Contact, Event, Message
    from hushpost.errors import HushpostError

__version__ = "0.2.0"

__all__ = ["Client", "Contact", "Event", "HushpostError", "Message", "__version__"]

_HOMES = {
    "Client": "hushpost.client.api",
    "Contact": "hushpost.client.values",
    "Event": "hushpost.client.values",
    "HushpostError": "hushpost.errors",
    "Message": "hushpost.client.values",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
