"""Why an envelope or a file is refused: one name for each check of the specification, in their order.

Normative text: docs/spec/envelope.md, section "Reading"; docs/spec/files.md, section "Reading".
"""

from __future__ import annotations

from enum import StrEnum


class EnvelopeFault(StrEnum):
    """Each is also the sentence. Whatever stands before the one that is raised has passed."""

    SEAL = "the envelope's seal does not open"
    HEADER = "the envelope's header is malformed"
    OLM_MESSAGE = "the ratchet's message is malformed"
    WRONG_SESSION = "the header names another session than the ratchet's message belongs to"
    NO_SESSION = "there is no session for this message"
    REPLAYED = "the message opens a session that was opened before"
    RATCHET = "the ratchet does not open the message"
    INNER = "the inside of the message is malformed"
    WRONG_RECIPIENT = "the message was written to another device"
    WRONG_SENDER = "the message was written by another device than its header claims"
    WRONG_BODY = "the message belongs to another body"
    BODY_KEY = "the body is encrypted with another key"
    BODY = "the body does not open"
    PADDING = "the body's padding is malformed"
    CONTENT = "the content is malformed"
    WRONG_ACCOUNT = "the message was written by another account than the one it was checked against"
    WRONG_DEVICE = "the message was written with a key that its sender's account does not list"


class FileFault(StrEnum):
    """Each is also the sentence. What was released before it is true, and no more than that."""

    CHUNK = "a piece of the file does not open"
    PADDING = "the file's padding is not zero"
    TRAILING = "there is more than the file's size allows"
    TRUNCATED = "a part of the file is cut short"
    PART_DIGEST = "a part of the file is not the one that was sent"
    FILE_DIGEST = "the file is not the one that was offered"
