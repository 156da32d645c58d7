"""The last step of a download: a name is taken in one step, over nothing, and a crash between is healed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hushpost.client.store import Stamp
from hushpost.client.threads import Stopped
from hushpost.client.transfers.claims import Claim, is_claimed
from hushpost.client.transfers.finishing import discard, finish_file, finish_folder, was_finished
from hushpost.client.transfers.folders import FolderSource
from hushpost.client.transfers.naming import Place, chosen_place, partial_in
from hushpost.client.transfers.tarstream import UnsafeFolder
from hushpost.errors import UsageError
from hushpost.ids import MessageId


@pytest.fixture(name="partial")
def whole_file(tmp_path: Path) -> Path:
    path = partial_in(tmp_path)
    path.write_bytes(b"whole")
    return path


def here(folder: Path, wanted: str = "") -> Place:
    return Place(str(folder), folder, wanted)


def no_links(*_: object, **__: object) -> None:
    raise PermissionError(errno.EPERM, "this file system has no hard links")


def unwatched(_: str, __: Stamp) -> None:
    """A life that is not interrupted need not know."""


def go_on() -> None:
    """Nobody wants it to stop."""


class Died(Exception):
    """The process, in the instant in which it was to note something."""


@pytest.mark.parametrize("has_links", [True, False])
def test_whoever_takes_the_name_meanwhile_keeps_it(
    tmp_path: Path, partial: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", no_links)
    noted: list[str] = []

    def note(final: str, _: Stamp) -> None:
        noted.append(final)
        if len(noted) == 1:
            Path(final).write_text("mine")

    final = finish_file(partial, here(tmp_path), "a.txt", note, go_on)
    assert noted == [str(tmp_path / "a.txt"), str(tmp_path / "a (2).txt")]
    assert (tmp_path / "a.txt").read_text() == "mine"
    assert final.read_bytes() == b"whole"
    assert not partial.exists()


def test_a_wanted_name_that_is_taken_meanwhile(tmp_path: Path, partial: Path) -> None:
    def note(final: str, _: Stamp) -> None:
        Path(final).write_text("mine")

    with pytest.raises(UsageError):
        finish_file(partial, here(tmp_path, "w"), "a", note, go_on)
    assert (tmp_path / "w").read_text() == "mine"
    assert partial.read_bytes() == b"whole"


def noted_and_died(partial: Path, *, is_folder: bool = False) -> tuple[Path, Stamp]:
    """What is in the database when a process is killed before it could give the name."""
    known: list[tuple[Path, Stamp]] = []

    def note(final: str, stamp: Stamp) -> None:
        known.append((Path(final), stamp))
        raise Died

    finish = finish_folder if is_folder else finish_file
    with pytest.raises(Died):
        finish(partial, here(partial.parent), "a", note, go_on)
    return known[0]


def test_a_crash_between_the_two_names_of_a_file(tmp_path: Path, partial: Path) -> None:
    final, stamp = noted_and_died(partial)
    assert not was_finished(partial, final, stamp)
    os.link(partial, final)
    assert was_finished(partial, final, stamp)
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    assert was_finished(partial, final, stamp)


@pytest.mark.parametrize("kept", [True, False])
def test_somebody_elses_file_is_not_ours(tmp_path: Path, partial: Path, kept: bool) -> None:
    """Whether the partial file is there says nothing: its user may have deleted it."""
    final, stamp = noted_and_died(partial)
    final.write_text("mine!")
    if not kept:
        partial.unlink()
    assert not was_finished(partial, final, stamp)
    assert final.read_text() == "mine!"


def packed(folder: Path, target: Path) -> None:
    source = FolderSource(folder)
    buffer = bytearray(source.size)
    source.read_into(0, memoryview(buffer))
    target.write_bytes(buffer)


def test_a_folder_gets_its_name_when_all_of_it_is_there(tmp_path: Path, partial: Path) -> None:
    folder, place = tmp_path / "from", tmp_path / "to"
    folder.mkdir()
    place.mkdir()
    (folder / "file").write_text("x")
    packed(folder, partial)
    (place / "things").mkdir()
    final = finish_folder(partial, here(place), "things", unwatched, go_on)
    assert final == place / "things (2)"
    assert (final / "file").read_text() == "x"
    assert not partial.exists()


def test_a_crash_before_and_behind_the_name_of_a_folder(tmp_path: Path, partial: Path) -> None:
    folder = tmp_path / "from"
    folder.mkdir()
    packed(folder, partial)
    final, stamp = noted_and_died(partial, is_folder=True)
    assert not was_finished(partial, final, stamp)
    final.mkdir()
    assert not was_finished(partial, final, stamp)
    final.rmdir()

    def note(_: str, stamp: Stamp) -> None:
        noted.append(stamp)

    noted: list[Stamp] = []
    assert finish_folder(partial, here(tmp_path), "a", note, go_on) == final
    assert was_finished(partial, final, noted[0])
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "from"]


@pytest.mark.parametrize("is_folder", [True, False])
def test_whoever_is_stopped_gives_no_name(tmp_path: Path, partial: Path, is_folder: bool) -> None:
    folder = tmp_path / "from"
    folder.mkdir()
    (folder / "file").touch()
    if is_folder:
        packed(folder, partial)

    def check() -> None:
        raise Stopped

    finish = finish_folder if is_folder else finish_file
    with pytest.raises(Stopped):
        finish(partial, here(tmp_path), "a", unwatched, check)
    assert sorted(tmp_path.iterdir()) == sorted([folder, partial])
    discard(partial)


def test_a_failure_that_is_none_of_links_is_not_hidden(
    tmp_path: Path, partial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanished(*_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "gone")

    monkeypatch.setattr(os, "link", vanished)
    with pytest.raises(FileNotFoundError):
        finish_file(partial, here(tmp_path), "a", unwatched, go_on)
    assert list(tmp_path.iterdir()) == [partial]


def test_a_folder_stays_a_folder_when_it_is_gone(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    noted = chosen_place(str(inbox)).target
    inbox.rmdir()
    with pytest.raises(UsageError, match="no such folder"):
        chosen_place(noted)
    assert chosen_place(str(inbox)).wanted == "inbox"


def test_of_a_folder_that_is_none_nothing_is_left(tmp_path: Path, partial: Path) -> None:
    with pytest.raises(UnsafeFolder):
        finish_folder(partial, here(tmp_path), "things", unwatched, go_on)
    assert list(tmp_path.iterdir()) == [partial]


def test_a_claim_is_held_by_one(tmp_path: Path) -> None:
    name = MessageId.random()
    one, other = Claim(tmp_path, name), Claim(tmp_path, name)
    assert one.take()
    assert is_claimed(tmp_path, name)
    assert not other.take()
    one.release()
    assert not is_claimed(tmp_path, name)
    assert other.take()
    other.release()
    assert list(tmp_path.iterdir()) == []
