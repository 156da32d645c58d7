"""Who wants to know that something arrived. Lives in the event loop; nothing of it is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hushpost.ids import MailboxId

Wake = Callable[[int], None]


class Wakeups:
    """Subscribers by mailbox."""

    def __init__(self) -> None:
        self._subscribers: dict[bytes, dict[object, Wake]] = {}

    def subscribe(self, mailbox: MailboxId, wake: Wake) -> Callable[[], None]:
        """`SealedPost.subscribe`."""
        ticket = object()
        self._subscribers.setdefault(mailbox, {})[ticket] = wake

        def end() -> None:
            others = self._subscribers.get(mailbox, {})
            others.pop(ticket, None)
            if not others:
                self._subscribers.pop(mailbox, None)

        return end

    def stored(self, mailboxes: Iterable[bytes], sequences: Iterable[int]) -> None:
        """Wake whoever waits for one of these."""
        if not self._subscribers:
            return
        for mailbox, sequence in zip(mailboxes, sequences, strict=True):
            for wake in tuple(self._subscribers.get(mailbox, {}).values()):
                wake(sequence)
