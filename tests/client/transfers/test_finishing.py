"""The last step of a download: a name is taken in one step, over nothing, and a crash between is healed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hushpost.client.transfers.claims import Claim, is_claimed
from hushpost.client.transfers.finishing import finish_file, finish_folder, was_finished
from hushpost.client.transfers.folders import FolderSource, UnsafeFolder
from hushpost.client.transfers.naming import Place, partial_in
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
    raise PermissionError("this file system has no hard links")


@pytest.mark.parametrize("has_links", [True, False])
def test_whoever_takes_the_name_meanwhile_keeps_it(
    tmp_path: Path, partial: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", no_links)
    noted: list[str] = []

    def note(final: str) -> None:
        noted.append(final)
        if len(noted) == 1:
            Path(final).write_text("mine")

    final = finish_file(partial, here(tmp_path), "a.txt", note)
    assert noted == [str(tmp_path / "a.txt"), str(tmp_path / "a (2).txt")]
    assert (tmp_path / "a.txt").read_text() == "mine"
    assert final.read_bytes() == b"whole"
    assert not partial.exists()


def test_a_wanted_name_that_is_taken_meanwhile(tmp_path: Path, partial: Path) -> None:
    def note(final: str) -> None:
        Path(final).write_text("mine")

    with pytest.raises(UsageError):
        finish_file(partial, here(tmp_path, "w"), "a", note)
    assert (tmp_path / "w").read_text() == "mine"
    assert partial.read_bytes() == b"whole"


def test_a_crash_between_the_two_names_of_a_file(tmp_path: Path, partial: Path) -> None:
    final = tmp_path / "a"
    assert not was_finished(partial, final, is_folder=False)
    os.link(partial, final)
    assert was_finished(partial, final, is_folder=False)
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    assert was_finished(partial, final, is_folder=False)


def test_somebody_elses_file_is_not_ours(tmp_path: Path, partial: Path) -> None:
    (tmp_path / "a").write_text("mine")
    assert not was_finished(partial, tmp_path / "a", is_folder=False)


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
    final = finish_folder(partial, here(place), "things", lambda _: None)
    assert final == place / "things (2)"
    assert (final / "file").read_text() == "x"
    assert not partial.exists()


def test_of_a_folder_that_is_none_nothing_is_left(tmp_path: Path, partial: Path) -> None:
    with pytest.raises(UnsafeFolder):
        finish_folder(partial, here(tmp_path), "things", lambda _: None)
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
