"""Version 3, whole: two people, a server that neither trusts, a power cut, its disk, and swapped keys."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from demo.story import Outcome, Step, attempt, chapter, check, hush, show
from harness.process import HUSH, ServerProcess, post_server
from hushpost import sql

TEXTS = ["the key is under the third stone", "שלום, héllo, 你好", "and burn this letter"]


class Server:
    """The demo's server: the same folder and port whenever it starts again."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._process = ServerProcess(post_server(data))
        self.invitation = self._process.next_line().rpartition(" ")[2]

    def cut_power(self) -> None:
        self._process.kill()

    def start(self) -> None:
        self._process = ServerProcess(post_server(self.data, port=self._process.address[1]))

    def stop(self) -> int:
        return self._process.stop()

    def database(self) -> sql.Connection:
        """While it does not run, whoever has the disk can read and change everything."""
        return sql.connect(self.data / "post.db")


class Person:
    """One person's machine, and the commands that are typed there."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.environment = {"HUSH_HOME": str(folder / name), "HUSH_KEY": "file"}
        self.account = ""
        self.link = ""

    def join(self, invitation: str) -> None:
        (me,) = self.run("join", invitation, "--name", self.name)
        self.account, self.link = me["account"], me["link"]

    def run(self, *arguments: str) -> list[dict[str, Any]]:
        return hush(*arguments, environment=self.environment)

    def attempt(self, *arguments: str) -> Outcome:
        return attempt(*arguments, environment=self.environment)

    def send(self, to: str, text: str, *options: str) -> str:
        """How far it came."""
        (sent,) = self.run("send", to, text, *options)
        return str(sent["delivery"])

    def reading(self) -> subprocess.Popen[str]:
        """`hush read --follow`, as in a window that stays open."""
        command = [HUSH, "read", "--follow", "--json"]
        environment = {**os.environ, **self.environment}
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    def read(self) -> list[str]:
        return [message["text"] for message in self.run("read")]


def tell(folder: Path) -> None:
    """Raises:
    NotTrue: anything was not as it should be.
    """
    chapter("A server, and two people who joined by one link")
    with Step("start a server on a new folder; it prints an invitation"):
        server = Server(folder / "server")
    try:
        _tell(folder, server)
        with Step("the server stops when asked"):
            code = server.stop()
        check("its exit code is 0", code == 0)
    finally:
        server.cut_power()


def _tell(folder: Path, server: Server) -> None:
    alice, bob = Person(folder, "alice"), Person(folder, "bob")
    with Step("alice joins with the link"):
        alice.join(server.invitation)
    with Step("she puts her name to it; bob joins with the same link"):
        (invitation,) = alice.run("invite", server.invitation)
        bob.join(invitation["link"])
    (contact,) = bob.run("contacts", "list")
    check("bob knows alice, verified: the link named her key", _knows(contact, alice, "verified"))

    _write_while_away(alice, bob)
    _cut_power(server, alice, bob)
    _compare_numbers(alice, bob)
    _swap_keys(folder, server, bob)


def _knows(contact: dict[str, Any], person: Person, trust: str) -> bool:
    return (contact["account"], contact["name"], contact["trust"]) == (person.account, person.name, trust)


def _write_while_away(alice: Person, bob: Person) -> None:
    chapter("Texts both ways, while the other side is offline")
    with Step("bob writes; nothing of alice's is running"):
        delivery = bob.send("alice", "hello alice, are you there?")
    check("the server has accepted it", delivery == "accepted")
    with Step("later alice looks into her inbox"):
        (inbox,) = alice.run("inbox")
    check("somebody unknown has written: a request", _knows(inbox["requests"][0], bob, "unverified"))
    with Step("she accepts, and reads"):
        alice.run("contacts", "accept", "bob")
        texts = alice.read()
    check("it is what bob wrote", texts == ["hello alice, are you there?"])
    with Step("she answers; nothing of bob's is running"):
        delivery = alice.send("bob", "I am")
    check("accepted", delivery == "accepted")
    check("bob reads it", bob.read() == ["I am"])
    with Step("with bob at his machine, alice waits until he has it"), bob.reading() as reader:
        delivery = alice.send("bob", "now?", "--wait", "delivered")
        assert reader.stdout is not None
        text = json.loads(reader.stdout.readline())["text"]
        reader.send_signal(signal.SIGINT)
    check("delivered: his machine has said so, encrypted", (delivery, text) == ("delivered", "now?"))


def _cut_power(server: Server, alice: Person, bob: Person) -> None:
    chapter("A power cut, and what a thief of the disk finds")
    with Step("alice writes three texts; the server accepts each"):
        deliveries = {alice.send("bob", text) for text in TEXTS}
    check("accepted means: on the server's disk", deliveries == {"accepted"})
    with Step("kill -9 for the server, before anybody has fetched them"):
        server.cut_power()
    _look_at_disk(server, alice)
    with Step("bob writes meanwhile; there is no server"):
        queued = bob.attempt("send", "alice", "can you hear me?")
    check(
        "queued, he is told, with exit code 14", (queued.code, queued.lines[0]["delivery"]) == (14, "queued")
    )
    with Step("the server starts again; bob reads"):
        server.start()
        texts = bob.read()
    check("all three texts, once each, in order", texts == TEXTS)
    check("and what bob had queued went out by itself", alice.read() == ["can you hear me?"])


IDS = """
    SELECT account.id, device.id FROM account JOIN device ON device.account = account.id
    WHERE account.name = ?
"""


def _look_at_disk(server: Server, sender: Person) -> None:
    """Every file, and every column of every waiting envelope."""
    with Step("read every byte that the server has written"):
        disk = b"".join(path.read_bytes() for path in server.data.rglob("*") if path.is_file())
        with closing(server.database()) as database:
            envelopes = database.execute("SELECT * FROM envelope").fetchall()
            records = database.execute("SELECT * FROM seen").fetchall()
            ids = database.execute(IDS, (sender.name,)).fetchone()
    check("three envelopes wait", len(envelopes) == len(TEXTS))
    (*_, header, body) = envelopes[0]
    show(
        f"header, {len(header):,} bytes: {header[:40].hex(' ')} ...",
        f"body,   {len(body):,} bytes: {body[:40].hex(' ')} ...",
    )
    check("no text is anywhere in the files", not any(text.encode() in disk for text in TEXTS))
    stored = b"".join(column for row in envelopes + records for column in row if isinstance(column, bytes))
    needles = [sender.name.encode(), *ids, *(each.hex().encode() for each in ids)]
    check(
        "no envelope, and no record of one, names its sender: no account, no device, no name",
        not any(each in stored for each in needles),
    )


def _compare_numbers(alice: Person, bob: Person) -> None:
    chapter("Is it really bob?")
    with Step("both show their safety number"):
        (hers,) = alice.run("verify", "bob")
        (his,) = bob.run("verify", "alice")
    check(
        "the same sixty digits",
        hers["safety_number"] == his["safety_number"] and len(hers["safety_number"]) == 60,
    )
    show(*_rows(hers["safety_number"]))
    with Step("alice marks bob verified"):
        (contact,) = alice.run("verify", "bob", "--confirm")
    check("verified", _knows(contact, bob, "verified"))


def _rows(digits: str) -> Iterator[str]:
    for at in range(0, 60, 20):
        yield " ".join(digits[at + group : at + group + 5] for group in range(0, 20, 5))


def _swap_keys(folder: Path, server: Server, bob: Person) -> None:
    chapter("The server hands out other keys in bob's name")
    carol = Person(folder, "carol")
    with Step("carol joins; she has got bob's link from himself"):
        carol.join(server.invitation)
    with Step("the server's operator puts alice's device list in the place of bob's"):
        manifest = _swap(server, "manifest", "manifest")
        refused = carol.attempt("contacts", "add", bob.link)
    check("carol's machine refuses it, exit code 11", refused.code == 11)
    check("and knows no bob", carol.run("contacts", "list") == [])
    with Step("then the list of bob's own, and alice's key for first messages"):
        _put(server, "manifest", "manifest", manifest)
        seal_key = _swap(server, "device_key", "seal_key")
        refused = carol.attempt("contacts", "add", bob.link)
    check("refused, exit code 11", refused.code == 11)
    alarms = carol.attempt("read")
    check("both are alarms, exit code 11, until she has seen them", alarms.complaint.count("ALARM") == 2)
    show(*alarms.complaint.splitlines())
    with Step("with bob's own keys back in their place, carol adds him and writes"):
        _put(server, "device_key", "seal_key", seal_key)
        carol.run("contacts", "add", bob.link)
        carol.send("bob", "for bob only")
    check("bob has it", bob.read() == ["for bob only"])


ROWS = {
    "manifest": "account = (SELECT id FROM account WHERE name = ?)",
    "device_key": "device = (SELECT number FROM device JOIN account ON account.id = account WHERE name = ?)",
}
"""Whose row it is, in each table."""


def _swap(server: Server, table: str, column: str) -> bytes:
    """Give alice's out as bob's; what bob's was."""
    value = f"SELECT {column} FROM {table} WHERE {ROWS[table]}"
    server.stop()
    with closing(server.database()) as database:
        (hers,), (his,) = (database.execute(value, (name,)).fetchone() for name in ("alice", "bob"))
    _put(server, table, column, hers)
    return bytes(his)


def _put(server: Server, table: str, column: str, value: bytes) -> None:
    """Write something into bob's row, and start the server on it."""
    server.stop()
    with closing(server.database()) as database:
        database.execute(f"UPDATE {table} SET {column} = ? WHERE {ROWS[table]}", (value, "bob"))
    server.start()
