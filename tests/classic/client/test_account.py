"""A client at work, against a server with the original's manners: nothing lost, nothing shown twice."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from hushpost.classic import crypto
from hushpost.classic.client.account import Account
from hushpost.classic.client.inbox import (
    MAX_TEXT,
    FileReceived,
    KeyReceived,
    KeyRequested,
    NotOpened,
    TextReceived,
)
from hushpost.classic.client.profile import Profile
from hushpost.classic.payloads import ClientId, MessageType
from hushpost.errors import Refused, Undecryptable, UsageError
from tests.classic.client.scenes import Player, Scene, conversation, files, player


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with conversation(tmp_path) as opened:
        yield opened


def test_texts_both_ways(scene: Scene) -> None:
    scene.alice.account.send_text(scene.bob.client_id, "to bob")
    scene.bob.account.send_text(scene.alice.client_id, "to alice")
    assert scene.bob.texts() == ["to bob"]
    assert scene.alice.texts() == ["to alice"]


@pytest.mark.parametrize("size", [0, 1, 16, (3 << 20) + 5])
def test_files_arrive_whole(scene: Scene, size: int) -> None:
    content = secrets.token_bytes(size)
    told: list[tuple[int, int]] = []
    message_id = scene.alice.account.send_file(
        scene.bob.client_id, io.BytesIO(content), size, lambda done, total: told.append((done, total))
    )
    [received] = scene.bob.fetch()
    assert isinstance(received, FileReceived)
    assert Path(received.path).read_bytes() == content
    assert files(scene.bob.folder) == [f"alice-{message_id}.bin"]
    assert told[-1:] == ([(size, size)] if size else [])


@pytest.mark.parametrize("claimed", [9, 11, 27])
def test_a_file_of_another_size_than_told_is_not_sent(scene: Scene, claimed: int) -> None:
    with pytest.raises(UsageError, match="changed its size"):
        scene.alice.account.send_file(scene.bob.client_id, io.BytesIO(bytes(26)), claimed)
    assert scene.bob.fetch() == []


def test_a_text_too_long_for_a_terminal_is_not_sent(scene: Scene) -> None:
    scene.alice.account.send_text(scene.bob.client_id, "x" * (MAX_TEXT - 2))
    assert len(scene.bob.texts()) == 1
    with pytest.raises(UsageError, match="1 MiB"):
        scene.alice.account.send_text(scene.bob.client_id, "x" * (MAX_TEXT))


@pytest.mark.parametrize("text", ["a\0b", "\udcff"])
def test_a_text_that_would_arrive_otherwise_is_not_sent(scene: Scene, text: str) -> None:
    with pytest.raises(UsageError):
        scene.alice.account.send_text(scene.bob.client_id, text)


def test_without_a_key_nothing_is_sent(scene: Scene) -> None:
    with pytest.raises(UsageError, match="no key") as error:
        scene.alice.account.send_text(scene.alice.client_id, "hello")
    assert "send-key" in error.value.hint
    assert scene.alice.fetch() == []


def test_a_key_is_sent_where_there_is_none(scene: Scene) -> None:
    assert scene.alice.account.ensure_key(scene.alice.client_id)
    assert not scene.alice.account.ensure_key(scene.alice.client_id)
    assert not scene.bob.account.ensure_key(scene.alice.client_id)
    assert len(scene.alice.fetch()) == 1


def test_keys_survive_the_process(scene: Scene) -> None:
    scene.alice.account.send_text(scene.bob.client_id, "hello")
    again = Player(Account(Profile(scene.bob.folder), scene.client), scene.bob.folder)
    assert again.texts() == ["hello"]


def test_a_refused_key_message_is_not_sent_with(scene: Scene) -> None:
    scene.server.clients[bytes(15) + b"x"] = (b"ghost", scene.bob.account.identity.private_key.public_key)
    ghost = ClientId(bytes(15) + b"x")
    with pytest.raises(Refused):
        scene.alice.account.send_key(ghost)
    with pytest.raises(UsageError, match="no key"):
        scene.alice.account.send_text(ghost, "hello")


def test_crossed_keys(scene: Scene, tmp_path: Path) -> None:
    carol = player(tmp_path / "c", scene.client, "carol")
    carol.account.send_key(scene.bob.client_id)
    scene.bob.account.send_key(carol.client_id)
    carol.account.send_text(scene.bob.client_id, "crossing")
    scene.bob.account.send_text(carol.client_id, "crossing too")
    assert (scene.bob.texts(), carol.texts()) == (["crossing"], ["crossing too"])
    carol.account.send_text(scene.bob.client_id, "after")
    scene.bob.account.send_text(carol.client_id, "after too")
    assert (scene.bob.texts(), carol.texts()) == (["after"], ["after too"])


def test_names_and_ids_find_a_client(scene: Scene) -> None:
    assert scene.alice.account.find("bob") == scene.bob.client_id
    assert scene.alice.account.find(scene.bob.client_id.hex().upper()) == scene.bob.client_id
    assert scene.alice.account.find("alice") == scene.alice.client_id
    with pytest.raises(UsageError):
        scene.alice.account.find("bo")


def test_a_name_that_reads_as_an_id_catches_no_messages(scene: Scene) -> None:
    scene.client.register(scene.bob.client_id.hex(), bytes(160))
    assert scene.alice.account.find(scene.bob.client_id.hex()) == scene.bob.client_id


BAD = [
    (MessageType.TEXT, b"not a whole block", "whole number"),
    (MessageType.TEXT, b"", "whole number"),
    (MessageType.FILE, b"", "whole number"),
    (MessageType.FILE, b"x" * 31, "whole number"),
    (MessageType.FILE, b"x" * 32, "any key"),
    (MessageType.TEXT, b"x" * 32, "any key"),
    (MessageType.KEY, b"x" * 128, "not sealed for us"),
    (MessageType.KEY, b"x" * 5000, "size"),
    (MessageType.KEY_REQUEST, b"content", "has a content"),
    (9, b"anything", "type 9"),
    (0, b"", "type 0"),
]


@pytest.mark.parametrize(("kind", "content", "reason"), BAD)
def test_a_bad_message_costs_no_other_and_is_kept(
    scene: Scene, kind: int, content: bytes, reason: str
) -> None:
    scene.alice.account.send_text(scene.bob.client_id, "before")
    scene.put(kind, content)
    scene.alice.account.send_text(scene.bob.client_id, "after")
    before, bad, after = scene.bob.fetch()
    assert isinstance(before, TextReceived)
    assert isinstance(after, TextReceived)
    assert isinstance(bad, NotOpened)
    assert reason in bad.reason
    assert (Path(bad.kept).read_bytes() if content else bad.kept) == (content or "")


def test_a_message_without_any_key_is_kept(scene: Scene) -> None:
    scene.put(MessageType.TEXT, bytes(16), sender=scene.bob.client_id)
    [received] = scene.bob.fetch()
    assert isinstance(received, NotOpened)
    assert "no key" in received.reason


def test_a_text_that_is_not_utf8_is_shown_and_kept(scene: Scene) -> None:
    key = Profile(scene.bob.folder).state(scene.bob.client_id).pair(scene.alice.client_id).to_open_with[0]
    content = b"".join(bytes(piece) for piece in crypto.seal_pieces(key, [b"bad \xff\0"]))
    scene.put(MessageType.TEXT, content)
    [received] = scene.bob.fetch()
    assert isinstance(received, TextReceived)
    assert received.text == "bad \ufffd"
    assert Path(received.kept).read_bytes() == content


def test_a_text_too_long_for_a_terminal_becomes_a_file(scene: Scene) -> None:
    key = Profile(scene.bob.folder).state(scene.bob.client_id).pair(scene.alice.client_id).to_open_with[0]
    plain = b"x" * MAX_TEXT + b"\0"
    scene.put(MessageType.TEXT, b"".join(bytes(piece) for piece in crypto.seal_pieces(key, [plain])))
    [received] = scene.bob.fetch()
    assert isinstance(received, FileReceived)
    assert received.path.endswith(".txt")
    assert Path(received.path).read_bytes() == plain


def test_a_key_of_somebody_new_is_accepted_and_a_stranger_has_no_name(scene: Scene, tmp_path: Path) -> None:
    carol = player(tmp_path / "c", scene.client, "carol")
    carol.account.send_key(scene.bob.client_id)
    carol.account.send_text(scene.bob.client_id, "hello")
    scene.put(MessageType.KEY_REQUEST, b"", sender=b"nobody at all...")
    key, text, request = scene.bob.fetch()
    assert isinstance(key, KeyReceived)
    assert isinstance(text, TextReceived)
    assert isinstance(request, KeyRequested)
    assert (key.name, text.name, request.name) == ("carol", "carol", "")


def test_hostile_names_stay_in_the_folder(scene: Scene, tmp_path: Path) -> None:
    mallory = player(tmp_path / "m", scene.client, "../../.. /mallory")
    mallory.account.send_key(scene.bob.client_id)
    message_id = mallory.account.send_file(scene.bob.client_id, io.BytesIO(b"x"), 1)
    scene.bob.fetch()
    assert files(scene.bob.folder) == [f"mallory-{message_id}.bin"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "m"]


def test_files_are_private(scene: Scene) -> None:
    for name in os.listdir(scene.bob.folder):
        path = scene.bob.folder / name
        assert path.stat().st_mode & 0o077 == 0, name


def test_a_text_can_be_sent_while_a_long_fetch_runs(scene: Scene) -> None:
    with Profile(scene.alice.folder).locked():
        assert not scene.alice.account.ensure_key(scene.bob.client_id)
        scene.alice.account.send_text(scene.bob.client_id, "meanwhile")
    assert scene.bob.texts() == ["meanwhile"]


def test_what_came_before_its_key_is_opened_later(scene: Scene, tmp_path: Path) -> None:
    carol = player(tmp_path / "c", scene.client, "carol")
    carol.account.send_key(scene.bob.client_id)
    messages = scene.server.inboxes[scene.bob.client_id]
    key = messages.pop()
    content = secrets.token_bytes(100_000)
    carol.account.send_file(scene.bob.client_id, io.BytesIO(content), len(content))
    [sealed] = scene.bob.fetch()
    assert isinstance(sealed, NotOpened)
    with pytest.raises(Undecryptable, match="no key"):
        scene.bob.account.open_kept(carol.client_id, Path(sealed.kept))
    scene.server.inboxes[scene.bob.client_id].append(key)
    scene.bob.fetch()
    opened = scene.bob.account.open_kept(carol.client_id, Path(sealed.kept))
    assert opened.read_bytes() == content
    assert Path(sealed.kept).exists()


def test_a_kept_content_that_is_not_there(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(Undecryptable, match="whole number"):
        scene.bob.account.open_kept(scene.alice.client_id, tmp_path / "empty")
    with pytest.raises(UsageError, match="No such file"):
        scene.bob.account.open_kept(scene.alice.client_id, tmp_path / "none")
