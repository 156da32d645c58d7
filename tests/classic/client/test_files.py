"""Files that are whole or absent, private, and never overwrite another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hushpost.classic.client.files import remove_unfinished, save_new, write_private


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def pieces(*data: bytes) -> Iterator[memoryview]:
    yield from (memoryview(piece) for piece in data)


def breaking() -> Iterator[memoryview]:
    yield memoryview(b"half")
    raise ValueError("broken")


def test_a_private_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "me.keys"
    write_private(path, b"old")
    write_private(path, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777, names(tmp_path)) == (b"new", 0o600, ["me.keys"])


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "me.keys"
    target.write_bytes(b"untouched")
    path.symlink_to(target)
    write_private(path, b"new")
    assert (target.read_bytes(), path.is_symlink()) == (b"untouched", False)


def test_a_new_file_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "bob-1.bin").write_bytes(b"mine")
    (tmp_path / "bob-1-2.bin").symlink_to(tmp_path / "nowhere")
    path = save_new(tmp_path, "bob-1", ".bin", pieces(b"a", b"bc"))
    assert (path.name, path.read_bytes()) == ("bob-1-3.bin", b"abc")
    assert (tmp_path / "bob-1.bin").read_bytes() == b"mine"
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"):
        save_new(tmp_path / "received", "bob-1", ".bin", breaking())
    assert names(tmp_path / "received") == []


def test_nothing_bears_the_final_name_before_the_end(tmp_path: Path) -> None:
    def watching() -> Iterator[memoryview]:
        yield memoryview(b"half")
        assert not (tmp_path / "bob-1.bin").exists()
        yield memoryview(b"other half")

    assert save_new(tmp_path, "bob-1", ".bin", watching()).name == "bob-1.bin"


def test_leftovers_of_a_killed_process_go_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / ".hush-0123").write_bytes(b"half")
    (tmp_path / "bob-1.bin").write_bytes(b"whole")
    remove_unfinished(tmp_path)
    assert names(tmp_path) == ["bob-1.bin"]
