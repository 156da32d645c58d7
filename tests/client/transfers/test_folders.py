"""Folders: their tar stream can be read from any place, and a stranger's is unpacked without any trust."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushpost.client.transfers.folders import FolderSource, UnsafeFolder, unpack
from hushpost.client.transfers.sources import SourceChanged


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


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


HOSTILE = {
    "above": [entry("../evil")],
    "far above": [entry("a/../../../evil")],
    "a link": [entry("link", tarfile.SYMTYPE, "/etc")],
    "through a link": [entry("link", tarfile.SYMTYPE, ".."), entry("link/evil")],
    "a link to a neighbour": [entry("a"), entry("link", tarfile.SYMTYPE, "a")],
    "a hard link to a neighbour": [entry("a"), entry("hard", tarfile.LNKTYPE, "a")],
    "a hard link": [entry("hard", tarfile.LNKTYPE, "/etc/passwd")],
    "a device": [entry("null", tarfile.CHRTYPE)],
    "a block device": [entry("disk", tarfile.BLKTYPE)],
    "a pipe": [entry("pipe", tarfile.FIFOTYPE)],
    "the same twice": [entry("a"), entry("a")],
    "a file as a folder": [entry("a"), entry("a/b")],
}


@pytest.mark.parametrize("entries", HOSTILE.values(), ids=HOSTILE)
def test_hostile_folders_are_refused(tmp_path: Path, entries: list[tarfile.TarInfo]) -> None:
    packed, target = tmp_path / "x.tar", tmp_path / "inside" / "x"
    target.mkdir(parents=True)
    with tarfile.open(packed, "w") as archive:
        for each in entries:
            archive.addfile(each)
    with pytest.raises((UnsafeFolder, OSError)):
        unpack(packed, target)
    assert not list(tmp_path.rglob("evil"))
    assert not any(each.is_symlink() for each in tmp_path.rglob("*"))


def test_absolute_names_and_special_modes_are_tamed(tmp_path: Path) -> None:
    packed, target = tmp_path / "x.tar", tmp_path / "x"
    target.mkdir()
    with tarfile.open(packed, "w") as archive:
        archive.addfile(entry("/tmp-evil", mode=0o6777))
        archive.addfile(entry("bell\a\x1b[2J"))
    unpack(packed, target)
    assert {each.name for each in target.iterdir()} == {"tmp-evil", "bell__[2J"}
    mode = (target / "tmp-evil").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH)


@pytest.mark.parametrize("raw", [b"", b"no tar at all", os.urandom(5_000)])
def test_what_is_no_tar_stream(tmp_path: Path, raw: bytes) -> None:
    packed, target = tmp_path / "x.tar", tmp_path / "x"
    packed.write_bytes(raw)
    target.mkdir()
    with pytest.raises(UnsafeFolder):
        unpack(packed, target)
