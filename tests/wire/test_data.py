"""Messages that carry data: it comes as it was written, and is nowhere kept whole."""

from __future__ import annotations

from hypothesis import strategies as st

PLACES = st.lists(st.integers(0, 9_000), max_size=12)
