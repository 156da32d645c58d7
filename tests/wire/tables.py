"""The tables of docs/spec/wire.md, made of the code. They stand between marks in a page written by hand.

`python -m tests.wire.record` writes them anew.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from functools import singledispatch
from pathlib import Path

import msgspec
from msgspec import inspect as mi

from hushpost.wire import limits
from hushpost.wire.messages import (
    ANSWERS,
    CARRYING,
    EVENTS,
    Error,
    Message,
    Part,
    RequestMessage,
    ResponseMessage,
)
from hushpost.wire.states import SENDS, TRANSITIONS, Role, State

PAGE = Path(__file__).parents[2] / "docs" / "spec" / "wire.md"
MARK = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

# --- fields


@singledispatch
def shape(kind: mi.Type) -> str:
    """What a field holds, in words."""
    raise NotImplementedError(kind)


@shape.register
def _(kind: mi.IntType) -> str:
    assert kind.le is not None
    if kind.ge:
        return f"{kind.ge:,} to {kind.le:,}"
    return f"u{(kind.le + 1).bit_length() - 1}"


@shape.register
def _(kind: mi.BytesType) -> str:
    least, most = kind.min_length or 0, kind.max_length
    assert most is not None
    return f"{most:,} bytes" if least == most else f"{least:,} to {most:,} bytes"


@shape.register
def _(kind: mi.Metadata) -> str:
    assert kind.extra is not None
    return f"{kind.extra['or_empty']} bytes, or none"


@shape.register
def _(kind: mi.StrType) -> str:
    assert kind.max_length is not None
    return f"{'word' if kind.pattern else 'text'}, to {kind.max_length:,} characters"


@shape.register
def _(kind: mi.BoolType) -> str:
    return "boolean"


@shape.register
def _(kind: mi.NoneType) -> str:
    return "nil"


@shape.register
def _(kind: mi.UnionType) -> str:
    return " or ".join(shape(each) for each in kind.types)


@shape.register
def _(kind: mi.ListType) -> str:
    least, most = kind.min_length or 0, kind.max_length
    assert most is not None
    return f"array of {least} to {most:,}: {shape(kind.item_type)}"


@shape.register
def _(kind: mi.DictType) -> str:
    assert kind.max_length is not None
    return f"map of 0 to {kind.max_length:,}: {shape(kind.key_type)} -> {shape(kind.value_type)}"


@shape.register
def _(kind: mi.StructType) -> str:
    return f"`{kind.cls.__name__}`"


def default(field: mi.Field) -> str:
    """What is meant where the field is missing; empty: it must be there."""
    if field.required:
        return ""
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return {"b''": "none", "[]": "empty", "None": "nil", "False": "false"}.get(repr(value), repr(value))


def said(cls: type[msgspec.Struct]) -> tuple[str, dict[str, str]]:
    """The first part of its docstring, and what it says about fields."""
    text, _, about = inspect.cleandoc(cls.__doc__ or "").partition("\nAttributes:\n")
    fields: dict[str, str] = {}
    for name, rest in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", about, re.MULTILINE):
        fields[name] = " ".join(rest.split())
    return text.strip(), fields


def field_table(cls: type[msgspec.Struct]) -> Iterator[str]:
    info = mi.type_info(cls)
    assert isinstance(info, mi.StructType)
    if not info.fields:
        yield "No fields."
        return
    _, about = said(cls)
    yield "| field | holds | if missing | |"
    yield "|---|---|---|---|"
    for field in info.fields:
        if issubclass(cls, RequestMessage) and field.name == "number":
            about.setdefault("number", "of this request")
        elif issubclass(cls, ResponseMessage) and field.name == "number":
            about.setdefault("number", "of the request that this answers")
        yield f"| `{field.name}` | {shape(field.type)} | {default(field)} | {about.get(field.name, '')} |"


# --- what stands between the marks


def messages() -> Iterator[str]:
    for request, answer in ANSWERS.items():
        yield from _message(request)
        yield from _message(answer)
    yield from _message(Error)
    for event in EVENTS.values():
        yield from _message(event)


def _message(cls: type[Message]) -> Iterator[str]:
    yield f"### {cls.CODE} {cls.__name__}\n"
    yield f"{said(cls)[0]}\n"
    if cls.CODE in CARRYING:
        yield "Carries [data](#data).\n"
    yield from field_table(cls)
    yield ""
    for part in _parts(cls):
        yield f"`{part.__name__}`: {said(part)[0]}\n"
        yield from field_table(part)
        yield ""


def _parts(cls: type[Message]) -> Iterator[type[Part]]:
    info = mi.type_info(cls)
    assert isinstance(info, mi.StructType)
    for field in info.fields:
        if isinstance(field.type, mi.ListType) and isinstance(field.type.item_type, mi.StructType):
            part = field.type.item_type.cls
            assert issubclass(part, Part)
            yield part


def codes() -> Iterator[str]:
    yield "| request | code | answer | code |"
    yield "|---|---:|---|---:|"
    for request, answer in ANSWERS.items():
        names = [f"[{each.__name__}](#{each.CODE}-{each.__name__.lower()})" for each in (request, answer)]
        yield f"| {names[0]} | {request.CODE} | {names[1]} | {answer.CODE} |"


def states() -> Iterator[str]:
    yield "| state | message | from | next state |"
    yield "|---|---|---|---|"
    for state, row in TRANSITIONS.items():
        moved: dict[tuple[Role, State], list[str]] = {}
        for message, following in row.items():
            role = next(role for role, kinds in SENDS.items() if issubclass(message, kinds))
            moved.setdefault((role, following), []).append(message.__name__)
        for (role, following), names in moved.items():
            yield f"| {state.value} | {', '.join(names)} | {role.value} | {following.value} |"
        if not moved:
            yield f"| {state.value} | | | |"


def diagram() -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {State.GREETING.name}"
    for state, row in TRANSITIONS.items():
        for message, following in row.items():
            if following is not state:
                yield f"    {state.name} --> {following.name}: {message.__name__}"
    yield "```"


def limit_table() -> Iterator[str]:
    yield "| limit | | why |"
    yield "|---|---:|---|"
    body = ast.parse(inspect.getsource(limits)).body
    why = ""
    rows: list[tuple[str, str]] = []
    for node in reversed(body):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            why = " ".join(str(node.value.value).split())
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            rows.append((node.targets[0].id, why))
            why = ""
    for name, reason in reversed(rows):
        yield f"| `{name}` | {getattr(limits, name):,} | {reason} |"


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "codes": codes,
    "diagram": diagram,
    "limits": limit_table,
    "messages": messages,
    "states": states,
}


def rendered(text: str) -> str:
    """The page with its tables as the code has them."""

    def fill(match: re.Match[str]) -> str:
        made = "\n".join(TABLES[match[2]]()).strip()
        return f"{match[1]}\n{made}\n\n{match[3]}"

    return MARK.sub(fill, text)
