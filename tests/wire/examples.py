"""One fixed message of each type. Its bytes count upwards, so that swapped fields show."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache, singledispatch
from typing import Any

import msgspec
from msgspec import inspect

from hushpost.wire.messages import GetKeys, Message


@lru_cache
def example(cls: type[Message]) -> Message:
    made = _struct(cls, itertools.count(1))
    assert isinstance(made, Message)
    return made


def _struct(cls: type[msgspec.Struct], counter: Iterator[int]) -> msgspec.Struct:
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    given = {each.name: value(each.type, counter) for each in info.fields}
    if cls is GetKeys:
        given["name"] = ""  # either the account or the name
    return cls(**given)


@singledispatch
def value(kind: inspect.Type, counter: Iterator[int]) -> Any:
    """The next value of this type."""
    raise NotImplementedError(kind)


@value.register
def _(_: inspect.IntType, counter: Iterator[int]) -> Any:
    return next(counter)


@value.register
def _(kind: inspect.BytesType, counter: Iterator[int]) -> Any:
    size = kind.min_length or 1
    start = next(counter)
    return bytes((start + index) & 0xFF for index in range(size if size > 1 else 8))


@value.register
def _(kind: inspect.Metadata, counter: Iterator[int]) -> Any:
    assert kind.extra is not None
    start = next(counter)
    return bytes(range(start, start + kind.extra["or_empty"]))


@value.register
def _(kind: inspect.StrType, _: Iterator[int]) -> Any:
    return "full" if kind.pattern else "Zoë"


@value.register
def _(kind: inspect.ListType, counter: Iterator[int]) -> Any:
    return [value(kind.item_type, counter)]


@value.register
def _(kind: inspect.DictType, counter: Iterator[int]) -> Any:
    return {value(kind.key_type, counter): value(kind.value_type, counter)}


@value.register
def _(kind: inspect.UnionType, counter: Iterator[int]) -> Any:
    return value(kind.types[0], counter)


@value.register
def _(_: inspect.BoolType, _counter: Iterator[int]) -> Any:
    return True


@value.register
def _(kind: inspect.StructType, counter: Iterator[int]) -> Any:
    return _struct(kind.cls, counter)
