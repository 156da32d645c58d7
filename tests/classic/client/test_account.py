"""A client at work, against a server with the original's manners: nothing lost, nothing shown twice."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hushpost.classic import crypto
from hushpost.classic.client.account import Account, Summary, register
from hushpost.classic.client.inbox import (
    MAX_TEXT,
    FileReceived,
    KeyReceived,
    KeyRequested,
    NotOpened,
    Received,
    TextReceived,
)
from hushpost.classic.client.link import Address
from hushpost.classic.client.profile import Profile
from hushpost.classic.client.requests import ClassicClient
from hushpost.classic.payloads import ClientId, MessageHeader, MessageType
from hushpost.errors import ProfileError, ProtocolError, Refused, Unreachable, UsageError
from tests.classic.client.peers import HEADER, OriginalServer, read, serving

GET = 104


@dataclass
class Player:
    """One client with its folder, and what it was shown."""

    account: Account
    folder: Path
    shown: list[Received] = field(default_factory=list)

    @property
    def client_id(self) -> ClientId:
        return self.account.identity.client_id

    def fetch(self) -> list[Received]:
        self.shown = []
        self.account.fetch(self.shown.append)
        return self.shown

    def texts(self) -> list[str]:
        return [received.text for received in self.fetch() if isinstance(received, TextReceived)]


@dataclass
class Scene:
    """A server like the original's with two clients that have agreed on a key."""

    server: OriginalServer
    address: Address
    client: ClassicClient
    alice: Player
    bob: Player

    def put(self, kind: int, content: bytes, *, sender: bytes | None = None) -> None:
        """Lay a message into bob's inbox, whatever it is."""
        self.server.last_message_id += 1
        message = (sender or self.alice.client_id, self.server.last_message_id, kind, content)
        self.server.inboxes[self.bob.client_id].append(message)


def player(folder: Path, client: ClassicClient, name: str) -> Player:
    folder.mkdir()
    register(Profile(folder), client, name)
    return Player(Account(Profile(folder), client), folder)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    server = OriginalServer()
    with serving(server) as address:
        client = ClassicClient(address, timeout=5)
        alice, bob = player(tmp_path / "a", client, "alice"), player(tmp_path / "b", client, "bob")
        alice.account.send_key(bob.client_id)
        bob.fetch()
        yield Scene(server, address, client, alice, bob)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "received").iterdir())


def broken_fetch(scene: Scene, size: int) -> contextlib.AbstractContextManager[Address]:
    """A server that forgets bob's messages and hands out only the first `size` bytes of the answer."""

    def play(connection: socket.socket) -> None:
        client_id, _, code, length = HEADER.unpack(read(connection, 22))
        answer = scene.server.answer(client_id, code, read(connection, length))
        connection.sendall(answer[:size] if code == GET else answer)

    return serving(play)


def repeating(scene: Scene) -> None:
    """As if the server had not seen the end of bob's last fetch."""
    scene.server.fault = "never forgets"


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


def test_a_full_disk_loses_nothing(scene: Scene) -> None:
    """The folder cannot be made, as on a full disk: the message stays in the spool until it can."""
    scene.alice.account.send_file(scene.bob.client_id, io.BytesIO(b"content"), 7)
    scene.alice.account.send_text(scene.bob.client_id, "after")
    (scene.bob.folder / "received").write_bytes(b"in the way")
    with pytest.raises(OSError, match="received"):
        scene.bob.fetch()
    assert scene.server.inboxes[scene.bob.client_id] == []
    (scene.bob.folder / "received").unlink()
    file, text = scene.bob.fetch()
    assert isinstance(file, FileReceived)
    assert isinstance(text, TextReceived)


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


def test_one_registration_for_each_folder(scene: Scene) -> None:
    before = (scene.bob.folder / "me.info").read_bytes()
    with pytest.raises(ProfileError, match="registered already"):
        register(Profile(scene.bob.folder), scene.client, "robert")
    assert (scene.bob.folder / "me.info").read_bytes() == before


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[31m", "\udcff\udcff", "x"])
def test_names_that_me_info_could_not_hold(scene: Scene, tmp_path: Path, name: str) -> None:
    (tmp_path / "new").mkdir()
    with pytest.raises(UsageError):
        register(Profile(tmp_path / "new"), scene.client, name)


def test_a_taken_name_leaves_no_me_info(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with pytest.raises(Refused):
        register(Profile(tmp_path / "new"), scene.client, "bob")
    assert not (tmp_path / "new/me.info").exists()


def test_files_are_private(scene: Scene) -> None:
    for name in os.listdir(scene.bob.folder):
        path = scene.bob.folder / name
        assert path.stat().st_mode & 0o077 == 0, name
