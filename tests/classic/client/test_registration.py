"""Taking a name: whatever breaks in between, neither the name nor its key is lost."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hushpost.classic.client.account import Account
from hushpost.classic.client.profile import Profile
from hushpost.classic.client.registration import register
from hushpost.classic.client.requests import ClassicClient
from hushpost.errors import ProfileError, Refused, Unreachable, UsageError
from tests.classic.client.peers import HEADER, Script, read, serving
from tests.classic.client.scenes import Scene, conversation, no_file_above


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with conversation(tmp_path) as opened:
        yield opened


@pytest.fixture
def new(tmp_path: Path) -> Profile:
    (tmp_path / "new").mkdir()
    return Profile(tmp_path / "new")


def names(new: Profile) -> list[str]:
    return sorted(path.name for path in new.directory.iterdir())


def losing(scene: Scene, *, before: bool = False) -> Script:
    """The same server, whose answers are lost; or the requests already, before they reach it."""

    def play(connection: socket.socket) -> None:
        client_id, _, code, size = HEADER.unpack(read(connection, 22))
        payload = read(connection, size)
        if not before:
            scene.server.answer(client_id, code, payload)

    return play


def test_a_lost_answer_burns_no_name(scene: Scene, new: Profile) -> None:
    with serving(losing(scene)) as address, pytest.raises(Unreachable) as error:
        register(new, ClassicClient(address, timeout=5), "carol")
    assert "same name" in error.value.hint
    assert names(new) == ["me.lock", "me.new"]
    with pytest.raises(ProfileError) as missing:
        new.identity()
    assert "me.new" in missing.value.hint
    carol = register(new, scene.client, "carol")
    assert scene.server.clients[carol.client_id] == (b"carol", carol.private_key.public_key)
    assert names(new) == ["me.info", "me.lock"]
    Account(new, scene.client).send_key(scene.bob.client_id)
    assert [received.name for received in scene.bob.fetch()] == ["carol"]


def test_a_request_that_was_lost_is_made_again(scene: Scene, new: Profile) -> None:
    with serving(losing(scene, before=True)) as address, pytest.raises(Unreachable):
        register(new, ClassicClient(address, timeout=5), "carol")
    carol = register(new, scene.client, "carol")
    assert scene.server.clients[carol.client_id][0] == b"carol"
    assert len(scene.server.clients) == 3


def test_a_full_disk_is_noticed_before_the_server_is_asked(scene: Scene, new: Profile) -> None:
    with no_file_above(0), pytest.raises(OSError, match="too large"):
        register(new, scene.client, "carol")
    assert len(scene.server.clients) == 2
    assert register(new, scene.client, "carol").name == "carol"


def test_a_disk_that_fills_up_in_between_burns_no_name(scene: Scene, new: Profile) -> None:
    limits = no_file_above(0)

    def play(connection: socket.socket) -> None:
        scene.server(connection)
        limits.__enter__()

    try:
        with serving(play) as address, pytest.raises(OSError, match="too large"):
            register(new, ClassicClient(address, timeout=5), "carol")
    finally:
        limits.__exit__(None, None, None)
    assert names(new) == ["me.lock", "me.new"]
    carol = register(new, scene.client, "carol")
    assert scene.server.clients[carol.client_id] == (b"carol", carol.private_key.public_key)


def test_a_name_that_somebody_else_took_meanwhile_is_given_up(scene: Scene, new: Profile) -> None:
    with serving(losing(scene, before=True)) as address, pytest.raises(Unreachable):
        register(new, ClassicClient(address, timeout=5), "carol")
    scene.client.register("carol", bytes(160))
    with pytest.raises(Refused):
        register(new, scene.client, "carol")
    assert names(new) == ["me.lock"]
    assert register(new, scene.client, "caroline").name == "caroline"


def test_another_name_does_not_replace_one_that_was_begun(scene: Scene, new: Profile) -> None:
    with serving(losing(scene)) as address, pytest.raises(Unreachable):
        register(new, ClassicClient(address, timeout=5), "carol")
    before = new.pending.read_bytes()
    with pytest.raises(ProfileError, match=r"me\.new") as error:
        register(new, scene.client, "caroline")
    assert error.value.hint
    assert new.pending.read_bytes() == before


def test_a_damaged_beginning_is_told(scene: Scene, new: Profile) -> None:
    new.pending.write_bytes(b"carol\n")
    with pytest.raises(ProfileError, match=r"me\.new") as error:
        register(new, scene.client, "carol")
    assert error.value.hint == "move it away"


@pytest.mark.parametrize("name", ["two words", "\u05d0\u200d\u05d1", "\u05e9\u05dc\u05d5\u05dd", "0" * 254])
def test_names_that_can_be_had(scene: Scene, new: Profile, name: str) -> None:
    assert register(new, scene.client, name).name == new.identity().name == name


def test_one_registration_for_each_folder(scene: Scene) -> None:
    before = (scene.bob.folder / "me.info").read_bytes()
    with pytest.raises(ProfileError, match="registered already"):
        register(Profile(scene.bob.folder), scene.client, "robert")
    assert (scene.bob.folder / "me.info").read_bytes() == before


@pytest.mark.parametrize(
    "name", ["two\nlines", "\x1b[31m", "\udcff\udcff", "x", "a\u00a0b", " ab", "ab ", "x" * 255]
)
def test_names_that_me_info_could_not_hold(scene: Scene, tmp_path: Path, name: str) -> None:
    (tmp_path / "new").mkdir()
    with pytest.raises(UsageError):
        register(Profile(tmp_path / "new"), scene.client, name)


def test_a_taken_name_leaves_no_me_info(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with pytest.raises(Refused):
        register(Profile(tmp_path / "new"), scene.client, "bob")
    assert not (tmp_path / "new/me.info").exists()
