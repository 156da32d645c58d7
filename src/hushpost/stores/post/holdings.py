"""What the store holds about an account, as its owner may read it."""

from __future__ import annotations

import msgspec

from hushpost.ids import AccountId


class Holdings(msgspec.Struct, frozen=True):
    """Everything, counted. Whoever adds a table or a column adds a fact here."""

    account: AccountId
    name: str
    manifests: int
    manifest_bytes: int
    listed: int
    removed: int
    envelopes: int
    envelope_bytes: int
    requests: int
    request_bytes: int
    one_time_keys: int
    fallback_keys: int
    seal_keys: int
    retired_seal_keys: int
    blob_days: int
    blob_bytes: int

    def facts(self) -> dict[str, str]:
        """`Upkeep.account_usage`."""
        return {
            "account-id": str(self.account),
            "name": self.name,
            "manifests": f"{self.manifests}, {self.manifest_bytes} bytes",
            "devices": f"{self.listed}, and {self.removed} that were removed",
            "delivery-token": "a digest of it",
            "waiting-envelopes": f"{self.envelopes}, {self.envelope_bytes} bytes",
            "waiting-requests": f"{self.requests} of them, {self.request_bytes} bytes",
            "one-time-keys": str(self.one_time_keys),
            "fallback-keys": str(self.fallback_keys),
            "seal-keys": str(self.seal_keys),
            "retired-seal-keys": f"{self.retired_seal_keys}: number, time of retirement, last sequence",
            "files-put": f"{self.blob_bytes} bytes, in a sum for each of {self.blob_days} days of expiry",
            "positions": "per device: the highest sequences stored and acknowledged, the highest key numbers,"
            " the last manifest that listed it",
            "send-records": "for 31 days per envelope received: its id, its sequence, a digest of its body",
        }
