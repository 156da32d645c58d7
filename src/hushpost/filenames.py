"""Names of files that strangers choose, made safe to write: on our file system, and on those it is copied to.

Normative text: docs/spec/files.md, section "Names", whose rules are numbered as here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from itertools import count

MAX_BYTES = 255
"""Of UTF-8: what ext4, XFS, Btrfs and ZFS take."""

MAX_SUFFIX_BYTES = 32
"""More than that behind a dot is a sentence, and no suffix."""

FALLBACK = "file"

REPLACED = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
"""Unicode categories: they forge lines, turn the reading direction, or cannot be seen."""

FORBIDDEN = frozenset('<>:"|?*')
"""What Windows cannot store, or takes for a stream of another file."""

JOINERS = "\u200c\u200d"
"""Invisible, but part of how Persian and some emoji are written."""

_DEVICES = re.compile(
    r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9\u00b9\u00b2\u00b3]) *(\.|$)", re.IGNORECASE
)
_SUFFIX = re.compile(r"(\.tar)?\.[^. ]+$", re.IGNORECASE)
_ENDS = " ." + JOINERS


def safe_name(hostile: str, taken: Callable[[str], bool] = lambda _: False) -> str:
    """The name under which a file of a stranger may be stored. A good name stays as it is.

    Args:
        hostile: whatever was told; nothing is expected of it.
        taken: whether there is such a file. That it says no is no promise: create the file so that it fails
            if there is one.

    Returns:
        1 to 255 bytes of UTF-8: one component, not hidden, no option, no device, and harmless to a terminal.
    """
    name = unicodedata.normalize("NFC", hostile)  # 1
    name = re.split(r"[/\\]", name.rstrip("/\\"))[-1]  # 2
    name = "".join(map(_harmless, name))  # 3
    name = name.lstrip(_ENDS + "-").rstrip(_ENDS) or FALLBACK  # 4, 5
    name = _fitted(name)  # 6, before the next: what is cut may leave a device
    if _DEVICES.match(name):  # 7
        name = _fitted(f"_{name}")
    if not taken(name):
        return name
    return next(other for number in count(2) if not taken(other := _fitted(name, f" ({number})")))  # 8


def _harmless(char: str) -> str:
    if char in JOINERS:
        return char
    category = unicodedata.category(char)
    if category == "Zs":
        return " "
    return "_" if category in REPLACED or char in FORBIDDEN else char


def _fitted(name: str, number: str = "") -> str:
    """The name with something before its suffix, and its stem cut so that all of it fits."""
    found = _SUFFIX.search(name)
    suffix = (
        found.group() if found and found.start() and len(found.group().encode()) <= MAX_SUFFIX_BYTES else ""
    )
    room = MAX_BYTES - len((number + suffix).encode())
    stem = name.removesuffix(suffix).encode()
    if len(stem) <= room:
        return stem.decode() + number + suffix
    return stem[:room].decode(errors="ignore").rstrip(_ENDS) + number + suffix
