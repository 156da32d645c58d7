"""The recorded files, read from the vectors: what was released, and which check ended it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hushpost.crypto.content import Content
from hushpost.crypto.faults import FileFault
from hushpost.crypto.filekeys import FileDigest, FileKey
from hushpost.crypto.filelayout import FileLayout
from hushpost.crypto.primitives import sha256
from hushpost.ids import BlobId
from tests.crypto.files import Cutter, Reader, Stored, digests, nonce, part_key, whole
from tests.vectors import make_v3

FILES: Any = json.loads((make_v3.HERE / "v3-files.json").read_text())
un = bytes.fromhex


def ragged(data: memoryview) -> Any:
    return (data[begin : begin + 50_001] for begin in range(0, len(data), 50_001))


@pytest.mark.parametrize("cutter", [whole, ragged])
@pytest.mark.parametrize("case", FILES["cases"], ids=lambda case: case["case"])
def test_files(case: Any, cutter: Cutter) -> None:
    parts = Stored.of(case["size"], case["edits"]).parts
    assert sha256(b"".join(parts)).hex() == case["received"]
    told = None if case["told"] is None else un(case["told"])
    key, blob = FileKey(un(case["file_key"])), BlobId(un(case["blob"]))
    got = Reader(case["offered_size"], FileDigest(un(case["file_digest"])), told, key, blob).read(
        parts, cutter
    )
    assert (got.fault, got.at) == (case["fails_at"], case["in_part"])
    assert (got.released, got.hash) == (case["released_size"], case["released"])


@pytest.mark.parametrize("case", FILES["layouts"], ids=lambda case: str(case["size"]))
def test_layouts(case: Any) -> None:
    layout = FileLayout(case["size"])
    assert (layout.padded_size, layout.count, layout.sealed_size) == (
        case["padded"],
        case["parts"],
        case["sealed"],
    )
    assert layout.part(layout.count - 1).chunks == case["chunks_of_the_last"]


@pytest.mark.parametrize("case", FILES["sealed"], ids=lambda case: str(case["size"]))
def test_sealed_files(case: Any) -> None:
    assert [each.hex() for each in digests(case["size"])] == case["part_digests"]
    assert FileDigest.of(case["size"], digests(case["size"])).hex() == case["file_digest"]


def test_part_keys() -> None:
    for case in FILES["part_keys"]:
        assert (nonce(case["part"]).hex(), part_key(case["part"]).hex()) == (case["nonce"], case["key"])


@pytest.mark.parametrize("case", FILES["offers"], ids=lambda case: case["case"])
def test_offers(case: Any) -> None:
    if case["fails_at"] is None:
        assert Content.decode(un(case["content"])).encode() == un(case["content"])
        return
    with pytest.raises(ValueError, match=r"."):
        Content.decode(un(case["content"]))


def test_every_way_to_refuse_a_file_has_a_vector() -> None:
    assert {case["fails_at"] for case in FILES["cases"]} - {None} == set(FileFault.__members__)
