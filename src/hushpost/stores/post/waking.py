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

    @property
    def idle(self) -> bool:
        """Nobody waits. Whoever subscribes after this was asked finds what was durable before."""
        return not self._subscribers

    def stored(self, envelopes: Iterable[tuple[bytes, int]]) -> None:
        """Wake whoever waits for one of these: mailboxes and sequences."""
        for mailbox, sequence in envelopes:
            for wake in tuple(self._subscribers.get(mailbox, {}).values()):
                wake(sequence)
