"""The town that the client's tests play in."""

from __future__ import annotations

from tests.client.people import town

__all__ = ["town"]
