"""`hush classic ...` against our own server: the words, the JSON, the exit codes, and no traceback ever."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.process import HUSH, ServerProcess, classic_server
from hushpost.classic.client.link import Address
from hushpost.classic.client.profile import Profile
from hushpost.classic.client.requests import ClassicClient
from hushpost.classic.crypto import seal_text
from hushpost.classic.payloads import ClientId, MessageType
from tests.classic.client.peers import playing, serving
from tests.cli.shells import Outcome, Shell, apart


@dataclass
class Person:
    """A registered client and its folder."""

    shell: Shell
    folder: Path
    name: str

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Outcome:
        return self.shell("classic", *arguments, "--dir", str(self.folder), stdin=stdin)

    @property
    def client_id(self) -> ClientId:
        return Profile(self.folder).identity().client_id


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(classic_server(tmp_path_factory.mktemp("server"))) as process:
        yield process


def person(shell: Shell, server: ServerProcess, folder: Path) -> Person:
    name = f"{folder.name}-{secrets.token_hex(4)}"
    folder.mkdir()
    (folder / "server.info").write_text(server.host_port + "\n")
    someone = Person(shell, folder, name)
    assert someone("register", name).code == 0
    return someone


@pytest.fixture
def alice(shell: Shell, server: ServerProcess, tmp_path: Path) -> Person:
    return person(shell, server, tmp_path / "alice")


@pytest.fixture
def bob(shell: Shell, server: ServerProcess, tmp_path: Path) -> Person:
    return person(shell, server, tmp_path / "bob")


def test_registration_and_whoami(shell: Shell, server: ServerProcess, tmp_path: Path) -> None:
    name = f"carol-{secrets.token_hex(4)}"
    common = ("--dir", str(tmp_path), "--server", server.host_port)
    registered = shell("classic", "register", name, "--json", *common)
    client_id = Profile(tmp_path).identity().client_id.hex()
    assert registered.lines == [{"name": name, "id": client_id}]
    assert shell("classic", "whoami", "--dir", str(tmp_path)).out == f"{client_id}  {name}\n"
    assert shell("classic", "register", name, *common).code == 3


def test_a_taken_name_is_refused(alice: Person, shell: Shell, server: ServerProcess, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    taken = shell("classic", "register", alice.name, "--dir", str(folder), "--server", server.host_port)
    assert (taken.code, taken.out) == (5, "")
    assert taken.err.splitlines()[1].startswith("  hint: ")


def test_list_and_key(alice: Person, bob: Person) -> None:
    assert f"{bob.client_id.hex()}  {bob.name}\n" in alice("list").out
    [listed] = alice("list", "--json").lines
    assert {"id": bob.client_id.hex(), "name": bob.name} in listed["clients"]
    assert alice.name not in [client["name"] for client in listed["clients"]]
    public_key = Profile(bob.folder).identity().private_key.public_key.hex()
    assert alice("key", bob.name).out == public_key + "\n"
    [key] = alice("key", bob.client_id.hex(), "--json").lines
    assert key == {"id": bob.client_id.hex(), "public_key": public_key}


def test_keys_and_texts(alice: Person, bob: Person) -> None:
    [asked] = bob("request-key", alice.name, "--json").lines
    [request] = alice("fetch", "--json").lines
    assert request == {
        "kind": "key-request",
        "sender": bob.client_id.hex(),
        "name": bob.name,
        "message_id": asked["message_id"],
    }
    assert alice("send-key", bob.name).code == 0
    assert bob("fetch").out.endswith(f"{alice.name} sent a key\n")
    assert alice("send", bob.name, "héllo\n\x1b[2J").code == 0
    assert bob("fetch").out.endswith(f"{alice.name}:\n    héllo\n    \\x1b[2J\n")
    assert bob("fetch").err == "no messages\n"
    assert bob("fetch", "--json").out == ""


def test_a_script_needs_no_negotiation_and_is_told(alice: Person, bob: Person) -> None:
    first = alice("send", bob.name, "--json", stdin="from a pipe ✓\n".encode())
    assert first.lines[0]["key_sent"] is True
    assert "key" in first.err
    second = alice("send", bob.name, "second", "--json")
    assert (second.lines[0]["key_sent"], second.err) == (False, "")
    key, *texts = bob("fetch", "--json").lines
    assert key["kind"] == "key"
    assert [text["text"] for text in texts] == ["from a pipe ✓", "second"]


def test_without_auto_key_the_way_is_named(alice: Person, bob: Person) -> None:
    for command in (("send", bob.name, "hello"), ("send-file", bob.name, __file__)):
        failed = alice(*command, "--no-auto-key")
        assert (failed.code, failed.out) == (2, "")
        assert "send-key" in failed.err
    assert bob("fetch", "--json").out == ""


@pytest.mark.parametrize(
    ("stdin", "code", "word"),
    [
        (b"\xff", 2, "UTF-8"),
        ("\u00e9".encode() * (1 << 20), 2, "1 MiB"),
        (b"a\0b", 2, "NUL"),
        (b"", 0, "sent"),
    ],
)
def test_texts_from_a_pipe(alice: Person, stdin: bytes, code: int, word: str) -> None:
    sent = alice("send", alice.name, stdin=stdin)
    assert sent.code == code
    assert word in sent.out + sent.err


def test_files_by_path_and_by_pipe(alice: Person, bob: Person, tmp_path: Path) -> None:
    content = secrets.token_bytes(300_001)
    (tmp_path / "file").write_bytes(content)
    [sent] = alice("send-file", bob.name, str(tmp_path / "file"), "--json").lines
    piped = apart("classic", "send-file", bob.name, "-", "--dir", str(alice.folder), stdin=content)
    assert piped.code == 0, piped.err
    _, one, two = bob("fetch", "--json").lines
    assert Path(one["path"]).name == f"{alice.name}-{sent['message_id']}.bin"
    for received in (one, two):
        assert received["size"] == len(content)
        assert Path(received["path"]).read_bytes() == content


def test_a_pipe_in_the_place_of_a_file(alice: Person, bob: Person, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["sh", "-c", f"printf content > {tmp_path / 'pipe'}"]):
        assert alice("send-file", bob.name, str(tmp_path / "pipe")).code == 0
    _, received = bob("fetch", "--json").lines
    assert Path(received["path"]).read_bytes() == b"content"


@pytest.mark.parametrize(
    ("path", "word"),
    [("/no/such/file", "/no/such/file: No such file"), ("/", "/: it is a directory"), ("", "is empty")],
)
def test_a_file_that_cannot_be_read(alice: Person, path: str, word: str) -> None:
    failed = alice("send-file", alice.name, path)
    assert failed.code == 2
    sentence, hint = failed.err.splitlines()
    assert word in sentence
    assert hint.startswith("  hint: ")


def closing(stream: str, *arguments: str) -> Outcome:
    """Called as from a shell with `>&-` or `<&-`."""
    done = subprocess.run(
        ["sh", "-c", f'"$0" "$@" {stream}', HUSH, *arguments],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize("command", ["fetch", "list", "menu", "whoami"])
def test_nothing_is_fetched_that_nobody_would_see(alice: Person, bob: Person, command: str) -> None:
    bob("request-key", alice.name)
    closed = closing(">&-", "classic", command, "--dir", str(alice.folder))
    assert closed.code == 2
    assert "standard output is closed" in closed.err
    assert len(alice("fetch", "--json").lines) == 1


@pytest.mark.parametrize("command", [("send", "bob"), ("send-file", "bob", "-"), ("menu",)])
def test_a_closed_standard_input_is_told(alice: Person, command: tuple[str, ...]) -> None:
    closed = closing("<&-", "classic", *command, "--dir", str(alice.folder))
    assert closed.code == 2
    assert closed.err.startswith("hush: standard input is closed\n  hint: ")


def test_a_full_standard_output_loses_no_message(alice: Person, bob: Person) -> None:
    bob("request-key", alice.name)
    full = closing(">/dev/full", "classic", "fetch", "--dir", str(alice.folder))
    assert full.code == 1
    assert "me.spool" in full.err
    assert len(alice("fetch", "--json").lines) == 1


def test_what_begins_with_a_dash(alice: Person) -> None:
    failed = alice("send", alice.name, "-dash")
    assert failed.code == 2
    sentence, hint = failed.err.splitlines()
    assert sentence == "hush: no such option: -d"
    assert "put -- in front" in hint
    assert shell_text(alice, "--", "-dash") == "-dash"


def shell_text(someone: Person, *text: str) -> str:
    """What arrives of a text that somebody sends to themselves."""
    assert someone.shell("classic", "send", "--dir", str(someone.folder), someone.name, *text).code == 0
    return str(someone("fetch", "--json").lines[-1]["text"])


def test_groups_without_a_command_show_what_there_is(shell: Shell) -> None:
    shown = shell("classic")
    assert (shown.code, shown.err) == (2, "")
    assert "send-file" in shown.out


def test_ctrl_c_while_the_commands_are_loaded() -> None:
    child = (
        "import os, signal, sys\n"
        "class Early:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'hushpost.cli': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Early())\n"
        "from hushpost.__main__ import main; main()\n"
    )
    done = subprocess.run([sys.executable, "-c", child, "--version"], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_a_file_without_room_is_told(alice: Person, bob: Person, tmp_path: Path) -> None:
    """`ulimit -f` stops files at 64 KiB: the spool was written by another fetch, which was killed."""
    (tmp_path / "file").write_bytes(bytes(300_000))
    alice("send-file", bob.name, str(tmp_path / "file"))
    alice("send", bob.name, "behind")
    profile = Profile(bob.folder)
    ClassicClient(profile.server()).fetch(bob.client_id, profile.spool)
    profile.spool.close()
    words = ["sh", "-c", 'ulimit -f 128; trap "" XFSZ; "$0" "$@"', HUSH]
    short = subprocess.run(
        [*words, "classic", "fetch", "--dir", str(bob.folder)], capture_output=True, timeout=60, check=False
    )
    assert short.returncode == 1
    assert b"    behind\n" in short.stdout
    assert b"me.spool-*" in short.stderr
    [file] = bob("fetch", "--json").lines
    assert file["size"] == 300_000


def test_undecryptable_messages_end_with_10_after_all_others(
    alice: Person, bob: Person, server: ServerProcess
) -> None:
    alice("send", bob.name, "before")
    client = ClassicClient(Address(*server.address))
    client.send_message(alice.client_id, bob.client_id, MessageType.TEXT, b"x" * 31)
    alice("send", bob.name, "after")
    fetched = bob("fetch")
    assert fetched.code == 10
    assert "1 of 4 messages could not be opened" in fetched.err
    assert "    before\n" in fetched.out
    assert fetched.out.endswith("    after\n")


def test_a_content_that_was_kept_is_opened(alice: Person, bob: Person) -> None:
    alice("send", bob.name, "hello")
    bob("fetch")
    key = Profile(bob.folder).state(bob.client_id).keys_of(alice.client_id).to_open_with[0]
    sealed = bob.folder / "kept.sealed"
    sealed.write_bytes(seal_text(key, "kept"))
    [opened] = bob("open", alice.name, str(sealed), "--json").lines
    assert Path(opened["path"]).read_bytes() == b"kept\0"
    sealed.write_bytes(b"x" * 31)
    assert bob("open", alice.name, str(sealed)).code == 10


def test_a_fetch_killed_at_any_message_loses_none(alice: Person, bob: Person, tmp_path: Path) -> None:
    """Killed while it shows them one after the other; only the message it died in may come twice."""
    content = secrets.token_bytes(5_000_000)
    (tmp_path / "file").write_bytes(content)
    assert alice("send", bob.name, "first").code == 0
    sent = [
        alice("send", bob.name, f"text {number}", "--json").lines[0]["message_id"] for number in range(10)
    ]
    sent += [alice("send-file", bob.name, str(tmp_path / "file"), "--json").lines[0]["message_id"]]
    shown: list[int] = []
    fetch = [HUSH, "classic", "fetch", "--json", "--dir", str(bob.folder)]
    kills = 0
    for _ in range(4):
        with subprocess.Popen(
            fetch, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        ) as process:
            assert process.stdout
            line = process.stdout.readline()
            process.kill()
            rest = [each for each in process.stdout.read().splitlines() if each.endswith(b"}")]
        shown += [json.loads(each)["message_id"] for each in [line, *rest] if each]
        kills += process.returncode == -signal.SIGKILL
    last = bob("fetch", "--json").lines
    shown += [message["message_id"] for message in last]
    assert set(sent) <= set(shown)
    assert len(shown) <= len(sent) + 2 + kills
    assert all(path.read_bytes() == content for path in (bob.folder / "received").glob("*.bin"))
    assert bob("fetch", "--json").out == ""


def test_a_text_and_a_json_stay_one_line_each(alice: Person, bob: Person) -> None:
    alice("send", bob.name, "one\ntwo\u2028\x9b\u202e")
    out = bob("fetch", "--json").out
    assert out.isascii()
    assert json.loads(out.splitlines()[1])["text"] == "one\ntwo\u2028\x9b\u202e"


def test_the_self_test(shell: Shell, server: ServerProcess) -> None:
    passed = shell("classic", "test", server.host_port)
    assert (passed.code, passed.err) == (0, "all 15 steps passed\n")
    assert passed.out.count("ok    ") == 15


def test_the_self_test_fails_with_the_server(shell: Shell) -> None:
    with serving(playing(bytes.fromhex("02282300000000"))) as address:
        failed = shell("classic", "test", str(address), "--json")
    assert failed.code == 1
    assert [json.loads(line)["passed"] for line in failed.out.splitlines()] == [False] * 15


def test_the_menu_by_pipe(alice: Person, bob: Person) -> None:
    lines = f"52\n{bob.name}\n5\n{bob.name}\nfrom the menu\n".encode()
    menu = apart("classic", "menu", "--dir", str(alice.folder), stdin=lines)
    assert (menu.code, menu.err) == (0, "")
    failed = apart("classic", "menu", "--dir", str(alice.folder), stdin=b"5\nnobody at all\n2\n")
    assert (failed.code, failed.err) == (1, "")
    assert bob("fetch", "--json").lines[1]["text"] == "from the menu"


def test_bytes_that_are_no_text_are_told_and_the_menu_goes_on(
    alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most locales have Python refuse them while it reads; that of this test must not decide."""
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")
    lines = f"52\n{bob.name}\n5\n{bob.name}\n".encode() + b"\xff\xfe\n2\n"
    menu = apart("classic", "menu", "--dir", str(alice.folder), stdin=lines)
    assert (menu.code, menu.err) == (1, "")
    assert "a text is valid Unicode" in menu.out
    assert bob.client_id.hex() in menu.out


def test_ctrl_c_ends_the_menu_quietly(alice: Person) -> None:
    with subprocess.Popen(
        [HUSH, "classic", "menu", "--dir", str(alice.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as menu:
        assert menu.stdout
        assert menu.stderr
        while menu.stdout.read(2) != b"? ":  # the prompt stands alone behind the table
            pass
        while Path(f"/proc/{menu.pid}/stat").read_text().split()[2] != "S":  # until it waits for input
            pass
        menu.send_signal(signal.SIGINT)
        assert menu.wait(timeout=20) == 130
        assert b"Traceback" not in menu.stderr.read()


def test_a_reader_that_leaves_is_no_error(alice: Person) -> None:
    with subprocess.Popen(
        [HUSH, "classic", "list", "--dir", str(alice.folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as listing:
        assert listing.stdout
        assert listing.stderr
        listing.stdout.close()
        assert listing.stderr.read() == b""


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("list",), 3, "server.info"),
        (("list", "--server", "127.0.0.1:1"), 3, "me.info"),
        (("whoami",), 3, "me.info"),
        (("list", "--server", "nonsense"), 2, "address"),
        (("register", "carol", "--server", "127.0.0.1:1"), 4, "no connection"),
        (("register", "c", "--server", "127.0.0.1:1"), 2, "2 characters"),
        (("test",), 3, "server.info"),
        (("test", "127.0.0.1:1"), 4, "no connection"),
        (("menu", "--json"), 2, "JSON"),
        (("send",), 2, "RECIPIENT"),
        (("no-such-command",), 2, "no-such-command"),
        (("list", "--timeout", "0"), 2, "timeout"),
        (("list", "--timeout", "inf"), 2, "timeout"),
        (("list", "--timeout", "1e20"), 2, "timeout"),
        (("list", "--timeout", "nan"), 2, "timeout"),
        (("whoami", "--timeout", "86400"), 3, "me.info"),
        (("register", "carol", "--server", "127.0.0.1:0"), 2, "'127.0.0.1:0' is not an address"),
        (("register", "carol", "--server", "a..b:1"), 2, "'a..b:1' is not an address"),
        (("register", "carol", "--server", "9" * 5000), 2, "is not an address"),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(
    shell: Shell, tmp_path: Path, arguments: tuple[str, ...], code: int, word: str
) -> None:
    failed = shell("classic", *arguments, "--dir", str(tmp_path))
    assert (failed.code, failed.out) == (code, "")
    assert word in failed.err
    assert "Traceback" not in failed.err


def test_a_server_that_speaks_something_else(shell: Shell, tmp_path: Path) -> None:
    with serving(playing(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as address:
        common = ("--dir", str(tmp_path), "--server", str(address))
        failed = shell("classic", "register", "carol", *common)
    assert failed.code == 6
    assert failed.err.startswith("hush: ")


def test_errors_of_files_are_escaped(alice: Person) -> None:
    failed = alice("send-file", alice.name, "/no\x1b[2J")
    assert "\x1b" not in failed.err
    assert "\\x1b[2J" in failed.err


def test_the_version(shell: Shell) -> None:
    assert shell("--version").out.startswith("hush ")
