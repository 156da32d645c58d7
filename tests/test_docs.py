"""The documents say what the code does: exit codes, errors, commands, options, links, the specification."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import msgspec
import pytest
import typer.main

from hushpost import errors, filenames
from hushpost.cli import app
from hushpost.crypto.content import Card, Introduction, Receipt, ResendRequest, SessionReset, Text
from hushpost.crypto.faults import EnvelopeFault, FileFault
from hushpost.crypto.filelayout import CHUNK, MAX_SIZE, PART, SEALED_CHUNK, SEALED_PART
from hushpost.crypto.identity import ManifestFault, ServerFault
from hushpost.crypto.offer import FileOffer
from hushpost.crypto.prekeys import PrekeyFault
from hushpost.crypto.primitives import Label
from hushpost.errors import ExitCode, HushpostError
from hushpost.server.limits import told
from hushpost.settings import ListenLimits, PostLimits, Rates
from hushpost.stores.base import StoreLimits
from hushpost.wire import limits
from hushpost.wire.messages import (
    EVENTS,
    REQUESTS,
    RESPONSES,
    DeviceKeys,
    ErrorCode,
    ListedAccount,
    Message,
    Recipient,
    RetiredSeal,
    WaitingEnvelope,
)

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CONTENT_PARTS = (Text, Receipt, Card, Introduction, ResendRequest, SessionReset, FileOffer)
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


# --- the specification

SPEC = ROOT / "docs" / "spec"
PARTS: tuple[type[msgspec.Struct], ...] = (
    DeviceKeys,
    ListedAccount,
    Recipient,
    RetiredSeal,
    WaitingEnvelope,
)


def spec(name: str) -> str:
    return (SPEC / f"{name}.md").read_text()


def tables(text: str) -> list[list[str]]:
    """The cells of every row of every table."""
    lines = [line.strip() for line in text.splitlines()]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows]


@pytest.mark.parametrize("cls", [*REQUESTS.values(), *RESPONSES.values(), *EVENTS.values(), *PARTS])
def test_every_message_and_field_is_on_the_page_of_the_wire(cls: type[msgspec.Struct]) -> None:
    text = spec("wire")
    title = f"### {cls.CODE} {cls.__name__}\n" if issubclass(cls, Message) else f"\n`{cls.__name__}`: "
    assert title in text
    section = re.split(r"^##|^`[A-Z]", text.split(title)[1], flags=re.MULTILINE)[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(cls.__struct_fields__)


def test_every_limit_of_the_wire_is_on_its_page() -> None:
    rows = {row[0]: row[1] for row in tables(spec("wire")) if len(row) > 1}
    names = [name for name in vars(limits) if name.isupper()]
    assert {f"`{name}`": f"{getattr(limits, name):,}" for name in names}.items() <= rows.items()


def test_every_number_that_a_server_tells_is_on_the_page() -> None:
    names = told(Rates(), PostLimits(), ListenLimits(), StoreLimits())
    section = spec("wire").split("## Limits of a server")[1]
    assert set(re.findall(r"`([a-z-]+)`", section)) >= set(names)


def test_every_error_code_has_its_row_and_no_other() -> None:
    rows = [row for row in tables(spec("errors")) if row[0].startswith("`")]
    assert [row[0].strip("`") for row in rows] == [code.value for code in ErrorCode]
    assert {len(row) for row in rows} == {5}
    waits = {row[0].strip("`") for row in rows if row[2] == "seconds"}
    assert waits == {"full", "requests-full", "rate-limited", "unavailable"}


@pytest.mark.parametrize(
    ("page_name", "faults"),
    [
        ("keys", ManifestFault),
        ("keys", PrekeyFault),
        ("auth", ServerFault),
        ("envelope", EnvelopeFault),
        ("files", FileFault),
    ],
)
def test_every_check_has_its_row(page_name: str, faults: type[StrEnum]) -> None:
    cells = {cell for row in tables(spec(page_name)) for cell in row}
    named = {word for cell in cells for word in re.findall(r"\b[A-Z_]{3,}\b", cell)}
    assert set(faults.__members__) <= named


@pytest.mark.parametrize(("page_name", "faults"), [("envelope", EnvelopeFault), ("files", FileFault)])
def test_the_checks_of_reading_are_numbered_in_their_order(page_name: str, faults: type[StrEnum]) -> None:
    section = spec(page_name).split("## Reading")[1]
    rows = [row for row in tables(section) if row[0].isdigit()]
    assert [row[0] for row in rows] == [str(number) for number in range(1, len(faults) + 1)]
    assert [row[2] for row in rows] == list(faults.__members__)


def test_the_sizes_of_files_are_on_their_page() -> None:
    text = spec("files")
    sizes = CHUNK, SEALED_CHUNK, PART, SEALED_PART, filenames.MAX_BYTES, filenames.MAX_SUFFIX_BYTES
    assert [size for size in sizes if f"{size:,}" not in text] == []
    assert f"2^{MAX_SIZE.bit_length() - 1}" in text


def test_every_label_has_its_purpose() -> None:
    named = set(re.findall(r"`([a-z-]+)`", spec("keys").split("The purposes:")[1].split("###")[0]))
    assert named == {label.value.decode().split("/")[1] for label in Label}


def test_every_kind_of_content_has_its_row() -> None:
    section = spec("envelope").split("## Padding")[0]
    kinds = {int(number) for number in re.findall(r"^\| (\d+) \| [a-z]", section, re.MULTILINE)}
    assert kinds == {part.KIND for part in CONTENT_PARTS}


def test_the_tests_that_the_threat_model_names_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "threat-model.md").read_text()))
    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert len(named) > 20
    assert named <= written
