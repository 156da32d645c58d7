"""Any message within its bounds, made from what decoding itself accepts."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, singledispatch
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from hushpost.names import check_name, check_name_part
from hushpost.wire.messages import EVENTS, REQUESTS, RESPONSES, GetKeys, Message

MESSAGES: tuple[type[Message], ...] = (*REQUESTS.values(), *RESPONSES.values(), *EVENTS.values())

FEW = 3
"""Items of a list and bytes above the least: enough to go wrong, small enough to be quick."""


def accepted(check: Callable[[str], None], text: str) -> bool:
    try:
        check(text)
    except ValueError:
        return False
    return True


NAMES = st.text(min_size=1, max_size=12).filter(lambda text: accepted(check_name, text))
PARTS = st.text(max_size=FEW).filter(lambda text: accepted(check_name_part, text))
WORDS = st.from_regex(r"\A[a-z0-9]{1,8}(-[a-z0-9]{1,4})?\Z")
TEXT_FIELDS = {"name": NAMES, "prefix": PARTS, "after": PARTS}
ID = st.binary(min_size=16, max_size=16)


@singledispatch
def values(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Whatever a field of this type may hold."""
    raise NotImplementedError(kind)


@values.register
def _(kind: inspect.IntType) -> st.SearchStrategy[Any]:
    assert kind.ge is not None
    assert kind.le is not None
    return st.integers(kind.ge, kind.le)


@values.register
def _(kind: inspect.BytesType) -> st.SearchStrategy[Any]:
    least, most = kind.min_length or 0, kind.max_length
    assert most is not None
    return st.binary(min_size=least, max_size=min(most, least + FEW))


@values.register
def _(kind: inspect.Metadata) -> st.SearchStrategy[Any]:
    assert kind.extra is not None
    size = kind.extra["or_empty"]
    return st.just(b"") | st.binary(min_size=size, max_size=size)


@values.register
def _(kind: inspect.StrType) -> st.SearchStrategy[Any]:
    return WORDS if kind.pattern else st.text(max_size=FEW)


@values.register
def _(kind: inspect.ListType) -> st.SearchStrategy[Any]:
    return st.lists(values(kind.item_type), min_size=kind.min_length or 0, max_size=FEW)


@values.register
def _(kind: inspect.DictType) -> st.SearchStrategy[Any]:
    return st.dictionaries(values(kind.key_type), values(kind.value_type), max_size=FEW)


@values.register
def _(kind: inspect.UnionType) -> st.SearchStrategy[Any]:
    return st.one_of(*map(values, kind.types))


@values.register
def _(_: inspect.BoolType) -> st.SearchStrategy[Any]:
    return st.booleans()


@values.register
def _(_: inspect.NoneType) -> st.SearchStrategy[Any]:
    return st.none()


@values.register
def _(kind: inspect.StructType) -> st.SearchStrategy[Any]:
    return structs(kind.cls)


@lru_cache
def structs(cls: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Any struct of this type; those that contradict themselves are left out."""
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    fields = {each.name: values(each.type) for each in info.fields}
    for each in info.fields:
        if isinstance(each.type, inspect.StrType) and each.name in TEXT_FIELDS:
            fields[each.name] = TEXT_FIELDS[each.name]
    given = st.fixed_dictionaries(fields)
    if cls is GetKeys:
        by_name = st.fixed_dictionaries(fields | {"account": st.just(b""), "name": NAMES})
        given = by_name | st.fixed_dictionaries(fields | {"account": ID, "name": st.just("")})
    return given.map(lambda each: _or_none(cls, each)).filter(lambda made: made is not None)


def _or_none(cls: type[msgspec.Struct], given: dict[str, Any]) -> msgspec.Struct | None:
    try:
        return cls(**given)
    except ValueError:
        return None
