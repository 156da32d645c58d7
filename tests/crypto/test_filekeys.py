"""Digests bind the size and every part; keys and tokens are printed nowhere."""

from __future__ import annotations

import pytest

from hushpost.crypto.faults import FileFault
from hushpost.crypto.filekeys import FileDigest, FileKey, PartDigest, PartDigests, ReadToken, ReleaseToken
from hushpost.crypto.filelayout import PART, FileLayout
from hushpost.errors import FileError

SIZE = 2 * PART + 5
LAYOUT = FileLayout(SIZE)
PARTS = [PartDigest(bytes([number]) * 32) for number in range(3)]
DIGEST = FileDigest.of(SIZE, PARTS)
RAW = b"".join(PARTS)


def test_a_list_is_read_if_its_digest_is_the_expected_one() -> None:
    assert PartDigests.read(RAW, LAYOUT, DIGEST) == tuple(PARTS)


@pytest.mark.parametrize(
    ("raw", "layout", "digest"),
    [
        (RAW[:-1], LAYOUT, DIGEST),
        (RAW[32:] + RAW[:32], LAYOUT, DIGEST),
        (b"", LAYOUT, DIGEST),
        (RAW, FileLayout(SIZE - 1), DIGEST),
        (RAW, LAYOUT, FileDigest(bytes(32))),
        (RAW[:64], LAYOUT, FileDigest.of(SIZE, PARTS[:2])),
        (RAW + bytes(32), LAYOUT, FileDigest.of(SIZE, [*PARTS, PartDigest(bytes(32))])),
    ],
)
def test_any_other_is_refused(raw: bytes, layout: FileLayout, digest: FileDigest) -> None:
    with pytest.raises(FileError) as caught:
        PartDigests.read(raw, layout, digest)
    assert caught.value.reason is FileFault.FILE_DIGEST


def test_each_part_is_confirmed_in_its_place_only() -> None:
    found = PartDigests.read(RAW, LAYOUT, DIGEST)
    for index, part in enumerate(PARTS):
        found.confirm(index, part)
    for index, part in [(0, PARTS[1]), (3, PARTS[0]), (-1, PARTS[2])]:
        with pytest.raises(FileError) as caught:
            found.confirm(index, part)
        assert caught.value.reason is FileFault.PART_DIGEST


def test_nothing_secret_is_printed() -> None:
    for secret in (FileKey(bytes(32)), ReadToken(bytes(32)), ReleaseToken(bytes(32))):
        assert str(secret) == repr(secret) == f"{type(secret).__name__}(redacted)"
