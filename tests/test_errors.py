"""The exception tree: one base, one exit code each, and the drawing in the docstring is the code."""

from __future__ import annotations

import inspect
import re

import pytest

from hushpost import errors
from hushpost.errors import ExitCode, HushpostError, StoreFull

ERRORS = sorted(
    (cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, HushpostError)),
    key=lambda cls: cls.__name__,
)


def drawn() -> dict[str, int]:
    """The tree of the module's docstring: class name -> exit code."""
    tree: dict[str, int] = {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"[\s│├└─]+((?:[A-Z]\w+(?:, )?)+)\s+(\d+)(?:\s|$)", line):
            tree |= dict.fromkeys(match[1].split(", "), int(match[2]))
    return tree


def test_the_drawing_shows_every_error_with_its_exit_code() -> None:
    assert drawn() == {cls.__name__: int(cls.exit_code) for cls in ERRORS}


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_is_one_sentence_and_a_way_out(error: type[HushpostError]) -> None:
    assert (str(error("it broke")), error("it broke").hint) == ("it broke", "")
    assert error("it broke", hint="mend it").hint == "mend it"
    assert error.exit_code is not ExitCode.OK
    assert error.__doc__


def test_full_tells_when_to_try_again() -> None:
    assert StoreFull("no room").retry_after == 60
    assert StoreFull("no room", retry_after=5, hint="delete").retry_after == 5


def test_exit_codes_are_distinct_and_fit_a_shell() -> None:
    assert len(set(ExitCode)) == len(ExitCode.__members__)
    assert all(0 <= code <= 255 for code in ExitCode)
