"""Profiles: one folder each below the home, whatever they are called, and nobody else reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushpost.client.profiles import ProfileFiles, home_folder, profile_folder, profile_names
from hushpost.errors import ProfileError, UsageError


def test_the_home_is_what_was_asked_for_then_what_the_environment_says(tmp_path: Path) -> None:
    environ = {"HUSH_HOME": str(tmp_path / "environment")}
    assert home_folder(tmp_path, environ) == tmp_path
    assert home_folder(None, environ) == tmp_path / "environment"
    assert home_folder(None, {}).name == "hushpost"
    assert profile_folder(tmp_path, environ=environ) == tmp_path / "default"


@pytest.mark.parametrize("name", ["work", "a.b", "Bob 鮑勃", "a" * 64, "no-reply", "x_1"])
def test_names_that_are_folders(tmp_path: Path, name: str) -> None:
    files = ProfileFiles(profile_folder(tmp_path, name))
    files.make_folder()
    files.key.touch()
    assert profile_names(tmp_path) == [name]


@pytest.mark.parametrize(
    "name",
    ["", "x", "..", ".", ".hidden", "../up", "a/b", "a\\b", "/root", "C:x", "-rf", "a\0b", "a\nb", "~me",
     "$HOME", "a" * 65, " a", "a ", "a\u202eb"],
)  # fmt: skip
def test_names_that_are_not(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no profile can be called so"):
        profile_folder(tmp_path, name)


@given(st.text(max_size=80))
def test_every_name_is_refused_or_one_folder_below_the_home(name: str) -> None:
    home = Path("/home/of/profiles")
    try:
        folder = profile_folder(home, name)
    except UsageError:
        return
    assert folder.parent == home
    assert folder.resolve() == folder


def test_only_profiles_are_listed(tmp_path: Path) -> None:
    assert profile_names(tmp_path / "nothing") == []
    for name, file in [
        ("one", "profile.db"),
        ("two", "profile.key"),
        ("three", "notes"),
        (".git", "profile.db"),
    ]:
        (tmp_path / name).mkdir()
        (tmp_path / name / file).touch()
    (tmp_path / "file").touch()
    assert profile_names(tmp_path) == ["one", "two"]


def test_a_folder_that_others_can_read_is_closed(tmp_path: Path) -> None:
    files = ProfileFiles(tmp_path / "default")
    files.folder.mkdir(mode=0o755)
    files.make_folder()
    assert files.folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProfileError, match="cannot be made"):
        ProfileFiles(tmp_path / "file" / "default").make_folder()
    with pytest.raises(ProfileError, match="cannot be read"):
        profile_names(tmp_path / "file")
