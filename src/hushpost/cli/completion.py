"""What the shell completes: the names of people, as far as they can be had without asking anybody."""

from __future__ import annotations

from typing import Annotated

import typer

from hushpost.cli.desk import Desk


def complete_contact(context: typer.Context, incomplete: str) -> list[str]:
    """Names that begin so. None where the profile does not open by itself: a key press must not ask."""
    from hushpost.errors import HushpostError
    from hushpost.untrusted import printable

    try:
        people = Desk(context).run(lambda client: client.contacts(), unattended=True)
    except (HushpostError, OSError):
        return []
    names = [each.shown for each in people]
    return [name for name in names if name.startswith(incomplete) and printable(name) == name]


Who = Annotated[
    str,
    typer.Argument(
        metavar="WHO", help="A contact: name, alias, or account id.", autocompletion=complete_contact
    ),
]
