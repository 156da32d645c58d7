"""The server's own files: made once, renewed by themselves, refused when they are not right."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hushpost.crypto.identity import verify_server
from hushpost.errors import ExitCode, ProfileError
from hushpost.server.identity import (
    CERTIFICATE_FILE,
    KEY_FILE,
    LIFETIME,
    RENEWED_BEFORE,
    ServerIdentity,
)

NOW = 1_800_000_000


def test_made_once_and_found_again(tmp_path: Path) -> None:
    first = ServerIdentity.open(tmp_path, NOW).shown
    again = ServerIdentity.open(tmp_path, NOW + 60).shown
    assert (again.server, again.statement, again.certificate) == (
        first.server,
        first.statement,
        first.certificate,
    )
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        KEY_FILE: 0o600,
        CERTIFICATE_FILE: 0o600,
    }


def test_a_client_accepts_what_is_shown_and_what_follows_it(tmp_path: Path) -> None:
    identity = ServerIdentity.open(tmp_path, NOW)
    pin = identity.shown.server
    known = None
    for now in (NOW, NOW + LIFETIME - RENEWED_BEFORE, NOW + 2 * LIFETIME):
        identity.renew(now)
        der = certificate_of(tmp_path)
        raw = identity.shown.statement.encode()
        known = verify_server(raw, pin=pin, certificate=der, now=now, known=known)


def certificate_of(folder: Path) -> bytes:
    text = (folder / CERTIFICATE_FILE).read_text()
    begin = text.index("-----BEGIN CERTIFICATE")
    end = text.index("-----BEGIN PRIVATE")
    return ssl.PEM_cert_to_DER_cert(text[begin:end])


def test_renewed_in_time_under_a_higher_serial(tmp_path: Path) -> None:
    identity = ServerIdentity.open(tmp_path, NOW)
    first = identity.shown
    assert not identity.renew(NOW + LIFETIME - RENEWED_BEFORE - 1)
    assert identity.shown is first
    assert identity.renew(NOW + LIFETIME - RENEWED_BEFORE)
    second = identity.shown
    assert second.server == first.server
    assert second.certificate != first.certificate
    assert second.statement.serial > first.statement.serial
    assert ServerIdentity.open(tmp_path, NOW + LIFETIME - RENEWED_BEFORE).shown.statement == second.statement


def test_a_clock_that_went_back_makes_a_certificate_that_is_valid_then(tmp_path: Path) -> None:
    first = ServerIdentity.open(tmp_path, NOW).shown.statement
    second = ServerIdentity.open(tmp_path, NOW - 86_400 * 365).shown.statement
    assert second.not_before == NOW - 86_400 * 365
    assert second.serial > first.serial


def test_a_lost_certificate_is_replaced_and_its_serial_is_not_used_again(tmp_path: Path) -> None:
    first = ServerIdentity.open(tmp_path, NOW).shown
    (tmp_path / CERTIFICATE_FILE).unlink()
    second = ServerIdentity.open(tmp_path, NOW + 1).shown
    assert second.server == first.server
    assert second.statement.serial > first.statement.serial


def test_a_lost_key_is_not_replaced(tmp_path: Path) -> None:
    ServerIdentity.open(tmp_path, NOW)
    (tmp_path / KEY_FILE).unlink()
    with pytest.raises(ProfileError, match="missing") as caught:
        ServerIdentity.open(tmp_path, NOW)
    assert caught.value.exit_code is ExitCode.PROFILE
    (tmp_path / CERTIFICATE_FILE).rename(tmp_path / "post.db")
    with pytest.raises(ProfileError, match="missing"):
        ServerIdentity.open(tmp_path, NOW)


def damaged_copies(whole: bytes) -> Iterator[bytes]:
    for at in range(0, len(whole), 5):
        yield whole[:at] + bytes([whole[at] ^ 0x04]) + whole[at + 1 :]
    for cut in (0, 1, len(whole) // 2, len(whole) - 2):
        yield whole[:cut]
    yield b"\xff\xfe"


def test_a_damaged_key_is_noticed_and_not_touched(tmp_path: Path) -> None:
    ServerIdentity.open(tmp_path, NOW)
    path = tmp_path / KEY_FILE
    for damaged in damaged_copies(path.read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(ProfileError, match="damaged") as caught:
            ServerIdentity.open(tmp_path, NOW)
        assert "backup" in caught.value.hint
        assert path.read_bytes() == damaged


def test_a_damaged_certificate_is_noticed_or_as_good_as_the_whole_one(tmp_path: Path) -> None:
    """Its own signature is checked by nobody; the statement vouches for its key."""
    pin = ServerIdentity.open(tmp_path, NOW).shown.server
    path = tmp_path / CERTIFICATE_FILE
    noticed = 0
    for damaged in damaged_copies(path.read_bytes()):
        path.write_bytes(damaged)
        try:
            shown = ServerIdentity.open(tmp_path, NOW).shown
        except ProfileError as error:
            noticed += "links go on" in error.hint and path.read_bytes() == damaged
        else:
            raw, der = shown.statement.encode(), certificate_of(tmp_path)
            verify_server(raw, pin=pin, certificate=der, now=NOW, known=None)
    assert noticed > 100


def test_another_servers_certificate_is_none(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        ServerIdentity.open(tmp_path / name, NOW)
    (tmp_path / "other" / CERTIFICATE_FILE).rename(tmp_path / "one" / CERTIFICATE_FILE)
    with pytest.raises(ProfileError, match="damaged"):
        ServerIdentity.open(tmp_path / "one", NOW)


@pytest.mark.parametrize("name", [KEY_FILE, CERTIFICATE_FILE])
def test_files_that_others_may_read_are_refused(tmp_path: Path, name: str) -> None:
    ServerIdentity.open(tmp_path, NOW)
    (tmp_path / name).chmod(0o640)
    with pytest.raises(ProfileError, match="read by others") as caught:
        ServerIdentity.open(tmp_path, NOW)
    assert "chmod 600" in caught.value.hint


def test_a_draft_left_by_a_crash_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / f"{KEY_FILE}.new").write_bytes(b"half a k")
    (tmp_path / f"{CERTIFICATE_FILE}.new").write_bytes(b"half")
    ServerIdentity.open(tmp_path, NOW)
    assert {path.name for path in tmp_path.iterdir()} == {KEY_FILE, CERTIFICATE_FILE}


def test_secrets_are_in_no_repr(tmp_path: Path) -> None:
    identity = ServerIdentity.open(tmp_path, NOW)
    secret = (tmp_path / KEY_FILE).read_text().splitlines()[1]
    assert secret not in repr(identity) + repr(identity.shown)
