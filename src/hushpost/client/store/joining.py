"""A registration that was begun: its exact bytes, so that it can be repeated, and the recovery seed.

Normative text: docs/spec/delivery.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hushpost.client.store.database import Database
from hushpost.crypto.identity import RecoverySeed


@dataclass(frozen=True, slots=True)
class Begun:
    """What was or is about to be sent.

    Attributes:
        request: the registration, encoded; sent again it changes nothing.
        seed: of the recovery phrase, until it was shown; None: the user has it already.
    """

    request: bytes = field(repr=False)
    seed: RecoverySeed | None


class JoiningTable:
    """`t.joining`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def begin(self, begun: Begun) -> None:
        """In place of one that was given up."""
        self._db.run("INSERT OR REPLACE INTO joining VALUES (1, ?, ?)", begun.request, begun.seed)

    def get(self) -> Begun | None:
        """None: nothing was begun, or it is finished and the phrase was shown."""
        row = self._db.row("SELECT request, seed FROM joining")
        if row is None:
            return None
        return Begun(row[0], None if row[1] is None else RecoverySeed(row[1]))

    def finish(self) -> None:
        """The phrase was shown: nothing of it stays."""
        if self._db.changed("DELETE FROM joining"):
            self._db.key_material_went()
