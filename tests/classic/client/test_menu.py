"""The menu: the original's numbers, from a script of lines as from a pipe."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from hushpost.classic.client.link import Address
from hushpost.classic.client.menu import ROWS, Menu
from hushpost.classic.client.profile import Profile
from hushpost.classic.client.requests import ClassicClient
from hushpost.classic.payloads import MessageType
from tests.classic.client.peers import OriginalServer, serving


@dataclass
class Person:
    """Somebody at the menu; their lines are typed one after the other, then the input ends."""

    folder: Path
    client: ClassicClient

    def types(self, *lines: str, terminal: bool = False, succeeds: bool | None = None) -> str:
        rest = iter(lines)

        def ask(prompt: str) -> str:
            for line in rest:
                return line
            raise EOFError

        out = io.StringIO()
        console = Console(
            file=out, width=120, markup=False, highlight=False, emoji=False, force_terminal=terminal
        )
        all_done = Menu(Profile(self.folder), self.client, console=console, ask=ask).run()
        assert succeeds in {None, all_done}
        assert next(rest, None) is None or "0" in lines
        return out.getvalue()


@dataclass
class Scene:
    server: OriginalServer
    address: Address
    folder: Path

    def person(self, name: str) -> Person:
        folder = self.folder / name
        folder.mkdir()
        return Person(folder, ClassicClient(self.address, timeout=5))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    server = OriginalServer()
    with serving(server) as address:
        yield Scene(server, address, tmp_path)


def test_a_whole_conversation(scene: Scene) -> None:
    alice, bob = scene.person("alice"), scene.person("bob")
    assert "registered alice as" in alice.types("1", "alice")
    assert "registered bob as" in bob.types("1", "bob")
    listed = alice.types("2")
    assert "bob" in listed
    assert Profile(bob.folder).identity().client_id.hex() in listed
    key = Profile(bob.folder).identity().private_key.public_key.hex()
    assert key in alice.types("3", "bob")
    assert "sent as message 1" in bob.types("51", "alice")
    assert "#1 bob asks for a key" in alice.types("4")
    assert "sent as message 2" in alice.types("52", "bob")
    assert "#2 alice sent a key" in bob.types("4")
    assert "sent as message 3" in alice.types("5", "bob", "hello [b]bob[/b]")
    (alice.folder / "file").write_bytes(b"content")
    assert "sent as message 4" in alice.types("50", "bob", str(alice.folder / "file"))
    shown = bob.types("4")
    assert "#3 alice:\n    hello [b]bob[/b]\n" in shown
    assert "#4 alice sent a file of 7 bytes: " in shown
    assert (bob.folder / "received/alice-4.bin").read_bytes() == b"content"
    assert "no messages" in bob.types("4")


def test_the_numbers_are_those_of_the_original(scene: Scene) -> None:
    shown = scene.person("alice").types("0")
    for number, meaning in {
        "1": "register",
        "2": "list clients",
        "3": "ask for a public key",
        "4": "show waiting messages",
        "5": "send a text",
        "50": "send a file",
        "51": "ask a client for a key",
        "52": "send a client a key",
        "0": "exit",
    }.items():
        assert any(
            line.split("│")[1:3] and [part.strip() for part in line.split("│")[1:3]] == [number, meaning]
            for line in shown.splitlines()
        )


def test_nothing_is_done_after_0(scene: Scene) -> None:
    assert "error" not in scene.person("alice").types("0", "2")
    assert scene.server.requests == []


@pytest.mark.parametrize("lines", [[], ["5"], ["1"], ["x"], ["", "  "]])
def test_the_end_of_input_ends_it_anywhere(scene: Scene, lines: list[str]) -> None:
    scene.person("alice").types(*lines)


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["2"], "there is no"),
        (["4"], "there is no"),
        (["1", "a"], "a name has at least 2"),
        (["1", "alice", "1", "alice"], "registered already"),
        (["1", "alice", "5", "nobody"], "nobody is registered"),
        (["1", "alice", "5", "alice", "text"], "no key is agreed"),
        (["1", "alice", "52", "alice", "5", "alice", "a\0b"], "without NUL"),
        (["1", "alice", "52", "alice", "50", "alice", "/no/such/file"], "No such file"),
        (["1", "alice", "52", "alice", "50", "alice", "/"], "it is a directory"),
        (["1", "alice", "3", "0" * 32], "gave no public key"),
        (["99"], "not on the menu"),
    ],
)
def test_every_error_is_a_sentence_and_the_menu_goes_on(scene: Scene, lines: list[str], error: str) -> None:
    person = scene.person("alice")
    shown = person.types(*lines, "1", "somebody else")
    assert error in shown
    assert ("registered somebody else" in shown) == ("alice" not in lines)
    assert "Traceback" not in shown


def test_a_dead_server_is_told_and_the_menu_goes_on(tmp_path: Path) -> None:
    with serving(OriginalServer()) as address:
        pass
    person = Person(tmp_path, ClassicClient(address, timeout=5))
    shown = person.types("1", "alice", "1", "alice")
    assert shown.count("no connection") == 2


def test_hostile_names_do_nothing_in_the_table(scene: Scene) -> None:
    alice = scene.person("alice")
    alice.client.register("\x1b[2Jeve[red]", bytes(160))
    shown = alice.types("1", "alice", "2")
    assert "\x1b" not in shown
    assert "\\x1b[2Jeve[red]" in shown


def test_answers_of_what_fails_are_never_choices(scene: Scene) -> None:
    """Piped in: whatever an action needs is read before it can fail."""
    alice = scene.person("alice")
    for choice in ("5", "50"):
        shown = alice.types(choice, "bob", "1", "99", succeeds=False)
        assert "there is no" in shown  # nobody is registered here
        assert shown.count("not on the menu") == 1  # the 99, and the 1 was a text or a path


def test_a_message_that_does_not_open_is_no_success(scene: Scene) -> None:
    alice, bob = scene.person("alice"), scene.person("bob")
    alice.types("1", "alice", succeeds=True)
    bob.types("1", "bob", succeeds=True)
    me = Profile(alice.folder).identity().client_id
    bob.client.send_message(Profile(bob.folder).identity().client_id, me, MessageType.TEXT, bytes(11))
    assert "could not be opened" in alice.types("4", succeeds=False)
    assert "no messages" in alice.types("4", succeeds=True)


def test_a_terminal_gets_a_table_of_everybody(scene: Scene) -> None:
    alice = scene.person("alice")
    alice.types("1", "alice")
    assert "nobody else is registered" in alice.types("2", terminal=True)
    for number in range(ROWS + 1):
        alice.client.register(f"client {number}[red]", bytes(160))
    shown = alice.types("2", terminal=True)
    assert all(f" client {number}[red] " in shown for number in range(ROWS + 1))
    assert shown.count("name") == 2  # of two tables


def test_ctrl_c_passes_through(scene: Scene) -> None:
    def interrupted(prompt: str) -> str:
        raise KeyboardInterrupt

    person = scene.person("alice")
    with pytest.raises(KeyboardInterrupt):
        Menu(
            Profile(person.folder), person.client, console=Console(file=io.StringIO()), ask=interrupted
        ).run()
