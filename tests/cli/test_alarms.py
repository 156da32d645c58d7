"""What must be seen: a server that gives out other keys, an old copy of a profile, another server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.process import ServerProcess, post_server
from hushpost import sql
from tests.cli.members import Member, Place, invitation
from tests.cli.shells import Shell

MANIFEST = "SELECT manifest FROM manifest JOIN account ON account = id WHERE name = ?"
PUT_MANIFEST = "UPDATE manifest SET manifest = ? WHERE account = (SELECT id FROM account WHERE name = ?)"
DEVICE = "SELECT number FROM device JOIN account ON account.id = account WHERE name = ?"
SEAL_KEY = f"SELECT seal_key FROM device_key WHERE device = ({DEVICE})"
PUT_SEAL_KEY = f"UPDATE device_key SET seal_key = ? WHERE device = ({DEVICE})"


class Forger:
    """A server whose operator changes its database when nobody looks."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._process = ServerProcess(post_server(data))
        self.place = Place(self._process, data, invitation(data))

    def swap(self, value: str, put: str, names: tuple[str, str]) -> None:
        """Give out what is the first one's in the name of the second."""
        self.stop()
        with closing(sql.connect(self._data / "post.db")) as database:
            (stolen,) = database.execute(value, (names[0],)).fetchone()
            database.execute(put, (stolen, names[1]))
        self._process = ServerProcess(post_server(self._data, port=self._process.address[1]))

    def stop(self) -> None:
        self._process.stop()


@pytest.fixture
def forger(tmp_path: Path) -> Iterator[Forger]:
    server = Forger(tmp_path / "post-office")
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        ((MANIFEST, PUT_MANIFEST), "a device list of this person that is not theirs"),
        ((SEAL_KEY, PUT_SEAL_KEY), "a key that is not this person's"),
    ],
    ids=["manifest", "seal-key"],
)
def test_keys_of_somebody_else_are_refused_and_shown(
    forger: Forger, shell: Shell, tmp_path: Path, statements: tuple[str, str], words: str
) -> None:
    alice, bob, carol = (forger.place.member(shell, tmp_path / name) for name in ("alice", "bob", "carol"))
    forger.swap(*statements, names=(alice.name, bob.name))
    refused = carol("contacts", "add", bob.link)
    assert (refused.code, refused.out) == (11, "")
    assert "ALARM" in refused.err
    assert carol("contacts", "list", "--json").out == ""
    looked = carol("inbox", "--json")
    assert looked.lines[0]["alarms"] == 1
    assert "ALARM" in looked.err
    shown = carol("read")
    assert (shown.code, shown.out) == (11, "")
    assert shown.err.startswith("ALARM: ")
    assert words in shown.err
    again = carol("read")
    assert (again.code, again.err) == (0, "no messages\n")


def test_an_old_copy_is_noticed_sends_nothing_and_is_explained(
    friends: tuple[Member, Member], tmp_path: Path
) -> None:
    alice, bob = friends
    shutil.copytree(bob.home, tmp_path / "backup")
    assert alice("send", bob.name, "one").code == 0
    assert bob("read").code == 0
    old = Member(bob.shell, tmp_path / "backup", bob.name, account=bob.account)
    sent = old("send", alice.name, "from the past")
    assert sent.code == 13
    assert sent.out.startswith("queued")
    assert "old copy" in sent.err
    refused = old("read")
    assert refused.code == 13
    assert "ALARM" in refused.err
    assert "old copy" in refused.err
    assert alice("read", "--json").out == ""
    assert bob("send", alice.name, "from the present").code == 0
    assert [each["text"] for each in alice("read", "--json").lines] == ["from the present"]


def test_another_server_at_the_same_address(shell: Shell, tmp_path: Path) -> None:
    with ServerProcess(post_server(tmp_path / "first")) as first:
        place = Place(first, tmp_path / "first", invitation(tmp_path / "first"))
        alice = place.member(shell, tmp_path / "alice")
    with ServerProcess(post_server(tmp_path / "second", port=first.address[1])):
        shown = alice("read")
        assert shown.code == 11
        assert "ALARM: the server is not the one that the link named" in shown.err
        assert alice("usage").code == 11
