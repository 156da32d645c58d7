"""The working directory: what is missing, malformed, foreign or in use is told in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hushpost.classic.client.identity import Identity
from hushpost.classic.client.keyring import PairKeys
from hushpost.classic.client.profile import MAX_NAMES, Profile, State
from hushpost.classic.payloads import ClientId
from hushpost.errors import ProfileError

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors/classic.json").read_text())
ME, PEER = ClientId(b"me".ljust(16)), ClientId(b"peer".ljust(16))


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    return Profile(tmp_path)


@pytest.mark.parametrize(
    ("info", "address"),
    [
        ("localhost:1234", ("localhost", 1234)),
        ("10.0.0.1:1\n", ("10.0.0.1", 1)),
        ("1234\r\nwhatever follows\n", ("127.0.0.1", 1234)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_server_info(profile: Profile, info: str, address: tuple[str, int]) -> None:
    (profile.directory / "server.info").write_text(info)
    assert profile.server() == address


@pytest.mark.parametrize("info", [b"", b"\n", b"127.0.0.1", b"host:", b"host:x", b"host:99999", b"\xff:1"])
def test_a_bad_server_info_is_told(profile: Profile, info: bytes) -> None:
    (profile.directory / "server.info").write_bytes(info)
    with pytest.raises(ProfileError, match=r"server\.info") as error:
        profile.server()
    assert error.value.hint


def test_what_is_missing_is_told_with_a_way_out(profile: Profile) -> None:
    with pytest.raises(ProfileError) as error:
        profile.server()
    assert "--server" in error.value.hint
    with pytest.raises(ProfileError) as error:
        profile.identity()
    assert "register" in error.value.hint


def test_a_folder_in_the_place_of_a_file_is_told(profile: Profile) -> None:
    (profile.directory / "me.info").mkdir()
    with pytest.raises(ProfileError, match="cannot be read") as error:
        profile.identity()
    assert "move it away" in error.value.hint
    (profile.directory / "me.keys").mkdir()
    with pytest.raises(ProfileError, match="cannot be read") as error:
        profile.state(ME)
    assert "move it away" in error.value.hint


def test_a_lock_that_is_a_link_is_not_followed(profile: Profile, tmp_path: Path) -> None:
    (tmp_path / "me.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ProfileError, match=r"me\.lock.*link"), profile.locked():
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_looking_at_keys_leaves_no_entry() -> None:
    state = State(ME.hex())
    assert state.keys_of(PEER).to_open_with == []
    assert state.pairs == {}


def test_the_newest_names_are_kept() -> None:
    state = State(ME.hex())
    ids = [ClientId(number.to_bytes(16, "big")) for number in range(MAX_NAMES + 1)]
    for some in (ids[:-1], ids[-1:]):
        state.remember_names(dict.fromkeys(some, "name"))
    assert list(state.names) == [each.hex() for each in ids[1:]]


def test_the_identity_is_kept_for_the_owner_only(profile: Profile) -> None:
    identity = Identity.decode(VECTORS["me_info"]["alice"].encode())
    profile.save_identity(identity)
    path = profile.directory / "me.info"
    assert (path.read_text(), path.stat().st_mode & 0o777) == (VECTORS["me_info"]["alice"], 0o600)
    assert profile.identity().client_id == identity.client_id


def test_a_bad_me_info_is_told(profile: Profile) -> None:
    (profile.directory / "me.info").write_text("alice\n")
    with pytest.raises(ProfileError, match="lines") as error:
        profile.identity()
    assert error.value.hint


def test_the_state_is_kept_for_the_owner_only(profile: Profile) -> None:
    state = State(ME.hex(), names={PEER.hex(): "bob"}, seen=[b"digest"])
    state.pairs[PEER.hex()] = PairKeys(received=[bytes(16)], ours=bytes(16), ours_accepted=True)
    profile.save_state(state)
    assert profile.state(ME) == state
    assert (profile.directory / "me.keys").stat().st_mode & 0o777 == 0o600


def test_the_first_use_has_an_empty_state(profile: Profile) -> None:
    assert profile.state(ME) == State(ME.hex())


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"owner":1}', b'{"owner":"","pairs":{"x":1}}', b"\xff"]
)
def test_a_damaged_state_is_told_and_left_alone(profile: Profile, content: bytes) -> None:
    path = profile.directory / "me.keys"
    path.write_bytes(content)
    with pytest.raises(ProfileError, match="damaged"):
        profile.state(ME)
    assert path.read_bytes() == content


def test_a_newer_state_is_refused(profile: Profile) -> None:
    profile.save_state(State(ME.hex(), version=2))
    with pytest.raises(ProfileError, match="newer"):
        profile.state(ME)


def test_the_state_of_another_client_is_refused(profile: Profile) -> None:
    profile.save_state(State(PEER.hex()))
    with pytest.raises(ProfileError, match="another client"):
        profile.state(ME)


def test_one_process_at_a_time(profile: Profile) -> None:
    child = "import sys; from pathlib import Path; from hushpost.classic.client.profile import Profile\n"
    child += "with Profile(Path(sys.argv[1])).locked(): print('locked', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", child, str(profile.directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout
        assert other.stdin
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(ProfileError, match="in use"), profile.locked(patience=0):
            pass
        other.stdin.close()
        with profile.locked():
            pass


def test_a_lock_is_free_again_after_an_error(profile: Profile) -> None:
    with pytest.raises(ValueError, match="inside"), profile.locked():
        raise ValueError("inside")
    with profile.locked(patience=0):
        pass


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot be written"), Profile(tmp_path / "none").locked():
        pass
