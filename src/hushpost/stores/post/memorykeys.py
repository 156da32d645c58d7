"""A device with its keys, of the reference implementation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hushpost.ids import AccountId, DeviceId
from hushpost.stores import rules
from hushpost.stores.base import (
    RETIRED_AFTER,
    RETIRED_KEPT,
    KeyState,
    RetiredSealKey,
    SealKey,
    SessionKey,
)


@dataclass(slots=True)
class MemoryDevice:
    """What it has published.

    Attributes:
        last_version: of the last manifest that listed it; 0: it is listed.
    """

    account: AccountId
    last_version: int = 0
    seal_key: SealKey | None = None
    fallback_key: bytes | None = None
    one_time_keys: list[SessionKey] = field(default_factory=list)
    last_one_time_id: int = -1
    retired: list[tuple[float, RetiredSealKey]] = field(default_factory=list)

    @property
    def listed(self) -> bool:
        """It is in its account's newest manifest."""
        return not self.last_version

    def add_keys(self, keys: Sequence[SessionKey]) -> None:
        """One-time keys that were never taken in."""
        self.one_time_keys += keys
        self.last_one_time_id = max([self.last_one_time_id, *(key.id for key in keys)])

    def rotate(self, device: DeviceId, key: SealKey, highest: int, now: float) -> None:
        """Put this seal key in the place of the present one, which was used up to this sequence."""
        if not rules.is_newer_seal(self.seal_key, key, device):
            return
        if self.seal_key is not None:
            self.retired.append((now, RetiredSealKey(self.seal_key.id, highest)))
            del self.retired[:-RETIRED_KEPT]
        self.seal_key = key

    def key_state(self, now: float) -> KeyState:
        """`Keys.key_state`."""
        due = now - RETIRED_AFTER
        retired = tuple([key for since, key in self.retired if since <= due])
        return KeyState(len(self.one_time_keys), retired)
