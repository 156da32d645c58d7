"""A running server of version 3, and people on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.process import ServerProcess, post_server
from tests.cli.members import Member, Place, acquainted, invitation
from tests.cli.shells import Shell


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One server for all: its people have names that nobody else has."""
    data = tmp_path_factory.mktemp("post-office")
    generous = [f"--rate={name}=100000/1" for name in ("registrations", "entering")]
    with ServerProcess(post_server(data, *generous)) as process:
        yield Place(process, data, invitation(data))


@pytest.fixture
def alice(shell: Shell, place: Place, tmp_path: Path) -> Member:
    return place.member(shell, tmp_path / "alice")


@pytest.fixture
def bob(shell: Shell, place: Place, tmp_path: Path) -> Member:
    return place.member(shell, tmp_path / "bob")


@pytest.fixture
def friends(alice: Member, bob: Member) -> tuple[Member, Member]:
    """Alice and Bob, who have exchanged links."""
    acquainted(alice, bob)
    return alice, bob
