"""Options that every subcommand of a group has, declared once: as the fields of a struct."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar, cast, get_type_hints

import msgspec
import typer

P = ParamSpec("P")
S = TypeVar("S", bound=msgspec.Struct)


AsJson = Annotated[
    bool, typer.Option("--json", help="Say on stdout in JSON what happens, one object a line.")
]
"""Of servers."""


def given(text: str) -> str:
    """A path that an option names. An empty one is the variable of a script that was never set, not `.`."""
    if not text:
        raise typer.BadParameter("it is empty")
    return text


def all_given(texts: list[str] | None) -> list[str] | None:
    """The same, of an option that may be repeated."""
    for text in texts or ():
        given(text)
    return texts


def folder(text: str) -> Path:
    """The same, of a folder."""
    return Path(given(text))


def written(host: str, port: int) -> str:
    """An address as `parse_address` reads it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def command_with(
    app: typer.Typer, kind: type[S], name: str
) -> Callable[[Callable[Concatenate[S, P], None]], None]:
    """Register a subcommand whose first parameter is a `kind`, whose fields become options of it.

    A field of type `typer.Context` gets the context of the call.
    """

    def register(function: Callable[Concatenate[S, P], None]) -> None:
        fields = get_type_hints(kind, include_extras=True)
        empty = inspect.Parameter.empty
        defaults = {
            each.name: empty if each.required else each.default for each in msgspec.structs.fields(kind)
        }

        def run(**given: Any) -> None:
            common = kind(**{name: given.pop(name) for name in fields})
            cast(Callable[..., None], function)(common, **given)

        own = inspect.signature(function, eval_str=True).parameters
        only = inspect.Parameter.KEYWORD_ONLY
        parameters = [parameter.replace(kind=only) for parameter in own.values()][1:] + [
            inspect.Parameter(name, only, default=defaults[name], annotation=hint)
            for name, hint in fields.items()
        ]
        run.__dict__["__signature__"] = inspect.Signature(parameters)
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__doc__ = function.__doc__
        app.command(name)(run)

    return register
