"""What a server keeps, and what is promised about it.

Each numbered guarantee is a test in tests/stores (test_conformance.py, test_post.py), which every
implementation runs. An account, its mailboxes and their envelopes are the same thing to the classic
protocol and to version 3; the two never share a store instance, so that no request of one reaches a row
of the other. `mail` and `blobs` are what both need; `accounts`, `keys` and `post` belong to version 3.
"""

from __future__ import annotations

from hushpost.stores.base.accounts import (
    Accounts,
    Device,
    DeviceList,
    Invitation,
    Invitations,
    NewAccount,
    mailbox_of,
)
from hushpost.stores.base.blobs import Blobs
from hushpost.stores.base.keys import (
    MAX_ONE_TIME_KEYS,
    RETIRED_AFTER,
    RETIRED_KEPT,
    Keys,
    KeyState,
    KeyUpdate,
    RetiredSealKey,
    SealKey,
    SealKeys,
    SessionKey,
)
from hushpost.stores.base.mail import (
    ID_MAX_AGE,
    ID_MAX_AHEAD,
    ID_RECORD_AGE,
    Account,
    Attachment,
    Delivery,
    Directory,
    DirectoryExtent,
    Envelope,
    Extent,
    Mailboxes,
    Send,
    Store,
    StoreLimits,
    Takeover,
    Usage,
)
from hushpost.stores.base.post import (
    REQUESTS_BYTES,
    REQUESTS_COUNT,
    Backups,
    Position,
    PostOffice,
    SealedDelivery,
    SealedPost,
    SealedSend,
    Stats,
    Upkeep,
)

__all__ = [
    "ID_MAX_AGE",
    "ID_MAX_AHEAD",
    "ID_RECORD_AGE",
    "MAX_ONE_TIME_KEYS",
    "REQUESTS_BYTES",
    "REQUESTS_COUNT",
    "RETIRED_AFTER",
    "RETIRED_KEPT",
    "Account",
    "Accounts",
    "Attachment",
    "Backups",
    "Blobs",
    "Delivery",
    "Device",
    "DeviceList",
    "Directory",
    "DirectoryExtent",
    "Envelope",
    "Extent",
    "Invitation",
    "Invitations",
    "KeyState",
    "KeyUpdate",
    "Keys",
    "Mailboxes",
    "NewAccount",
    "Position",
    "PostOffice",
    "RetiredSealKey",
    "SealKey",
    "SealKeys",
    "SealedDelivery",
    "SealedPost",
    "SealedSend",
    "Send",
    "SessionKey",
    "Stats",
    "Store",
    "StoreLimits",
    "Takeover",
    "Upkeep",
    "Usage",
    "mailbox_of",
]
