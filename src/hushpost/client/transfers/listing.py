"""Transfers as the library shows them."""

from __future__ import annotations

import msgspec

from hushpost.client.store import Offered, SourceKind, Upload
from hushpost.client.values import Direction, Transfer, TransferState
from hushpost.crypto.filelayout import PART


def sent(upload: Upload, parts: int) -> Transfer:
    """One of ours."""
    size = upload.attempt.size
    whole = size if size is not None else parts * PART
    return Transfer(
        upload.message,
        upload.contact,
        Direction.SENT,
        upload.name,
        size,
        upload.kind is SourceKind.FOLDER,
        upload.state,
        whole if upload.state is TransferState.DONE else min(parts * PART, whole),
        "" if upload.kind is SourceKind.PIPE else str(upload.source),
        upload.why,
        upload.made_at,
    )


def received(download: Offered, parts: int) -> Transfer:
    """One of theirs."""
    is_done = download.state is TransferState.DONE
    return Transfer(
        download.message,
        download.contact,
        Direction.RECEIVED,
        download.name,
        download.size,
        download.is_folder,
        download.state,
        download.size if is_done else min(parts * PART, download.size),
        download.final if is_done else download.target,
        download.why,
        download.made_at,
    )


def running(transfer: Transfer) -> Transfer:
    """Carried by a process at this moment."""
    return msgspec.structs.replace(transfer, state=TransferState.RUNNING)
