"""A thief of the server's disk: what can be learned, and what cannot."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.process import ServerProcess, post_server
from hushpost import sql
from hushpost.app.post import POST_DATABASE
from hushpost.client.clock import SystemClock
from hushpost.client.values import Delivery
from hushpost.crypto.identity import AccountFingerprint, JoinLink, parse_link
from tests.client.people import Town, befriend, in_time

PAGE = Path(__file__).parents[2] / "docs" / "threat-model.md"
SECRET = "the cat is out of the bag, and nobody may know it"
REQUEST = "a stranger's secret"


@dataclass
class Disk:
    """A server process with everything on its disk."""

    process: ServerProcess
    folder: Path
    link: str

    async def invite(self, inviter: AccountFingerprint | None = None) -> str:
        link = parse_link(self.link)
        assert isinstance(link, JoinLink)
        return self.link


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "server"
    with ServerProcess(post_server(folder), log=tmp_path / "log") as process:
        yield Disk(process, folder, process.next_line().rpartition(" ")[2])


def columns(database: sql.Connection) -> dict[str, list[str]]:
    """Table -> columns, as they are."""
    tables = [
        name
        for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        if not name.startswith("sqlite_")
    ]
    return {
        table: [row[1] for row in database.execute(f"PRAGMA table_info({table})").fetchall()]
        for table in tables
    }


def opened(disk: Disk) -> sql.Connection:
    return sql.connect(disk.folder / POST_DATABASE, "ro")


TABLE_ROW = re.compile(r"^\| (`\w+\.\w+`.*?) \| (.*?) \|$", re.MULTILINE)
"""Of the page: columns, and what a thief learns from them."""


def kind_of(value: object) -> str:
    """What can be said of a value without knowing what it is for."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return {int: "a number", str: "text", type(None): "nothing"}.get(type(value), type(value).__name__)


def shown_to_a_thief(database: sql.Connection) -> Iterator[str]:
    """Every column that holds something: what kind of values they are, and what the page says of them."""
    meanings = {
        column: meaning
        for names, meaning in TABLE_ROW.findall(PAGE.read_text())
        for column in re.findall(r"`(\w+\.\w+)`", names)
    }
    for table, names in sorted(columns(database).items()):
        rows = database.execute(f"SELECT * FROM {table}").fetchall()
        for number, name in enumerate(names):
            column, values = f"{table}.{name}", [row[number] for row in rows]
            if values:
                kinds = sorted({kind_of(each) for each in values})
                told = f"{len(kinds)} kinds, such as {kinds[0]}" if len(kinds) > 3 else ", ".join(kinds)
                yield f"{column:<28} {len(values):>5} x {told:<28} {meanings[column]}"


def test_the_page_names_every_column_that_the_server_keeps(disk: Disk) -> None:
    with closing(opened(disk)) as database:
        kept = {f"{table}.{column}" for table, names in columns(database).items() for column in names}
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\| `\w+\.\w+`", line)]
    assert set(re.findall(r"`(\w+\.\w+)`", "\n".join(rows))) == kept


async def test_a_thief_of_the_servers_disk_finds_no_text_and_no_sender(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUSH_KEY", "file")
    town = Town(tmp_path, disk, SystemClock())
    for name in ("alice", "bob", "mallory"):
        await town.join(name)
    async with town.open("alice", "bob") as (alice, bob):
        to_bob, _ = await befriend(town, alice, bob)
        await in_time(bob.settled())
        senders, bob_himself = [await alice.whoami()], await bob.whoami()
    async with town.open("alice", "mallory") as (alice, mallory):
        waiting = await alice.send(to_bob.account, SECRET)
        await in_time(alice.reached(waiting.id, Delivery.ACCEPTED))
        request = await mallory.send((await mallory.add("bob")).account, REQUEST)
        await in_time(mallory.reached(request.id, Delivery.ACCEPTED))
        senders.append(await mallory.whoami())
    disk.process.kill()

    stolen = b"".join(path.read_bytes() for path in sorted(disk.folder.rglob("*")) if path.is_file())
    for text in (SECRET, REQUEST, "hello to you"):
        assert text.encode() not in stolen
    with closing(opened(disk)) as database:
        kept, table = columns(database), list(shown_to_a_thief(database))
        sys.stdout.write("\n".join(["\nwhat a thief of the server's disk reads:", *table, ""]))  # pytest -s
        numbers: dict[bytes, int] = dict(database.execute("SELECT id, number FROM device").fetchall())
        found = {
            table: database.execute(f"SELECT * FROM {table}").fetchall() for table in ("envelope", "seen")
        }
    mailboxes = [row[kept["envelope"].index("mailbox")] for row in found["envelope"]]
    assert {numbers[bytes(me.device)] for me in (bob_himself,)} == set(mailboxes)
    assert len(mailboxes) >= 2
    assert {len(row[kept["envelope"].index("header")]) for row in found["envelope"]} == {1_648}
    readable = {line.split()[0] for line in table}
    assert readable >= {"account.name", "envelope.mailbox", "envelope.header", "envelope.body"}
    for me in senders:
        for trace in (me.account, me.device, me.link.account):
            for row in found["envelope"] + found["seen"]:
                assert not any(bytes(trace) in value for value in row if isinstance(value, bytes))
