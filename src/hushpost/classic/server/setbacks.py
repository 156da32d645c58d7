"""What to do about readers that break off again and again.

The original's client gives up at a message that it cannot open and leaves the rest of the answer unread,
which resets the connection, so nothing is deleted, and its next fetch meets the same message: its inbox
would be blocked for ever, by anybody who sends it one bad text. Alone in an answer, the same message is
read to the end. So after some broken deliveries an inbox is handed over message by message, and, as that
succeeds, in growing portions again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from hushpost.ids import MailboxId

PATIENCE = 3
"""Deliveries in a row that may break: lines do, too."""

ONE_MESSAGE = 1
"""Bytes: a portion holds at least one message, however large."""

GROWTH = 1024
"""What a portion grows by with each success: from one message to everything in four steps."""

MAX_INBOXES = 100_000
"""Of which setbacks are remembered. Forgetting one costs its reader some more attempts."""


@dataclass(slots=True)
class _Setback:
    broken: int
    portion: int


class Setbacks:
    """How much of each inbox to hand over at once."""

    def __init__(self, whole: int) -> None:
        """`whole`: bytes of an answer at most, where all is well."""
        self._whole = whole
        self._known: OrderedDict[MailboxId, _Setback] = OrderedDict()

    def portion(self, mailbox: MailboxId) -> int:
        """Bytes of the next answer."""
        setback = self._known.get(mailbox)
        return setback.portion if setback else self._whole

    def happened(self, mailbox: MailboxId) -> None:
        """The reader broke a delivery off."""
        setback = self._known.setdefault(mailbox, _Setback(0, self._whole))
        self._known.move_to_end(mailbox)
        setback.broken += 1
        if setback.broken >= PATIENCE:
            setback.portion = ONE_MESSAGE
        if len(self._known) > MAX_INBOXES:
            self._known.popitem(last=False)

    def overcome(self, mailbox: MailboxId) -> None:
        """The reader took a delivery to the end."""
        setback = self._known.get(mailbox)
        if setback is not None:
            setback.portion *= GROWTH
            if setback.portion >= self._whole:
                del self._known[mailbox]
