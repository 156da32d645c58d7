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
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        ("post_office.example.org.:1", ("post_office.example.org.", 1)),
        ("b\u00fcro.example:1", ("b\u00fcro.example", 1)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1234",
        "host",
        "host:",
        ":1234",
        "host:65536",
        "host:-1",
        "host:٣",
        pytest.param("host:" + "9" * 5000, id="a port of 5,000 digits"),
        "a..b:1",
        "\u05d0..\u05d0:1",
        "http://host:1",
        "a b:1",
        "[::1:1",
        "::1]:1",
        "::1:1",
        "[host]:1",
        "x" * 64 + ":1",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert "HOST:PORT" in caught.value.hint


@pytest.mark.parametrize("content", ["1234", "1234\n", " 1234 \nmore\n", "1234\r\n"])
def test_port_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "port.info"
    path.write_bytes(content.encode())
    assert read_port_file(path) == 1234


@pytest.mark.parametrize(
    "content", [b"", b"\n1234", b"port", b"0", b"65536", b"12.5", b"\xff\xfe", b"9" * 5000]
)
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
