"""Which key of a pair to use: rules that cannot break a pair, with our client or the original's.

The original's client keeps one key per sender, in memory only. It ignores a key message when it has a
key for that sender already, and one text that does not open costs it the whole batch. So when two
clients send each other a key at the same time, each would use its own and neither could read the
other; and a client that has restarted and makes a new key is ignored by the one that has not. Ours
therefore:

1. **Sends with the key most recently received** from the peer, else with the one that we made. An
   original client always has the key that it sent; and when key messages crossed, it ignored ours.
2. **Makes one key per peer, ever, and answers `send-key` with the key in use.** An original client
   that has a key ignores it and loses nothing; one that has restarted takes it and both agree again.
3. **Opens with whatever fits**, trying every key that was exchanged. Between two of ours crossed keys
   are harmless: each sends with the other's key and has both.
4. **Remembers a key before it is sent**, but encrypts with it only once the server has accepted the
   message that carries it.

Ids are not proven in this protocol: a stranger who knows an id can send a key in its name, and rule 1
would use it. There is no remedy inside the protocol; its documents say so.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hushpost.classic import crypto
from hushpost.classic.crypto import BLOCK, OpenedText, PairKey
from hushpost.errors import Undecryptable

RECEIVED_KEYS_KEPT = 3
"""With our own, four per peer: enough for crossed and repeated keys, few enough to try them all."""

NO_KEY = "there is no key for this sender"
NOT_OPENED = "the content does not open with any key we have for this sender"


class PairKeys(msgspec.Struct):
    """The keys shared with one peer, as they are stored.

    Attributes:
        received: from this peer, the newest last.
        ours: the key that we made, or empty.
        ours_accepted: the server has accepted a message that carries it.
    """

    received: list[bytes] = []
    ours: bytes = b""
    ours_accepted: bool = False

    def __post_init__(self) -> None:
        if len(self.ours) not in (0, PairKey.SIZE) or any(len(key) != PairKey.SIZE for key in self.received):
            raise ValueError("a key has 16 bytes")

    @property
    def to_send_with(self) -> PairKey | None:
        """The key for our next text or file, or None where none is agreed."""
        if self.received:
            return PairKey(self.received[-1])
        return PairKey(self.ours) if self.ours_accepted else None

    @property
    def to_open_with(self) -> list[PairKey]:
        """Every key that a content of this peer may be sealed with, the likeliest first."""
        ours = [self.ours] if self.ours else []
        return [PairKey(key) for key in [*reversed(self.received), *ours]]

    def receive(self, key: PairKey) -> None:
        """Take a key from the peer; it becomes the one to send with."""
        others = [known for known in self.received if known != key]
        self.received = [*others, bytes(key)][-RECEIVED_KEYS_KEPT:]

    def offer(self) -> PairKey:
        """The key for a key message to this peer: the one in use, else ours, made if need be."""
        in_use = self.to_send_with
        if in_use is None and not self.ours:
            self.ours = bytes(crypto.new_pair_key())
        return in_use or PairKey(self.ours)

    def accepted(self, key: PairKey) -> None:
        """The server has accepted a message that carries this key."""
        self.ours_accepted = self.ours_accepted or key == self.ours


def open_text(keys: Sequence[PairKey], content: bytes) -> OpenedText:
    """Open a text with the key that makes the most of it: strict text, then UTF-8, then anything.

    Raises:
        Undecryptable: no key fits.
    """
    opened: list[OpenedText] = []
    failure = Undecryptable(NO_KEY)
    for key in keys:
        try:
            opened.append(crypto.open_text(key, content))
        except Undecryptable as error:
            failure = error
    if not opened:
        raise failure
    return max(opened, key=lambda text: (text.strict, text.readable))


def key_for(keys: Sequence[PairKey], tail: bytes) -> PairKey:
    """The key of a content too large to try them all, judged by its last two blocks (or its only one).

    A wrong key shows n bytes of padding once in 256**n, so the longest padding is the best witness.

    Raises:
        Undecryptable: no key fits, or there is no whole block.
    """
    if not keys:
        raise Undecryptable(NO_KEY)
    if not tail or len(tail) % BLOCK:
        raise Undecryptable("the content is not a whole number of blocks")
    previous, last = tail.rjust(2 * BLOCK, b"\0")[:BLOCK], tail[-BLOCK:]
    best = max(keys, key=lambda key: crypto.padding_under(key, previous, last))
    if not crypto.padding_under(best, previous, last):
        raise Undecryptable(NOT_OPENED)
    return best
