"""Opens what a fetch brought, one message at a time: a bad one never costs the others.

Everything here comes from strangers. What cannot be opened is told, with a reason, and its content is
kept beside the received files as `.sealed`, since the server has forgotten it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from hushpost.classic import crypto
from hushpost.classic.client import keyring
from hushpost.classic.client.files import save_new
from hushpost.classic.client.profile import MAX_PAIRS, State
from hushpost.classic.client.spool import SpooledMessage
from hushpost.classic.crypto import BLOCK, WRAPPED_KEY_SIZE, PrivateKey
from hushpost.classic.payloads import ClientId, MessageType
from hushpost.errors import Undecryptable
from hushpost.untrusted import file_stem

MAX_TEXT = 1 << 20
"""Sealed bytes. We send no longer texts, and save those that come (up to 1 GiB) as files."""


class Received(msgspec.Struct, frozen=True, tag_field="kind"):
    """What became of one message. `name` is empty where none is known for the sender."""

    sender: str
    name: str
    message_id: int

    @property
    def saved(self) -> str:
        """The file that was written for it, or nothing."""
        return ""


class KeyRequested(Received, frozen=True, tag="key-request"):
    """The sender asks for a key. Nothing is sent by itself."""


class KeyReceived(Received, frozen=True, tag="key"):
    """The sender gave us a key, which is stored and will be used from now on."""


class TextReceived(Received, frozen=True, tag="text"):
    """A text. Where `kept` is not empty it was not UTF-8, perhaps for a wrong key: the sealed content."""

    text: str
    kept: str = ""

    @property
    def saved(self) -> str:
        return self.kept


class FileReceived(Received, frozen=True, tag="file"):
    """A file, or a text too long to be shown, saved at `path`."""

    path: str
    size: int

    @property
    def saved(self) -> str:
        return self.path


class NotOpened(Received, frozen=True, tag="not-opened"):
    """A message that could not be opened. `kept` is where its content lies, if it had one."""

    message_type: int
    reason: str
    kept: str

    @property
    def saved(self) -> str:
        return self.kept


class Inbox:
    """Opens messages with the keys of `state`, and puts new keys there; to save them is the caller's.

    `name_of` gives the name of a sender, or nothing.
    """

    def __init__(
        self,
        private_key: PrivateKey,
        state: State,
        folder: Path,
        *,
        name_of: Callable[[ClientId], str],
    ) -> None:
        self._private_key = private_key
        self._state = state
        self._folder = folder
        self._name_of = name_of

    def open(self, message: SpooledMessage) -> Received:
        """Open one message.

        Raises:
            OSError: the disk refuses to keep what came; the message stays in the spool.
        """
        try:
            match message.header.message_type:
                case MessageType.KEY_REQUEST if not message.header.content_size:
                    return KeyRequested(*self._origin(message))
                case MessageType.KEY_REQUEST:
                    raise Undecryptable("it asks for a key, but has a content")
                case MessageType.KEY:
                    return self._key(message)
                case MessageType.TEXT if message.header.content_size <= MAX_TEXT:
                    return self._text(message)
                case MessageType.TEXT:
                    return self._file(message, ".txt")
                case MessageType.FILE:
                    return self._file(message, ".bin")
                case unknown:
                    raise Undecryptable(f"messages of type {unknown} are unknown")
        except Undecryptable as error:
            kept = self._keep(message) if message.header.content_size else ""
            return NotOpened(*self._origin(message), message.header.message_type, str(error), kept)

    def take_again(self, message: SpooledMessage) -> None:
        """Of a message that was dealt with by a process that died: its key, which that may not have saved."""
        if message.header.message_type == MessageType.KEY:
            with contextlib.suppress(Undecryptable):
                self._key(message)

    def _key(self, message: SpooledMessage) -> Received:
        if message.header.content_size != WRAPPED_KEY_SIZE:
            raise Undecryptable("it is no key: its size is wrong")
        if not self._state.has_room_for(message.header.sender):
            raise Undecryptable(f"the keys of {MAX_PAIRS:,} others are kept already; send this client one")
        key = self._private_key.unwrap(message.content())
        self._state.pair(message.header.sender).receive(key)
        return KeyReceived(*self._origin(message))

    def _text(self, message: SpooledMessage) -> Received:
        keys = self._state.keys_of(message.header.sender).to_open_with
        opened = keyring.open_text(keys, message.content())
        kept = "" if opened.readable else self._keep(message)
        return TextReceived(*self._origin(message), opened.text, kept)

    def _file(self, message: SpooledMessage, suffix: str) -> Received:
        keys = self._state.keys_of(message.header.sender).to_open_with
        if message.header.content_size % BLOCK:
            raise Undecryptable("the content is not a whole number of blocks")
        key = keyring.key_for(keys, message.content(last=2 * BLOCK))
        path = self._save_file(message, suffix, crypto.open_pieces(key, message.pieces()))
        return FileReceived(*self._origin(message), str(path), path.stat().st_size)

    def _keep(self, message: SpooledMessage) -> str:
        return str(self._save_file(message, ".sealed", message.pieces()))

    def _save_file(self, message: SpooledMessage, suffix: str, pieces: Iterable[memoryview]) -> Path:
        sender, name, message_id = self._origin(message)
        return save_new(self._folder, f"{file_stem(name, sender)}-{message_id}", suffix, pieces)

    def _origin(self, message: SpooledMessage) -> tuple[str, str, int]:
        sender = message.header.sender
        return sender.hex(), self._name_of(sender), message.header.message_id
