"""`hush send`, `inbox`, `read`, `history` and `explain`: what they say is what is so."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.process import HUSH, ServerProcess, post_server
from tests.cli.members import Member, Place, acquainted, invitation
from tests.cli.shells import Shell

HOSTILE = "one\ntwo\u2028\x9b\u202e\x1b[2J\r[verified] bob"


def test_a_text_is_accepted_then_read_once(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    [sent] = alice("send", bob.name, "héllo", "--json").lines
    assert (sent["to"], sent["account"], sent["delivery"], sent["trust"], sent["remark"]) == (
        bob.name,
        bob.account,
        "accepted",
        "verified",
        "",
    )
    [received] = bob("read", "--json").lines
    assert (received["id"], received["from"], received["account"]) == (sent["id"], alice.name, alice.account)
    assert (received["text"], received["trust"], received["standing"]) == ("héllo", "verified", "contact")
    assert isinstance(received["sent_at"], int)
    assert bob("read", "--json").out == ""
    assert bob("read").err == "no messages\n"
    [kept] = alice("history", bob.name, "--json").lines
    assert (kept["ours"], kept["from"], kept["text"]) == (True, alice.name, "héllo")
    assert kept["delivery"] in {"accepted", "delivered"}


def test_what_is_said_to_people(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    sent = alice("send", bob.name, "hello")
    assert sent.out.startswith("accepted: ")
    assert sent.err == ""
    assert bob("inbox").out == f"1 unread: [verified] {alice.name}\n"
    assert bob("inbox").out == f"1 unread: [verified] {alice.name}\n"
    head, body = bob("read").out.splitlines()
    assert head.startswith(f"[verified] {alice.name}, ")
    assert body == "    hello"
    assert bob("inbox").err == "nothing waits\n"


def test_texts_in_order_and_once(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    texts = [f"text {number}" for number in range(12)]
    for text in texts[:-1]:
        assert alice("send", bob.name, text, "--wait", "none").code == 0
    assert alice("send", bob.name, texts[-1]).code == 0
    assert [each["text"] for each in bob("read", "--json").lines] == texts


@pytest.mark.parametrize(
    ("stdin", "code", "text"),
    [
        ("from a pipe ✓\n".encode(), 0, "from a pipe ✓"),
        (b"two\nlines\n\n", 0, "two\nlines\n"),
        (b"\xff", 2, None),
        (b"x" * (1 << 20), 2, None),
    ],
)
def test_texts_from_a_pipe(friends: tuple[Member, Member], stdin: bytes, code: int, text: str | None) -> None:
    alice, bob = friends
    sent = alice("send", bob.name, stdin=stdin)
    assert sent.code == code, sent.err
    if text is not None:
        assert [each["text"] for each in bob("read", "--json").lines] == [text]


def test_hostile_texts_stay_texts(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    alice("send", bob.name, HOSTILE)
    alice("send", bob.name, HOSTILE)
    [received, _] = bob("history", alice.name, "--json").lines or bob("read", "--json").lines
    assert received["text"] == HOSTILE
    shown = bob("history", alice.name).out
    assert all(each.isprintable() or each == "\n" for each in shown)
    assert "\n[verified] bob" not in shown


def test_strangers_are_requests_until_they_are_accepted(alice: Member, bob: Member) -> None:
    assert bob("contacts", "add", alice.link).code == 0
    assert bob("send", alice.name, "hello, stranger").code == 0
    [inbox] = alice("inbox", "--json").lines
    assert [each["account"] for each in inbox["requests"]] == [bob.account]
    shown = alice("read")
    assert shown.code == 0
    assert f"[stranger] {bob.name}" in shown.out
    assert bob.account in shown.err
    assert alice("contacts", "accept", bob.name).out == f"accepted: [unverified] {bob.name}\n"
    sent = alice("send", bob.name, "hello to you")
    assert sent.code == 0
    assert "verify" in sent.err
    assert [each["text"] for each in bob("read", "--json").lines] == ["hello to you"]


def test_the_blocked_are_not_heard(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    assert alice("contacts", "block", bob.name).out == f"blocked: [blocked] {bob.name}\n"
    bob("send", alice.name, "can you hear me?")
    assert alice("read", "--json").out == ""
    assert alice("send", bob.name, "no").code not in {0, 14}


def test_without_a_server_a_text_is_queued_and_goes_out_later(shell: Shell, tmp_path: Path) -> None:
    data = tmp_path / "post-office"
    with ServerProcess(post_server(data)) as server:
        here = Place(server, data, invitation(data))
        alice, bob = (here.member(shell, tmp_path / name) for name in ("alice", "bob"))
        acquainted(alice, bob)
        assert alice("send", bob.name, "first").code == 0
        port = server.address[1]
        server.kill()
    queued = alice("send", bob.name, "second", "--json")
    assert queued.code == 14
    assert json.loads(queued.out)["delivery"] == "queued"
    assert "connection" in queued.err
    assert alice("send", bob.name, "third", "--wait", "none").code == 0
    offline = bob("read")
    assert (offline.code, offline.out) == (4, "")
    assert bob("inbox").code == 4
    assert alice("history", bob.name).code == 0
    with ServerProcess(post_server(data, port=port)):
        assert alice("inbox").code == 0
        assert [each["text"] for each in bob("read", "--json").lines] == ["first", "second", "third"]
        deliveries = {each["delivery"] for each in alice("history", bob.name, "--json").lines}
        assert deliveries <= {"accepted", "delivered"}


def test_waiting_for_delivery(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    waited = alice("send", bob.name, "are you there?", "--wait", "delivered", "--timeout", "0.5")
    assert waited.code == 14
    assert waited.out.startswith("accepted")
    assert "0.5 seconds" in waited.err
    with following(bob) as reader:
        sent = alice("send", bob.name, "now?", "--wait", "delivered", "--timeout", "30")
        assert (sent.code, sent.out.split()[0]) == (0, "delivered"), sent.err
        assert reader.stdout
        assert [json.loads(reader.stdout.readline())["text"] for _ in range(2)] == ["are you there?", "now?"]


@contextlib.contextmanager
def following(member: Member) -> Iterator[subprocess.Popen[bytes]]:
    """`hush read --follow --json`, in a process of its own; it ends with the block."""
    with subprocess.Popen(
        [HUSH, "read", "--follow", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": "", **member.environment},
    ) as reader:
        try:
            yield reader
        finally:
            reader.kill()


def test_following_ends_with_ctrl_c_and_repeats_nothing(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    for text in ("one", "two"):
        assert alice("send", bob.name, text).code == 0
    with following(bob) as reader:
        assert reader.stdout
        assert reader.stderr
        assert [json.loads(reader.stdout.readline())["text"] for _ in range(2)] == ["one", "two"]
        reader.send_signal(signal.SIGINT)
        assert reader.wait(timeout=20) == 130
        assert b"Traceback" not in reader.stderr.read()
    left = bob("read", "--json")
    assert [json.loads(line)["text"] for line in left.out.splitlines()] in ([], ["two"])


def test_a_killed_reader_loses_nothing(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    texts = [f"text {number}" for number in range(6)]
    for text in texts:
        assert alice("send", bob.name, text).code == 0
    seen: list[str] = []
    for _ in range(3):
        with following(bob) as reader:
            assert reader.stdout
            seen.append(json.loads(reader.stdout.readline())["text"])
            reader.kill()
            rest = [line for line in reader.stdout.read().splitlines() if line.endswith(b"}")]
        seen += [json.loads(line)["text"] for line in rest]
    seen += [each["text"] for each in bob("read", "--json").lines]
    assert sorted(set(seen)) == texts
    assert len(seen) <= len(texts) + 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_interrupts_sending_is_told_what_becomes_of_the_text(
    shell: Shell, tmp_path: Path, number: signal.Signals
) -> None:
    data = tmp_path / "post-office"
    with ServerProcess(post_server(data)) as server:
        place = Place(server, data, invitation(data))
        alice, bob = place.member(shell, tmp_path / "alice"), place.member(shell, tmp_path / "bob")
        acquainted(alice, bob)
    with socket.create_server(server.address):  # it lets everybody in, and never says a word
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        sending = alice.begin("send", bob.name, "hello", "--json", **streams)
        while not (kept := alice("history", bob.name, "--json").lines):
            assert sending.poll() is None
        sending.send_signal(number)
        out, err = sending.communicate(timeout=30)
    told = json.loads(out)
    assert (sending.returncode, told["delivery"], told["id"]) == (130, "queued", kept[0]["id"])
    assert f"interrupted: queued: safe here, and nowhere else yet ({told['id']})" in err
    assert "Traceback" not in err


def test_a_server_without_room_is_named(shell: Shell, tmp_path: Path) -> None:
    data = tmp_path / "post-office"
    with ServerProcess(post_server(data)) as server:
        place = Place(server, data, invitation(data))
        alice, bob = place.member(shell, tmp_path / "alice"), place.member(shell, tmp_path / "bob")
        acquainted(alice, bob)
        assert alice("send", bob.name, "there is room").code == 0
    with ServerProcess(
        post_server(data, f"--min-free-bytes={2**49}", f"--file-free-bytes={2**50}", port=server.address[1])
    ):
        for text in ("no room", "nor for this, behind it"):
            sent = alice("send", bob.name, text, "--timeout", "2")
            assert sent.code == 14
            assert "2 seconds: there is no room for this" in sent.err
        assert "waiting: there is no room for this" in alice("doctor").out
        (tmp_path / "file").write_bytes(b"x")
        refused = alice("send", bob.name, "--file", str(tmp_path / "file"))
        assert (refused.code, refused.out) == (5, "")
        assert refused.err.startswith(
            "note: what was begun is kept: hush files resume\nhush: there is no room"
        )
    with ServerProcess(post_server(data, port=server.address[1])):
        assert alice("files", "resume").code == 0


def test_history_and_search(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    for text in ("the red fox", "a blue whale", "the blue bird"):
        assert alice("send", bob.name, text).code == 0
    everything = alice("history", bob.name, "--json").lines
    assert [each["text"] for each in everything] == ["the red fox", "a blue whale", "the blue bird"]
    assert [each["text"] for each in alice("history", bob.name, "--json", "--limit", "1").lines] == [
        "the blue bird"
    ]
    before = alice("history", bob.name, "--json", "--before", everything[1]["id"]).lines
    assert [each["text"] for each in before] == ["the red fox"]
    found = alice("history", bob.name, "--search", "blue the", "--json").lines
    assert [each["text"] for each in found] == ["the blue bird"]
    assert alice("history", bob.name, "--search", "green").err == "no messages\n"
    assert alice("history", bob.name, "--search", '"*(', "--json").code == 0
    assert alice("history", bob.name, "--search", "x", "--before", "00" * 16).code == 2


def test_explain_tells_the_story(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    [sent] = alice("send", bob.name, "hello", "--json").lines
    [story] = alice("explain", sent["id"], "--json").lines
    assert story["id"] == sent["id"]
    assert len(story["steps"]) >= 2
    assert all(isinstance(step["at"], int) and step["what"] for step in story["steps"])
    assert len(alice("explain", sent["id"]).out.splitlines()) == len(story["steps"])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("send", "nobody-at-all", "hello"), "nobody"),
        (("history", "nobody-at-all"), "nobody"),
        (("verify", "nobody-at-all"), "nobody"),
        (("contacts", "block", "nobody-at-all"), "nobody"),
        (("contacts", "rename", "nobody-at-all", "x"), "nobody"),
        (("explain", "nonsense"), "32 hexadecimal digits"),
        (("explain", "00" * 16), "message"),
        (("send",), "WHO"),
        (("send", "x", "y", "--wait", "for ever"), "wait"),
        (("history", "x", "--limit", "0"), "limit"),
        (("history", "x", "--limit", "9223372036854775808"), "limit"),
        (("no-such-command",), "no-such-command"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_sentence(
    alice: Member, arguments: tuple[str, ...], word: str
) -> None:
    failed = alice(*arguments)
    assert (failed.code, failed.out) == (2, "")
    assert word in failed.err
    assert "Traceback" not in failed.err


def test_a_text_that_is_too_long(friends: tuple[Member, Member]) -> None:
    alice, bob = friends
    refused = alice("send", bob.name, stdin=b"x" * 900_000)
    assert refused.code == 2
    assert "128 KiB" in refused.err
    assert "--file" in refused.err
