"""The direction table of the architecture, kept by reading every import of the package.

An import counts wherever it stands: at the top, inside a function, or for the type checker only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hushpost

ROOT = "hushpost"
PACKAGE = Path(hushpost.__path__[0])

ROWS = (
    {"__main__"},
    {"cli"},
    {"app", "tui", "web"},
    {"server", "client", "classic"},
    {"stores", "settings"},
    {"wire", "crypto", "sql"},
    {"ids", "names", "filenames", "untrusted"},
    {"errors", "invisible", "directio"},
)
"""A name imports only from rows below its own; the names of one row do not import each other."""

RANK = {name: rank for rank, row in enumerate(ROWS) for name in row}

ANYBODY = tuple(RANK)
SERVING = ("server", "stores", "classic.server")

FENCES = (
    ("stores.base", ANYBODY, ""),
    (
        "sql",
        ("stores", "client", "classic.server.oldserver"),
        "only for stores, the client's database, and the reader of an old server's",
    ),
    ("stores", ("stores", "app"), "only app.py knows concrete stores"),
    ("server", ("server", "app"), "only app.py joins what serves"),
    ("classic.server", ("classic.server", "app"), "only app.py joins what serves"),
    ("classic.crypto", ("classic",), "the old ciphers stay in their room"),
)
"""What is guarded, who may import it, and the rule; the first that fits counts."""

DENIALS = (
    (SERVING, "classic.crypto", "the server's side cannot decrypt"),
    (SERVING, "classic.client", "the server's side knows no client"),
    (SERVING, "crypto", "the server's side sees nothing of crypto but signature checks"),
    (("client",), "stores", "the client keeps its own database and knows no server"),
    (("client",), "server", "the client keeps its own database and knows no server"),
)
"""Who may not import what."""

SIGNATURE_CHECKS = ("crypto.identity", "crypto.prekeys")
"""All that the server's side may see of `crypto`: it cannot decrypt."""

IO_AND_CLOCK = {
    "asyncio", "concurrent", "io", "multiprocessing", "pathlib", "random", "select", "selectors", "shutil",
    "socket", "sqlcipher3", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "uvloop",
}  # fmt: skip
BANNED = {"sqlite3"}
"""The interpreter's own SQLite may be one that can corrupt databases; `sql` has a newer one."""

RANDOMNESS = {"os", "secrets", "uuid"}

HOMES = {
    "blake3": ("crypto.filekeys", "crypto.filestream", "stores.post"),
    "cryptography": ("crypto.primitives", "classic.crypto"),
    "keyring": ("client.keychain",),
    "nats": ("stores.jetstream",),
    "sqlcipher3": ("sql",),
    "starlette": ("web",),
    "textual": ("tui",),
    "typer": ("cli",),
    "uvicorn": ("web",),
    "vodozemac": ("crypto.ratchet",),
}
"""Libraries that are imported in one place only, so that they can be left out or replaced."""


def within(name: str, *rooms: str) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def imports(module: str, tree: ast.AST, *, is_package: bool) -> Iterator[str]:
    """The full dotted name of everything that `module` (named from the root) imports."""
    here = f"{ROOT}.{module}".split(".")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = here[: len(here) - node.level + is_package] if node.level else []
            base = ".".join([*up, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def complaints(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """What a module (named from the root: "stores.sqlite") imports against the rules."""
    found: list[str] = []
    for name in imports(module, ast.parse(source), is_package=is_package):
        inside = name.removeprefix(f"{ROOT}.")
        rules = outward(module, name) if inside == name else inward(module, inside)
        found += [f"{module} imports {name}: {rule}" for rule in rules]
    return found


def inward(module: str, other: str) -> Iterator[str]:
    """Rules for an import of `hushpost.<other>`."""
    room, target = module.split(".", maxsplit=1)[0], other.split(".", maxsplit=1)[0]
    if target == "__version__":
        return
    if room not in RANK or target not in RANK:
        yield "a name that the direction table does not know"
        return
    if room != target and RANK[target] <= RANK[room]:
        yield "only rows below its own"
    fences = [(insiders, rule) for guarded, insiders, rule in FENCES if within(other, guarded)]
    if fences and not within(module, *fences[0][0]):
        yield fences[0][1]
    for who, what, rule in DENIALS:
        if within(module, *who) and within(other, what) and not within(other, *SIGNATURE_CHECKS):
            yield rule


def outward(module: str, name: str) -> Iterator[str]:
    """Rules for an import from outside the package."""
    library = name.split(".", maxsplit=1)[0]
    if within(module, "wire", "crypto"):
        if library in IO_AND_CLOCK:
            yield "no input, output or clock here"
        if library in RANDOMNESS and module != "crypto.primitives":
            yield "randomness only through crypto/primitives.py"
    if library in BANNED:
        yield "never: there is a better one"
    if library in HOMES and not within(module, *HOMES[library]):
        yield f"only in {' and '.join(HOMES[library])}"


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if name := ".".join(parts).removesuffix("__init__").removesuffix("."):
            yield name, path


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda value: str(value).rsplit("/", 1)[-1])
def test_every_import_keeps_the_rules(module: str, path: Path) -> None:
    assert complaints(module, path.read_text(), is_package=path.stem == "__init__") == []


def test_the_package_itself_imports_nothing_heavy() -> None:
    """Whoever asks for `hushpost.__version__` must not load a server."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    names = list(imports("__init__", tree, is_package=False))
    assert [name for name in names if within(name, f"{ROOT}.app", f"{ROOT}.server", f"{ROOT}.stores")] == []


@pytest.mark.parametrize(
    ("module", "source", "rule"),
    [
        ("wire.frames", "from hushpost.stores import base", "rows below"),
        ("wire.frames", "from hushpost.crypto import identity", "rows below"),
        ("wire", "from ..stores.base import Store", "rows below"),
        ("errors", "from hushpost import ids", "rows below"),
        ("server.net", "import hushpost.classic.payloads", "rows below"),
        ("classic.client.requests", "def f():\n    from hushpost.client import api", "rows below"),
        ("settings", "from hushpost.stores.base import StoreLimits", "rows below"),
        ("stores.sqlite", "from hushpost.settings import Settings", "rows below"),
        ("server.net", "from ..cli import main", "rows below"),
        ("brand_new", "from hushpost import errors", "does not know"),
        ("stores.base", "from hushpost.crypto.seal import open_envelope", "signature checks"),
        ("server.handlers", "from hushpost.crypto import primitives", "signature checks"),
        ("classic.server.gateway", "from hushpost.stores import sqlite", "concrete stores"),
        ("classic.server.gateway", "from hushpost.stores.memory import MemoryStore", "concrete stores"),
        ("cli.serve", "import hushpost.stores", "concrete stores"),
        ("cli.serve", "from hushpost.stores import *", "concrete stores"),
        ("cli.classic", "from hushpost.classic.server.gateway import Gateway", "joins what serves"),
        ("cli.serve", "from hushpost.server.net import listen", "joins what serves"),
        ("cli.classic", "from hushpost.classic import crypto", "old ciphers"),
        ("classic.server.gateway", "from hushpost.classic import crypto", "cannot decrypt"),
        ("client.store", "from hushpost.stores import base", "knows no server"),
        ("wire.frames", "import asyncio.events", "no input, output or clock"),
        ("wire.frames", "import time", "no input, output or clock"),
        ("crypto.seal", "import random", "no input, output or clock"),
        ("crypto.seal", "from os import urandom", "only through crypto/primitives"),
        ("crypto.envelope", "import vodozemac", "only in crypto.ratchet"),
        ("server.handlers", "from hushpost.crypto import seal", "signature checks"),
        ("crypto.seal", "from cryptography.hazmat import primitives", "only in crypto.primitives"),
        ("classic.client.requests", "import cryptography", "only in crypto.primitives"),
        ("stores.sqlite", "from sqlcipher3 import dbapi2", "only in sql"),
        ("classic.server.importer", "import sqlite3", "never"),
        ("classic.server.gateway", "from hushpost import sql", "only for stores"),
        ("cli.main", "import textual", "only in tui"),
        ("stores.sqlite", "import nats", "only in stores.jetstream"),
        ("classic.client.menu", "import typer", "only in cli"),
    ],
)
def test_each_rule_can_fail(module: str, source: str, rule: str) -> None:
    found = complaints(module, source, is_package="." not in module)
    assert any(rule in complaint for complaint in found), found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "app",
            "from hushpost.stores import sqlite\nfrom hushpost.classic.server.gateway import Gateway",
        ),
        ("app", "from hushpost.server import net"),
        ("stores.sqlite", "from hushpost import sql\nfrom .base import Store\nimport threading, os"),
        ("stores", "from .base import Store"),
        ("sql", "from sqlcipher3 import dbapi2"),
        ("classic.server.oldserver", "from hushpost import sql"),
        ("server.handlers", "from hushpost.crypto.identity import verify"),
        (
            "classic.server.gateway",
            "from hushpost.stores.base import Store\nfrom hushpost.classic import payloads\nimport asyncio",
        ),
        ("classic.client.requests", "from hushpost.classic import crypto"),
        ("crypto.primitives", "import os\nfrom cryptography import x509"),
        ("cli.main", "from hushpost import __version__\nfrom hushpost import app\nimport typer"),
        ("wire.frames", "import struct\nimport msgspec\nfrom hushpost.errors import ProtocolError"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert complaints(module, source, is_package="." not in module) == []
