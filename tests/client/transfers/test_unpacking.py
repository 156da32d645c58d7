"""A stranger's folder: nothing leaves it, nothing is overwritten, and it costs no more than it is long."""

from __future__ import annotations

import os
import stat
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from hushpost.client.threads import Stopped
from hushpost.client.transfers import tarstream
from hushpost.client.transfers.tarstream import END, MAX_DEPTH, UnsafeFolder
from hushpost.client.transfers.unpacking import PIECE, unpack
from tests.client.transfers.tars import ITSELF, extension, file, folder, header, mended, pax, stream

MIB = 2**20
GIB = 2**30


@pytest.fixture(name="target")
def empty_folder(tmp_path: Path) -> Path:
    target = tmp_path / "inside" / "x"
    target.mkdir(parents=True)
    return target


def packed(target: Path, raw: bytes, size: int = 0) -> Path:
    """A stream on the disk, with zeros up to a size that take no room there."""
    path = target.parent.parent / "x.tar"
    path.write_bytes(raw)
    if size:
        os.truncate(path, size)
    return path


def deep(count: int) -> bytes:
    return b"".join(folder("/".join(["d"] * depth)) for depth in range(1, count + 1))


LINKS = {
    "a link": [header("link", tarfile.SYMTYPE, link="/etc")],
    "through a link": [header("link", tarfile.SYMTYPE, link=".."), file("link/evil")],
    "a link to a neighbour": [file("a"), header("link", tarfile.SYMTYPE, link="a")],
    "a hard link to a neighbour": [file("a"), header("hard", tarfile.LNKTYPE, link="a")],
    "a hard link": [header("hard", tarfile.LNKTYPE, link="/etc/passwd")],
    "a device": [header("null", tarfile.CHRTYPE)],
    "a block device": [header("disk", tarfile.BLKTYPE)],
    "a pipe": [header("pipe", tarfile.FIFOTYPE)],
    "of a kind that tar takes for a file": [header("a", b"7")],
}
NAMES = {
    "above": [file("../evil")],
    "far above": [folder("a"), file("a/../../../evil")],
    "above, by a pax header": [pax(path="../evil"), file("a")],
    "absolute": [file("/tmp/evil")],
    "no name": [pax(path="/"), folder("a")],
    "a dot": [file(".")],
    "a dot inside": [folder("a"), file("a/./evil")],
    "nothing inside": [folder("a"), file("a//evil")],
    "a file that ends as a folder": [pax(path="a/"), file("a")],
    "a name that no disk takes": [file("a" * 256)],
    "the same twice": [file("a"), file("a")],
    "the same behind what is replaced": [file("a\1"), file("a\2")],
    "a folder twice": [folder("a")] * 60_000,
    "itself twice": [ITSELF],
    "a file as a folder": [file("a"), file("a/b")],
    "a folder over a file": [file("a"), folder("a")],
    "in a folder that is not there": [file("a/b")],
    "in a folder that was left": [folder("a"), folder("b"), file("a/b")],
}
SIZES = {
    "1,500 folders deep": [deep(1_500)],
    "one folder too deep": [deep(MAX_DEPTH + 1)],
    "a path of 1,800 names": [pax(path="d/" * 1_800 + "evil"), file("a")],
    "3,000 pax headers in front of one file": [pax(path="a")] * 3_000 + [file("a")],
    "two pax headers in front of one file": [pax(path="a")] * 2 + [file("a")],
    "3,000 names of GNU tar": [extension(b"a\0", tarfile.GNUTYPE_LONGNAME)] * 3_000 + [file("a")],
    "a pax header for all": [extension(b"12 path=evil\n", tarfile.XGLTYPE), file("a")],
    "a pax header in front of nothing": [pax(path="a")],
    "a pax header that is a little too large": [pax(path="a" * tarstream.MAX_EXTENSION), file("a")],
    "a folder with bytes": [header("a", tarfile.DIRTYPE, 512), bytes(512)],
    "a file of more than there is": [header("a", tarfile.REGTYPE, 2_000)],
    "a size of 16 EiB": [pax(size=str(2**64)), file("a")],
    "a size below zero": [pax(size="-1024"), file("a")],
}
NUMBERS = {
    "a time of 1e300": [pax(mtime="1e300"), file("a")],
    "a time that is no number": [pax(mtime="nan"), file("a")],
    "an endless time": [pax(mtime="inf"), file("a")],
    "an owner that is no number": [pax(uid="x"), file("a")],
    "a sparse map that is none": [pax(GNU_sparse_map="x"), file("a")],
    "sparse numbers that are none": [pax(GNU_sparse_major="1", GNU_sparse_minor="0"), file("a", b"x")],
    "a sparse size that is none": [pax(GNU_sparse_size="x", GNU_sparse_map="0,1"), file("a")],
    "a record without an end": [extension(b"9 path=ab"), file("a")],
    "a record that ends before it begins": [extension(b"3 path=ab\n"), file("a")],
    "a record that says nothing": [pax(path=""), file("a")],
    "a record twice": [extension(b"9 path=a\n9 path=b\n"), file("a")],
    "a record of a length that is none": [extension(b"x path=a\n"), file("a")],
}
BOMBS = {
    "a sparse file of GNU tar": [header("a", tarfile.GNUTYPE_SPARSE, 512), bytes(512)],
    "a sparse file of pax 0.1": [pax(GNU_sparse_size=str(MIB), GNU_sparse_map="0,1"), file("a", b"x")],
    "a sparse file of pax 1.0": [
        pax(GNU_sparse_major="1", GNU_sparse_minor="0", GNU_sparse_name="a", GNU_sparse_realsize=str(MIB)),
        file("a", b"1\n0\n1\n".ljust(512, b"\0") + b"x"),
    ],
}
HOSTILE = LINKS | NAMES | SIZES | NUMBERS | BOMBS


@pytest.mark.parametrize("entries", HOSTILE.values(), ids=HOSTILE)
def test_hostile_folders_are_refused(tmp_path: Path, target: Path, entries: list[bytes]) -> None:
    path, handles = packed(target, stream(*entries)), len(os.listdir("/proc/self/fd"))
    with pytest.raises(UnsafeFolder):
        unpack(path, target)
    assert len(os.listdir("/proc/self/fd")) == handles
    assert not list(tmp_path.rglob("evil"))
    made = list(target.rglob("*"))
    assert all(stat.S_IFMT(each.lstat().st_mode) in {stat.S_IFREG, stat.S_IFDIR} for each in made)
    assert sum(each.stat().st_size for each in made if each.is_file()) <= path.stat().st_size
    assert len(made) <= MAX_DEPTH


NO_STREAMS = {
    "nothing": b"",
    "a text": b"no tar at all",
    "anything": os.urandom(5_000),
    "zeros": bytes(END),
    "not itself first": file("a") + bytes(END),
    "without an end": ITSELF,
    "half an end": ITSELF + bytes(END // 2),
    "more behind the end": stream(file("a")) + bytes(512),
    "something in the end": ITSELF + bytes(END - 1) + b"x",
    "cut in a header": ITSELF[:300],
    "a checksum that is wrong": stream(file("a").replace(b"a", b"b", 1)),
    "a number below zero": stream(file("a").replace(b"0000644", b"-000644", 1)),
}


@pytest.mark.parametrize("raw", NO_STREAMS.values(), ids=NO_STREAMS)
def test_what_is_no_stream_of_a_folder(target: Path, raw: bytes) -> None:
    with pytest.raises(UnsafeFolder):
        unpack(packed(target, raw), target)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_what_a_header_claims_is_not_read_into_memory(target: Path, kind: bytes) -> None:
    path = packed(target, ITSELF + extension(b"", kind, 3 * GIB), 4 * GIB)
    tracemalloc.start()
    try:
        with pytest.raises(UnsafeFolder):
            unpack(path, target)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def test_many_entries_cost_no_memory_and_one_open_each(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However deep they lie: nothing is looked up from the top."""
    deepest = "/".join(["d"] * (MAX_DEPTH - 1))
    raw = stream(deep(MAX_DEPTH - 1), *(file(f"{deepest}/{number}") for number in range(300)))
    path, opened = packed(target, raw), 0
    real = os.open

    def counted(place: str | bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        nonlocal opened
        opened += 1
        return real(place, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", counted)
    tracemalloc.start()
    try:
        unpack(path, target)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert opened == 300 + MAX_DEPTH - 1 + 2
    assert len(os.listdir(target / deepest)) == 300


def test_so_many_entries_and_no_more(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tarstream, "MAX_ENTRIES", 5)
    names = [str(number) for number in range(5)]
    with pytest.raises(UnsafeFolder, match="too many"):
        unpack(packed(target, stream(*map(file, names))), target)
    for name in os.listdir(target):
        (target / name).unlink()
    unpack(packed(target, stream(*map(file, names[:4]))), target)
    assert sorted(os.listdir(target)) == names[:4]


def test_special_modes_and_control_characters_are_tamed(target: Path) -> None:
    persian = "\u0645\u06cc\u200c\u0631\u0648\u0645"  # with a joiner, which belongs there
    special = mended(header("special", tarfile.REGTYPE).replace(b"0000644", b"0006777", 1))
    entries = special, file("bell\a\x1b[2J"), file("run", mode=0o777), file(persian)
    unpack(packed(target, stream(*entries)), target)
    assert set(os.listdir(target)) == {"special", "bell__[2J", "run", persian}
    assert not any(each.stat().st_mode & 0o7022 for each in target.iterdir())
    assert (target / "run").stat().st_mode & 0o100
    assert not (target / "bell__[2J").stat().st_mode & 0o111


def test_a_time_that_no_disk_keeps_is_no_loss(target: Path) -> None:
    unpack(packed(target, stream(pax(mtime="9" * 20), file("a", b"x"), pax(mtime="-5"), file("b"))), target)
    assert (target / "a").read_bytes() == b"x"
    assert (target / "b").stat().st_mtime == -5


def test_a_link_that_is_put_in_the_place_of_a_folder_is_not_followed(tmp_path: Path, target: Path) -> None:
    outside, looks = tmp_path / "outside", 0
    outside.mkdir()

    def swap() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            (target / "sub").rename(target / "moved")
            (target / "sub").symlink_to(outside)

    unpack(packed(target, stream(folder("sub"), file("sub/evil"))), target, swap)
    assert not os.listdir(outside)
    assert os.listdir(target / "moved") == ["evil"]


def test_a_link_that_is_there_already_is_not_followed(tmp_path: Path, target: Path) -> None:
    (tmp_path / "outside").mkdir()
    (target / "sub").symlink_to(tmp_path / "outside")
    (target / "file").symlink_to(tmp_path / "outside" / "evil")
    for entries in ([folder("sub"), file("sub/evil")], [file("file", b"evil")]):
        with pytest.raises(UnsafeFolder):
            unpack(packed(target, stream(*entries)), target)
    assert not os.listdir(tmp_path / "outside")


@pytest.mark.parametrize("looks", [0, 1, 2, 4])
def test_it_can_be_stopped_between_entries_and_within_a_large_file(target: Path, looks: int) -> None:
    left, handles = looks, len(os.listdir("/proc/self/fd"))

    def check() -> None:
        nonlocal left
        if not left:
            raise Stopped
        left -= 1

    path = packed(target, stream(file("large", bytes(3 * PIECE)), file("next")))
    with pytest.raises(Stopped):
        unpack(path, target, check)
    assert len(os.listdir("/proc/self/fd")) == handles
    written = (target / "large").stat().st_size if looks > 1 else 0
    assert written == max(0, looks - 2) * PIECE
    assert not (target / "next").exists()


def test_a_failure_of_our_own_disk_is_told_as_such(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        unpack(target / "gone.tar", target)
    path = packed(target, stream(folder("a")))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(OSError, match="No space"):
        unpack(path, target)
