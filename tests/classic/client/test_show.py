"""What strangers sent, as it reads on a terminal."""

from __future__ import annotations

import pytest

from hushpost.classic.client.inbox import (
    FileReceived,
    KeyReceived,
    KeyRequested,
    NotOpened,
    Received,
    TextReceived,
)
from hushpost.classic.client.show import describe

SENDER = "0" * 32


@pytest.mark.parametrize(
    ("received", "shown"),
    [
        (KeyRequested(SENDER, "bob", 1), "#1 bob asks for a key"),
        (KeyReceived(SENDER, "bob", 1), "#1 bob sent a key"),
        (TextReceived(SENDER, "bob", 1, "one\ntwo"), "#1 bob:\n    one\n    two"),
        (
            TextReceived(SENDER, "bob", 1, "\ufffd", "received/bob-1.sealed"),
            "#1 bob (not UTF-8, perhaps for another key; kept in received/bob-1.sealed):\n    \ufffd",
        ),
        (
            FileReceived(SENDER, "bob", 1, "received/bob-1.bin", 12345),
            "#1 bob sent a file of 12,345 bytes: received/bob-1.bin",
        ),
        (NotOpened(SENDER, "bob", 1, 9, "why", ""), "#1 bob sent what could not be opened: why"),
        (
            NotOpened(SENDER, "bob", 1, 9, "why", "x.sealed"),
            "#1 bob sent what could not be opened: why; its content is kept in x.sealed",
        ),
        (KeyReceived(SENDER, "", 1), f"#1 somebody without a known name ({SENDER}) sent a key"),
        (KeyReceived(SENDER, "a\x1b[31m\n#2 eve", 1), "#1 a\\x1b[31m\\x0a#2 eve sent a key"),
        (TextReceived(SENDER, "bob", 1, "hi\n#2 eve:\r\x9b2J"), "#1 bob:\n    hi\n    #2 eve:\\x0d\\x9b2J"),
    ],
)
def test_every_kind_and_hostile_ones(received: Received, shown: str) -> None:
    assert describe(received) == shown


def test_a_new_kind_needs_words() -> None:
    with pytest.raises(TypeError):
        describe(Received(SENDER, "bob", 1))
