"""A store with a known key, and the people in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hushpost.client.store import Store, StoreKey

KEY = StoreKey(bytes(range(32)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "profile.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path, KEY) as opened:
        yield opened
