"""What docs/spec/files.md promises of every name of a file, said in other words than the code's."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
DEVICES |= {port + digit for port in ("COM", "LPT") for digit in "0123456789\u00b9\u00b2\u00b3"}


def check_name(name: str) -> None:
    assert 1 <= len(name.encode()) <= 255
    assert PurePosixPath(name).name == name == PureWindowsPath(name).name, "it leads somewhere"
    assert not PureWindowsPath(name).drive
    assert name not in {".", ".."}
    assert name[0] not in ".- ", "it is hidden, or an option"
    assert name[-1] not in ". ", "Windows makes another name of it"
    assert name.partition(".")[0].rstrip(" ").upper() not in DEVICES, "it is a device"
    assert not set(name) & set('<>:"/\\|?*\0'), "it cannot be stored everywhere"
    odd = [char for char in name if not char.isprintable() and unicodedata.category(char) != "Cn"]
    assert set(odd) <= set("\u200c\u200d"), "it acts on a terminal"
    assert unicodedata.is_normalized("NFC", name)
