"""Folders: their tar stream can be read from any place, and whoever gets it can unpack it."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushpost.client.transfers import folders
from hushpost.client.transfers.folders import FolderSource
from hushpost.client.transfers.sources import SourceChanged
from hushpost.client.transfers.tarstream import MAX_DEPTH, MAX_PATH
from hushpost.client.transfers.unpacking import unpack
from hushpost.errors import UsageError


@pytest.fixture(name="tree", scope="module")
def some_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree")
    (tree / "sub" / "deep").mkdir(parents=True)
    (tree / "a").write_bytes(os.urandom(1_000))
    (tree / "sub" / "exact").write_bytes(os.urandom(1_024))
    (tree / "sub" / "deep" / ("long" * 60)).write_bytes(os.urandom(700))
    (tree / "héllo שלום").write_bytes(b"x")
    (tree / "none").touch()
    (tree / "link").symlink_to("a")
    os.mkfifo(tree / "pipe")
    return tree


def whole(source: FolderSource) -> bytes:
    buffer = bytearray(source.size)
    source.read_into(0, memoryview(buffer))
    return bytes(buffer)


def test_the_stream_is_what_tar_reads(tree: Path, tmp_path: Path) -> None:
    source = FolderSource(tree)
    assert source.left_out == 2
    with tarfile.open(fileobj=io.BytesIO(whole(source))) as archive:
        names = {member.name for member in archive}
        owners = {(member.uid, member.gid, member.uname) for member in archive}
    assert names == {
        ".",
        "a",
        "sub",
        "sub/exact",
        "sub/deep",
        "sub/deep/" + "long" * 60,
        "héllo שלום",
        "none",
    }
    assert owners == {(0, 0, "")}
    packed, target = tmp_path / "x.tar", tmp_path / "x"
    packed.write_bytes(whole(source))
    target.mkdir()
    unpack(packed, target)
    for path in tree.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert (target / path.relative_to(tree)).read_bytes() == path.read_bytes()


@settings(deadline=None)
@given(st.data())
def test_any_piece_is_that_of_the_whole(tree: Path, data: st.DataObject) -> None:
    source = FolderSource(tree)
    begin = data.draw(st.integers(0, source.size))
    buffer = memoryview(bytearray(data.draw(st.integers(0, source.size - begin))))
    source.read_into(begin, buffer)
    assert bytes(buffer) == whole(source)[begin : begin + len(buffer)]


def test_every_change_inside_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / "file"
    file.write_text("one")
    source = FolderSource(folder)
    source.check()
    os.utime(file, ns=(1, 1))
    with pytest.raises(SourceChanged):
        source.check()
    source = FolderSource(folder)
    (folder / "other").touch()
    with pytest.raises(SourceChanged):
        source.check()
    source = FolderSource(folder)
    file.write_text("")
    with pytest.raises(SourceChanged):
        whole(source)
    file.unlink()
    with pytest.raises(SourceChanged):
        whole(source)


def below(folder: Path, *names: str) -> Path:
    """A folder with folders in each other."""
    folder.joinpath(*names).mkdir(parents=True)
    return folder


def test_what_is_as_deep_as_can_be_sent_is_unpacked(tmp_path: Path) -> None:
    deepest, longest = ["d"] * MAX_DEPTH, ["n" * 255] * 11 + ["n" * 128, "n" * 127]
    assert len("/".join(longest)) == MAX_PATH
    for number, names in enumerate((deepest, longest)):
        source = FolderSource(below(tmp_path / f"{number}", *names))
        packed, target = tmp_path / f"{number}.tar", tmp_path / f"{number}.unpacked"
        packed.write_bytes(whole(source))
        target.mkdir()
        unpack(packed, target)
        assert target.joinpath(*names).is_dir()


@pytest.mark.parametrize("names", [["d"] * (MAX_DEPTH + 1), ["n" * 255] * 11 + ["n" * 128] * 2])
def test_what_is_too_deep_is_not_sent(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(UsageError, match="too deep"):
        FolderSource(below(tmp_path / "folder", *names))


def test_so_many_entries_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MAX_ENTRIES", 3)
    for name in ("a", "b"):
        (tmp_path / name).touch()
    FolderSource(tmp_path)
    (tmp_path / "c").touch()
    with pytest.raises(UsageError, match="more than 3 entries"):
        FolderSource(tmp_path)


@pytest.mark.parametrize("other", [b"a\x02", b"a_", b"a\xff", "a\u202e".encode()])
def test_names_that_would_become_one_are_noticed_by_the_sender(tmp_path: Path, other: bytes) -> None:
    """Whoever receives them could not tell them apart."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a\1").touch()
    FolderSource(tmp_path)
    os.mkdir(os.fsencode(tmp_path / "sub") + b"/" + other)
    with pytest.raises(UsageError, match="unsafe characters"):
        FolderSource(tmp_path)


def test_a_file_that_cannot_be_read_is_told_when_the_sending_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").touch(0o000)

    def access(path: os.DirEntry[str], _: int) -> bool:
        return path.name != "secret"

    monkeypatch.setattr(os, "access", access)  # these tests may be run by root, who can read everything
    with pytest.raises(PermissionError, match="Permission denied"):
        FolderSource(tmp_path)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EACCES, UsageError("a file in the folder cannot be read: Permission denied")),
        (errno.EIO, UsageError("a file in the folder cannot be read: Input/output error")),
        (errno.ENOENT, SourceChanged()),
        (errno.ELOOP, SourceChanged()),
    ],
)
def test_a_file_that_cannot_be_read_any_more_is_told_for_the_true_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: Exception
) -> None:
    (tmp_path / "file").write_text("x")
    source = FolderSource(tmp_path)

    def failing(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(type(error), match=str(error)):
        whole(source)
