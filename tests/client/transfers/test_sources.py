"""What can be sent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hushpost.client.store import SourceKind
from hushpost.client.transfers.sources import kind_of
from hushpost.errors import UsageError


def test_what_is_not_readable_is_said_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs the tests may be allowed to read everything, so the system is made to say no."""
    path = tmp_path / "secret"
    path.touch()
    assert kind_of(path) is SourceKind.FILE
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError, match="secret cannot be sent: Permission denied"):
        kind_of(path)
