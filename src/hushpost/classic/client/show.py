"""How a received message reads on a terminal."""

from __future__ import annotations

from hushpost.classic.client.inbox import (
    FileReceived,
    KeyReceived,
    KeyRequested,
    NotOpened,
    Received,
    TextReceived,
)
from hushpost.untrusted import printable, printable_lines


def describe(received: Received) -> str:
    """One message for people, escaped; a text's lines are indented, so that none can pass for ours."""
    who = printable(received.name) or f"somebody without a known name ({received.sender})"
    number = f"#{received.message_id}"
    match received:
        case KeyRequested():
            return f"{number} {who} asks for a key"
        case KeyReceived():
            return f"{number} {who} sent a key"
        case TextReceived(text=text, kept=""):
            return f"{number} {who}:\n{printable_lines(text)}"
        case TextReceived(text=text, kept=kept):
            doubt = f"not UTF-8, perhaps for another key; kept in {printable(kept)}"
            return f"{number} {who} ({doubt}):\n{printable_lines(text)}"
        case FileReceived(path=path, size=size):
            return f"{number} {who} sent a file of {size:,} bytes: {printable(path)}"
        case NotOpened(reason=reason, kept=kept):
            where = f"; its content is kept in {printable(kept)}" if kept else ""
            return f"{number} {who} sent what could not be opened: {reason}{where}"
        case _:
            raise TypeError(f"no words for a {type(received).__name__}")
