"""me.info: the original's files read and written to the byte, its variants read, all else refused."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.classic.client.identity import Identity

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors/classic.json").read_text())
ALICE: str = VECTORS["me_info"]["alice"]
NAME, ID, KEY = ALICE.splitlines()
DER = bytes.fromhex(VECTORS["private_key_pkcs8_der_hex"]["alice"])


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_the_originals_files_read_and_write_the_same(who: str) -> None:
    raw = VECTORS["me_info"][who].encode()
    identity = Identity.decode(raw)
    assert (identity.name, identity.client_id.hex()) == (who, VECTORS["client_ids"][who])
    assert identity.private_key.public_key.hex() == VECTORS["public_key_spki_der_hex"][who]
    assert identity.encode() == raw


@pytest.mark.parametrize(
    "variant",
    [
        ALICE.rstrip("\n"),
        ALICE.replace("\n", "\r\n"),
        ALICE + "\n\r\n",
        f"{NAME}\n{ID.lower()}\n{KEY}\n",
        f"{NAME}\n{ID}\n{base64.b64encode(DER).decode()}\n",
    ],
    ids=["no last newline", "CRLF", "blank lines", "lower case", "unpadded key"],
)
def test_the_variants_that_the_original_reads(variant: str) -> None:
    identity = Identity.decode(variant.encode())
    assert identity.encode().decode() == ALICE


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "1 lines"),
        (b"alice\n", "1 lines"),
        (ALICE.encode() + b"x\n", "4 lines"),
        (f"\n{ID}\n{KEY}\n".encode(), "the name"),
        (f"{NAME}\n{ID[:-1]}\n{KEY}\n".encode(), "32 hexadecimal"),
        (f"{NAME}\n{ID}00\n{KEY}\n".encode(), "32 hexadecimal"),
        (f"{NAME}\n{'g' * 32}\n{KEY}\n".encode(), "32 hexadecimal"),
        (f"{NAME}\n{ID}\n{KEY[:400]}\n".encode(), "private key"),
        (f"{NAME}\n{ID}\n!{KEY}\n".encode(), "private key"),
        (f"{NAME}\n{ID}\n{base64.b64encode(bytes(1000)).decode()}\n".encode(), "private key"),
        (f"{NAME}\n{ID}\n{base64.b64encode(DER[:-1]).decode()}\n".encode(), "private key"),
        (b"\xff" + ALICE.encode(), "UTF-8"),
    ],
)
def test_bad_files_are_refused_with_the_line_named(raw: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Identity.decode(raw)


@given(st.binary(max_size=2000))
def test_no_file_raises_anything_else(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"it has|its|UTF-8"):
        Identity.decode(raw)
