"""The towns that the client's tests play in."""

from __future__ import annotations

from tests.client.people import town
from tests.client.realserver import real_town

__all__ = ["real_town", "town"]
