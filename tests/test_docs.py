"""The documents say what the code does: exit codes, errors, commands, options, links."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from hushpost import errors
from hushpost.cli import app
from hushpost.errors import ExitCode, HushpostError

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def page(path: Path) -> str:
    """Its text without code blocks: what looks like a link or a heading in them is none."""
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The names under which a page's headings can be linked to."""
    headings = re.findall(r"^#+ (.+)$", page(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path: Path) -> Iterator[str]:
    for link in LINK.findall(page(path)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists():
            yield f"{link}: no such file"
        elif anchor and anchor not in anchors(target):
            yield f"{link}: no such heading"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    assert list(broken_links(path)) == []


def test_broken_links_are_noticed(tmp_path: Path) -> None:
    one = tmp_path / "one.md"
    one.write_text("# A heading\n[a](two.md) [b](#a-heading) [c](#other) [d](https://example.org/x)\n")
    assert list(broken_links(one)) == ["two.md: no such file", "#other: no such heading"]


def documented_exit_codes() -> dict[int, tuple[str, set[str]]]:
    """The table of the reference: code -> its name, and the errors that end with it."""
    rows = re.findall(
        r"^\| (\d+) \| `(\w+)` \|(.*?)\|", (REFERENCE / "exit-codes.md").read_text(), re.MULTILINE
    )
    return {int(code): (name, set(re.findall(r"`(\w+)`", names))) for code, name, names in rows}


def test_the_exit_codes_of_the_reference_are_those_of_the_code() -> None:
    classes = [
        cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, HushpostError)
    ]
    assert documented_exit_codes() == {
        int(code): (code.name, {cls.__name__ for cls in classes if cls.exit_code is code})
        for code in ExitCode
    }


def commands(command: object, words: tuple[str, ...] = ("hush",)) -> Iterator[tuple[str, object]]:
    """Every command that does something or has options, with the words that call it."""
    inner: dict[str, object] = getattr(command, "commands", {})
    if not inner or options(command):
        yield " ".join(words), command
    for name, each in inner.items():
        yield from commands(each, (*words, name))


def options(command: object) -> list[str]:
    """The long names of its options, but for --help, which every command has."""
    names = [name for each in getattr(command, "params", []) for name in (*each.opts, *each.secondary_opts)]
    return [name for name in names if name.startswith("--") and name != "--help"]


COMMANDS = dict(commands(typer.main.get_command(app)))


def headings() -> dict[str, Path]:
    """The commands that the reference has a heading for, and on which page."""
    found: dict[str, Path] = {}
    for path in REFERENCE.glob("*.md"):
        found |= dict.fromkeys(re.findall(r"^#+ `(hush[a-z \-]*)`", path.read_text(), re.MULTILINE), path)
    return found


def test_the_reference_has_every_command_and_no_other() -> None:
    assert sorted(headings()) == sorted(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_option_stands_on_the_page_of_its_command(words: str) -> None:
    text = headings()[words].read_text()
    assert [name for name in options(COMMANDS[words]) if f"`{name}`" not in text] == []


def test_there_are_commands_to_look_for() -> None:
    assert "hush classic serve" in COMMANDS
    assert "--listen" in options(COMMANDS["hush classic serve"])


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "adr" / "README.md").read_text()
    pages = [path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md")]
    assert [name for name in sorted(pages) if f"({name})" not in index] == []
