"""Fetching: nothing lost, nothing shown twice, whatever breaks, fills up, or was sent to do harm."""

from __future__ import annotations

import contextlib
import io
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hushpost.classic.client import fetching, inbox, profile
from hushpost.classic.client.account import Account
from hushpost.classic.client.fetching import Summary
from hushpost.classic.client.inbox import FileReceived, KeyReceived, NotOpened, Received, TextReceived
from hushpost.classic.client.profile import Profile
from hushpost.classic.client.requests import ClassicClient
from hushpost.classic.payloads import ClientId, MessageHeader, MessageType
from hushpost.errors import HushpostError, ProfileError, ProtocolError, Unreachable
from tests.classic.client.peers import read, serving
from tests.classic.client.scenes import (
    Player,
    Scene,
    broken_fetch,
    conversation,
    files,
    no_file_above,
    player,
    repeating,
)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with conversation(tmp_path) as opened:
        yield opened


def in_folder(player: Player) -> list[str]:
    return sorted(path.name for path in player.folder.iterdir() if path.name.startswith("me.s"))


def answering(scene: Scene, payload: bytes) -> contextlib.AbstractContextManager[Player]:
    """Bob at a server whose inbox for him is this."""

    def play(connection: socket.socket) -> None:
        request = read(connection, 22)
        if request[17] == 104:
            connection.sendall(b"\x02\xec\x03" + len(payload).to_bytes(4, "little") + payload)

    @contextlib.contextmanager
    def opened() -> Iterator[Player]:
        with serving(play) as address:
            folder = scene.bob.folder
            yield Player(Account(Profile(folder), ClassicClient(address, timeout=5)), folder)

    return opened()


def entry(scene: Scene, number: int, kind: int = MessageType.KEY_REQUEST, content: bytes = b"") -> bytes:
    return MessageHeader(scene.alice.client_id, number, kind, len(content)).encode() + content


def test_messages_shown_again_are_dropped_and_counted(scene: Scene) -> None:
    scene.alice.account.send_text(scene.bob.client_id, "once")
    repeating(scene)
    assert scene.bob.texts() == ["once"]
    scene.alice.account.send_text(scene.bob.client_id, "new")
    shown: list[Received] = []
    assert scene.bob.account.fetch(shown.append) == Summary(received=1, repeats=1)
    assert [received.text for received in shown if isinstance(received, TextReceived)] == ["new"]


def test_only_the_last_fetch_is_remembered(scene: Scene) -> None:
    for text in ("one", "two"):
        scene.alice.account.send_text(scene.bob.client_id, text)
        scene.bob.fetch()
    assert len(Profile(scene.bob.folder).state(scene.bob.client_id).seen) == 1


def test_the_same_words_sent_twice_are_shown_twice(scene: Scene) -> None:
    for _ in range(2):
        scene.alice.account.send_text(scene.bob.client_id, "again")
        assert scene.bob.texts() == ["again"]


def test_an_id_with_another_content_is_no_repeat(scene: Scene) -> None:
    """A server that started anew counts from 1 again."""
    scene.alice.account.send_text(scene.bob.client_id, "first")
    assert scene.bob.texts() == ["first"]
    scene.server.last_message_id -= 1
    scene.alice.account.send_text(scene.bob.client_id, "other")
    assert scene.bob.texts() == ["other"]


@pytest.mark.parametrize("missing", [1, 40, 41, 57, 58])
def test_a_fetch_that_breaks_off_keeps_what_is_whole(scene: Scene, missing: int) -> None:
    """The original has deleted everything by then; the last message (25 + 16 bytes) is lost with it."""
    for text in ("one", "two", "three"):
        scene.alice.account.send_text(scene.bob.client_id, text)
    with broken_fetch(scene, 7 + 3 * (25 + 16) - missing) as address:
        broken = Player(
            Account(Profile(scene.bob.folder), ClassicClient(address, timeout=5)), scene.bob.folder
        )
        with pytest.raises(Unreachable):
            broken.fetch()
    shown = [received.text for received in broken.shown if isinstance(received, TextReceived)]
    assert shown == (["one", "two"] if missing <= 41 else ["one"])


def test_after_a_broken_fetch_nothing_is_shown_twice(scene: Scene) -> None:
    """Hushpost's server keeps what was not acknowledged: two breaks, then the whole."""
    for text in ("one", "two", "three"):
        scene.alice.account.send_text(scene.bob.client_id, text)
    repeating(scene)
    shown: list[Received] = []
    for whole in (2, 1):
        with broken_fetch(scene, 7 + whole * 41 + 30) as address, pytest.raises(Unreachable):
            Account(Profile(scene.bob.folder), ClassicClient(address, timeout=5)).fetch(shown.append)
    summary = scene.bob.account.fetch(shown.append)
    assert [received.text for received in shown if isinstance(received, TextReceived)] == [
        "one",
        "two",
        "three",
    ]
    assert summary == Summary(received=1, repeats=2)


def test_a_face_that_fails_gets_the_message_again(scene: Scene) -> None:
    for text in ("one", "two"):
        scene.alice.account.send_text(scene.bob.client_id, text)
    shown: list[str] = []

    def failing(received: Received) -> None:
        assert isinstance(received, TextReceived)
        if received.text == "two" and len(shown) == 1:
            shown.append("failed")
            raise BrokenPipeError
        shown.append(received.text)

    with pytest.raises(BrokenPipeError):
        scene.bob.account.fetch(failing)
    assert scene.server.inboxes[scene.bob.client_id] == []
    scene.bob.account.fetch(failing)
    assert shown == ["one", "failed", "two"]
    assert not (scene.bob.folder / "me.spool").exists()


def test_a_key_is_kept_though_the_fetch_dies_right_after_it(scene: Scene, tmp_path: Path) -> None:
    carol = player(tmp_path / "c", scene.client, "carol")
    carol.account.send_key(scene.bob.client_id)
    carol.account.send_text(scene.bob.client_id, "hello")

    def failing(received: Received) -> None:
        if isinstance(received, TextReceived):
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        scene.bob.account.fetch(failing)
    assert scene.bob.texts() == ["hello"]


def test_what_a_killed_process_left_comes_first_and_is_remembered(scene: Scene) -> None:
    """It died after the spool was written: the server may still have the messages, or not."""
    for text in ("one", "two"):
        scene.alice.account.send_text(scene.bob.client_id, text)
    spool = Profile(scene.bob.folder).spool
    scene.client.fetch(scene.bob.client_id, spool)
    spool.close()
    left = scene.bob.folder / "received"
    left.mkdir(exist_ok=True)
    (left / ".hush-unfinished").write_bytes(b"half")
    scene.alice.account.send_text(scene.bob.client_id, "three")
    assert scene.bob.texts() == ["one", "two", "three"]
    assert files(scene.bob.folder) == []


def test_a_list_that_lies_about_a_size_is_told_after_the_whole_messages(scene: Scene) -> None:
    scene.alice.account.send_text(scene.bob.client_id, "whole")
    [(sender, message_id, kind, content)] = scene.server.inboxes[scene.bob.client_id]
    entry = MessageHeader(ClientId(sender), message_id, kind, len(content)).encode() + content
    lie = MessageHeader(ClientId(sender), 9, kind, 1 << 31).encode() + b"short"
    payload = entry + lie

    def play(connection: socket.socket) -> None:
        read(connection, 22)
        connection.sendall(b"\x02\xec\x03" + len(payload).to_bytes(4, "little") + payload)

    with serving(play) as address:
        bob = Player(Account(Profile(scene.bob.folder), ClassicClient(address, timeout=5)), scene.bob.folder)
        with pytest.raises(ProtocolError, match="middle of a message"):
            bob.fetch()
    assert [received.text for received in bob.shown if isinstance(received, TextReceived)] == ["whole"]
    assert scene.bob.fetch() == []  # the same message: it was shown
    assert not (scene.bob.folder / "me.spool").exists()


def test_what_does_not_fit_waits_and_what_stands_behind_it_is_shown(scene: Scene) -> None:
    """A disk on which a file and its copy do not both fit."""
    content = secrets.token_bytes(3 << 20)
    scene.alice.account.send_text(scene.bob.client_id, "before")
    scene.alice.account.send_file(scene.bob.client_id, io.BytesIO(content), len(content))
    scene.alice.account.send_text(scene.bob.client_id, "behind")
    shown: list[Received] = []
    with contextlib.ExitStack() as stack:

        def fill_up(received: Received) -> None:
            if not shown:
                stack.enter_context(no_file_above(1 << 20))
            shown.append(received)

        assert scene.bob.account.fetch(fill_up) == Summary(received=2, put_off=1)
        assert in_folder(scene.bob) == ["me.spool-1"]
        scene.alice.account.send_text(scene.bob.client_id, "later")
        assert scene.bob.account.fetch(fill_up) == Summary(received=1, put_off=1)
    assert [received.text for received in shown if isinstance(received, TextReceived)] == [
        "before",
        "behind",
        "later",
    ]
    assert not files(scene.bob.folder)
    [file] = scene.bob.fetch()
    assert isinstance(file, FileReceived)
    assert Path(file.path).read_bytes() == content
    assert in_folder(scene.bob) == []


def test_a_message_that_waits_for_room_is_not_taken_for_a_repeat(scene: Scene) -> None:
    """The server shows it again; only one of the two is shown."""
    scene.alice.account.send_text(scene.bob.client_id, "before")
    scene.alice.account.send_file(scene.bob.client_id, io.BytesIO(bytes(3 << 20)), 3 << 20)
    repeating(scene)
    with contextlib.ExitStack() as stack:
        first = scene.bob.account.fetch(lambda _: stack.enter_context(no_file_above(1 << 20)))
    assert first.put_off == 1
    assert scene.bob.account.fetch(lambda _: None) == Summary(received=1, repeats=2)


def test_an_answer_that_does_not_fit_does_not_block_the_next(scene: Scene) -> None:
    scene.alice.account.send_text(scene.bob.client_id, "before")
    scene.alice.account.send_file(scene.bob.client_id, io.BytesIO(bytes(3 << 20)), 3 << 20)
    repeating(scene)  # it has no evidence that we have them
    shown: list[Received] = []
    with no_file_above(2 << 20), pytest.raises(HushpostError, match="too large") as error:
        scene.bob.account.fetch(shown.append)
    assert "room" in error.value.hint
    assert [type(received) for received in shown] == [TextReceived]
    assert in_folder(scene.bob) == []
    assert scene.bob.account.fetch(shown.append) == Summary(received=1, repeats=1)


def test_a_spool_gives_its_room_to_the_keys(scene: Scene) -> None:
    """The disk is full, of the spool itself; all in it was shown."""
    scene.alice.account.send_text(scene.bob.client_id, "hello")
    keys, full = scene.bob.folder / "me.keys", scene.bob.folder / "full"

    def until_the_spool_goes(received: Received) -> None:
        keys.rename(full)
        keys.mkdir()

    with pytest.raises(HushpostError):
        scene.bob.account.fetch(until_the_spool_goes)
    keys.rmdir()
    full.rename(keys)
    assert in_folder(scene.bob) == []
    assert scene.bob.fetch() == []


def test_whoever_fails_to_show_a_file_gets_it_under_the_same_name(scene: Scene) -> None:
    message_id = scene.alice.account.send_file(scene.bob.client_id, io.BytesIO(b"content"), 7)

    def failing(received: Received) -> None:
        raise OSError(28, "No space left on device")

    for _ in range(3):
        with pytest.raises(HushpostError, match="No space left") as error:
            scene.bob.account.fetch(failing)
        assert "me.spool" in error.value.hint
        assert files(scene.bob.folder) == []
    assert len(scene.bob.fetch()) == 1
    assert files(scene.bob.folder) == [f"alice-{message_id}.bin"]


@pytest.mark.parametrize("name", ["received", "me.spool"])
def test_what_stands_in_the_way_is_told_before_anything_is_fetched(scene: Scene, name: str) -> None:
    scene.alice.account.send_text(scene.bob.client_id, "hello")
    path = scene.bob.folder / name
    if name == "received":
        path.write_bytes(b"in the way")
    else:
        path.mkdir()
    with pytest.raises(ProfileError, match=name) as error:
        scene.bob.fetch()
    assert "move it away" in error.value.hint
    assert len(scene.server.inboxes[scene.bob.client_id]) == 1


def test_zeros_between_messages_cost_none_of_them(scene: Scene) -> None:
    payload = entry(scene, 1) + bytes(25) + entry(scene, 2)
    with answering(scene, payload) as bob:
        with pytest.raises(ProtocolError, match=r"me\.damaged-1") as error:
            bob.fetch()
        assert [received.message_id for received in bob.shown] == [1, 2]
        assert payload in (bob.folder / "me.damaged-1").read_bytes()
        assert error.value.hint
        with pytest.raises(ProtocolError, match=r"me\.damaged-2"):
            bob.fetch()
        assert bob.shown == []
    assert scene.bob.fetch() == []


def test_an_answer_that_ends_inside_a_message_is_kept(scene: Scene) -> None:
    payload = entry(scene, 1) + entry(scene, 2, MessageType.FILE, b"not all of it")[:-1]
    with answering(scene, payload) as bob, pytest.raises(ProtocolError, match=r"me\.damaged-1"):
        bob.fetch()
    assert payload in (bob.folder / "me.damaged-1").read_bytes()


def test_senders_without_a_key_leave_no_trace(scene: Scene) -> None:
    keys = scene.bob.folder / "me.keys"
    for number in range(50):
        scene.put(MessageType.TEXT, b"", sender=number.to_bytes(16, "big"))
    scene.bob.fetch()
    state = Profile(scene.bob.folder).state(scene.bob.client_id)
    assert (len(state.pairs), len(state.names)) == (1, 1)
    assert keys.stat().st_size < 10_000


def test_strangers_do_not_push_out_the_keys_that_are_there(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (inbox, profile):
        monkeypatch.setattr(module, "MAX_PAIRS", 2)
    carol, dave = (player(tmp_path / name[0], scene.client, name) for name in ("carol", "dave"))
    for stranger in (carol, dave):
        stranger.account.send_key(scene.bob.client_id)
        stranger.account.send_key(scene.bob.client_id)
    kinds = [type(received) for received in scene.bob.fetch()]
    assert kinds == [KeyReceived, KeyReceived, NotOpened, NotOpened]
    scene.bob.account.send_key(dave.client_id)  # whom we write to ourselves has a place
    scene.alice.account.send_text(scene.bob.client_id, "still here")
    assert scene.bob.texts() == ["still here"]


def test_only_so_many_names_are_asked_for_and_kept(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (fetching, profile):
        monkeypatch.setattr(module, "MAX_NAMES", 2)
    for name in ("carol", "dave", "erin"):
        player(tmp_path / name, scene.client, name).account.request_key(scene.bob.client_id)
    assert [received.name for received in scene.bob.fetch()] == ["carol", "dave", ""]
    assert list(Profile(scene.bob.folder).state(scene.bob.client_id).names.values()) == ["carol", "dave"]


def test_keys_of_a_fetch_that_was_killed_are_learnt_again(scene: Scene, tmp_path: Path) -> None:
    """The key message was dealt with; me.keys, which is written once at the end, does not have it."""
    carol = player(tmp_path / "c", scene.client, "carol")
    carol.account.send_key(scene.bob.client_id)
    carol.account.send_text(scene.bob.client_id, "hello")
    keys = scene.bob.folder / "me.keys"
    before = keys.read_bytes()

    def failing(received: Received) -> None:
        if isinstance(received, TextReceived):
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        scene.bob.account.fetch(failing)
    keys.write_bytes(before)
    assert scene.bob.texts() == ["hello"]
