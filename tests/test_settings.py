"""Addresses and port.info: what is read, and what is refused with a way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from hushpost.errors import ProfileError, UsageError
from hushpost.settings import parse_address, read_port_file


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:1234", ("127.0.0.1", 1234)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "1234", "host", "host:", ":1234", "host:65536", "host:-1", "host:٣"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert "HOST:PORT" in caught.value.hint


@pytest.mark.parametrize("content", ["1234", "1234\n", " 1234 \nmore\n", "1234\r\n"])
def test_port_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "port.info"
    path.write_bytes(content.encode())
    assert read_port_file(path) == 1234


@pytest.mark.parametrize("content", [b"", b"\n1234", b"port", b"0", b"65536", b"12.5", b"\xff\xfe"])
def test_bad_port_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "port.info"
    path.write_bytes(content)
    with pytest.raises(ProfileError) as caught:
        read_port_file(path)
    assert caught.value.hint


def test_missing_port_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ProfileError) as caught:
        read_port_file(tmp_path / "port.info")
    assert "--listen" in caught.value.hint
    assert "port.info" in caught.value.hint
