"""What the small server keeps of files, in memory, and gives out as a test likes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from blake3 import blake3

from hushpost.crypto.primitives import sha256
from hushpost.errors import BlobConflict, BlobIncomplete, UnknownBlob
from hushpost.wire.limits import PART_SIZE
from hushpost.wire.messages import (
    BlobCommitted,
    BlobCreated,
    BlobReleased,
    BlobStatus,
    CommitBlob,
    CreateBlob,
    GetBlobStatus,
    GetPart,
    PartContent,
    PartPut,
    PutPart,
    ReleaseBlob,
    RequestMessage,
    ResponseMessage,
)

BLOB_REQUESTS = CreateBlob | PutPart | CommitBlob | GetBlobStatus | GetPart | ReleaseBlob

Answer = tuple[ResponseMessage, bytes]
"""And the data behind it."""


@dataclass
class Blob:
    """One of them."""

    size: int
    read_hash: bytes
    releases: set[bytes]
    parts: dict[int, bytes] = field(default_factory=dict)
    committed: bool = False

    @property
    def count(self) -> int:
        return -(-self.size // PART_SIZE)


@dataclass
class Depot:
    """Honest, but for its twists.

    Attributes:
        twist_part: what is given out for a part: blob, number, bytes.
        put: numbers of the parts that came, in their order.
        got: those that were given out.
    """

    blobs: dict[bytes, Blob] = field(default_factory=dict)
    twist_part: Callable[[Blob, int, bytes], bytes] = lambda _blob, _number, data: data
    put: list[int] = field(default_factory=list)
    got: list[int] = field(default_factory=list)

    def answer(self, request: RequestMessage, data: bytes) -> Answer:
        """Raises UnknownBlob, BlobConflict, BlobIncomplete."""
        number = request.number
        match request:
            case CreateBlob():
                new = Blob(request.size, request.read_hash, set(request.release_hashes))
                self.blobs.setdefault(request.blob, new)
                return BlobCreated(number), b""
            case PutPart():
                self.put.append(request.index)
                blob = self.find(request.blob)
                if blob.parts.setdefault(request.index, data) != data:
                    raise BlobConflict("another")
                return PartPut(number), b""
            case CommitBlob():
                blob = self.find(request.blob)
                if sum(map(len, blob.parts.values())) != request.size:
                    raise BlobIncomplete("not all")
                blob.committed = True
                return BlobCommitted(number), b""
            case GetBlobStatus():
                return self.status(request), b""
            case GetPart():
                blob = self.find(request.blob, request.read_token)
                self.got.append(request.index)
                part = self.twist_part(blob, request.index, blob.parts[request.index])
                return PartContent(number, len(part), blake3(part).digest()), part[request.offset :]
            case ReleaseBlob():
                blob = self.find(request.blob)
                blob.releases -= {sha256(token) for token in request.release_tokens}
                if not blob.releases:
                    del self.blobs[request.blob]
                return BlobReleased(number, len(blob.releases)), b""
            case _:
                raise TypeError(f"no request of blobs: {request}")

    def find(self, name: bytes, token: bytes | None = None) -> Blob:
        blob = self.blobs.get(name)
        if blob is None or (token is not None and sha256(token) != blob.read_hash):
            raise UnknownBlob("none")
        return blob

    def status(self, request: GetBlobStatus) -> BlobStatus:
        blob = self.find(request.blob, request.read_token)
        numbers = range(request.first, min(request.first + request.limit, blob.count))
        digests = [blake3(blob.parts[each]).digest() if each in blob.parts else b"" for each in numbers]
        return BlobStatus(request.number, blob.size, blob.count, len(blob.parts), blob.committed, digests)
