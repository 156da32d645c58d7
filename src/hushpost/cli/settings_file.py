"""Options of servers: a settings file with the options' own names, and limits with a minimum."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import typer

from hushpost.errors import UsageError


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Use the file's keys, named like the options, as defaults: flags and environment win over it."""
    if path is None:
        return None
    known = {name.removeprefix("--") for parameter in context.command.params for name in parameter.opts} - {
        "config",
        "help",
    }
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text())
    except OSError as error:
        why = f"the settings file cannot be read: {error.strerror}"
        raise UsageError(why, hint="name a file with --config") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        hint = "each line is KEY = VALUE, with texts in quotation marks"
        raise UsageError(f"the settings file is not TOML: {error}", hint=hint) from None
    unknown = sorted(set(table) - known)
    if unknown:
        raise UsageError(
            f"the settings file has an unknown key: {unknown[0]}",
            hint="keys are the long options without dashes in front: " + ", ".join(sorted(known)),
        )
    for parameter in context.command.params:
        kind, wanted = _kind(parameter)
        for key in {name.removeprefix("--") for name in parameter.opts} & set(table):
            if type(table[key]) not in kind:
                raise UsageError(
                    f"the settings file's {key} is not {wanted}",
                    hint="docs/reference/server.md has every key",
                )
    context.default_map = {  # by the parameter's name, which need not be the option's
        str(parameter.name): table[key]
        for parameter in context.command.params
        for key in {name.removeprefix("--") for name in parameter.opts} & set(table)
    }
    return path


def _kind(parameter: object) -> tuple[tuple[type, ...], str]:
    """What TOML may give for an option, and how that is called."""
    if getattr(parameter, "is_flag", False):
        return (bool,), "true or false"
    if getattr(parameter, "multiple", False):
        return (list,), 'a list, such as ["...", "..."]'
    if isinstance(getattr(parameter, "default", None), int | float):
        return (int, float), "a number"
    return (str,), "a text in quotation marks"


MOST = 1 << 50
"""Of anything that is counted, or of bytes (1 PiB): far more is a slip, and more than sums can take."""

LONGEST = 86_400.0
"""Seconds of a deadline: a day."""


def limit_of(panel: str, description: str, minimum: float, maximum: float = MOST) -> Any:
    """An option for a limit, shown under the heading `panel`."""
    return typer.Option(min=minimum, max=maximum, callback=_number, help=description, rich_help_panel=panel)


def _number(value: float) -> float:
    """Not-a-number is neither below nor above any bound."""
    if math.isnan(value):
        raise typer.BadParameter("nan is not a number of anything")
    return value
