"""A registered client at work: the protocol, the keys and the files of the working directory together.

This is the library that the menu, the subcommands and the self-test are faces of.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from io import BufferedIOBase
from pathlib import Path

from hushpost.classic import crypto
from hushpost.classic.client import keyring
from hushpost.classic.client.fetching import Fetch, Summary
from hushpost.classic.client.files import save_new, sync_directory
from hushpost.classic.client.inbox import MAX_TEXT, Received
from hushpost.classic.client.profile import Profile, State
from hushpost.classic.client.requests import ClassicClient, Progress
from hushpost.classic.crypto import BLOCK, PIECE, PairKey
from hushpost.classic.payloads import ClientId, ListedClient, MessageType
from hushpost.errors import UsageError


class Account:
    """One client, by its working directory. Several processes may use the same directory.

    Every method raises what `ClassicClient` raises, and `ProfileError` for unusable files.
    """

    def __init__(self, profile: Profile, client: ClassicClient) -> None:
        self.identity = profile.identity()
        self._me = self.identity.client_id
        self._profile = profile
        self._client = client

    def clients(self) -> Iterator[ListedClient]:
        """Everybody else, as the list comes; it is asked for when the first is drawn."""
        return self._client.list_clients(self._me)

    def find(self, recipient: str) -> ClientId:
        """The client meant by an id of 32 hexadecimal digits, or by its exact name.

        What reads as an id is an id: a stranger may have registered another's id as a name.

        Raises:
            UsageError: nobody has this name.
        """
        try:
            return ClientId.parse(recipient)
        except ValueError:
            pass
        if recipient == self.identity.name:
            return self._me
        for client in self.clients():
            if client.name == recipient:
                return client.client_id
        raise UsageError("nobody is registered under that name", hint="`hush classic list` shows who is")

    def public_key(self, peer: ClientId) -> bytes:
        """What the peer registered as its public key."""
        return self._client.public_key(self._me, peer)

    def request_key(self, peer: ClientId) -> int:
        """Ask a peer for a key. Returns the message id, as all that follow."""
        return self._client.send_message(self._me, peer, MessageType.KEY_REQUEST, b"")

    def send_key(self, peer: ClientId) -> int:
        """Send a key to a peer: the one in use with it, or a fresh one; see `keyring`."""
        with self._profile.locked():
            return self._send_key(peer, self._state())

    def ensure_key(self, peer: ClientId) -> bool:
        """Send a key if none is agreed with this peer yet. Tells whether one was sent."""
        if self._state().keys_of(peer).to_send_with:  # without the lock, which a long fetch may hold
            return False
        with self._profile.locked():
            state = self._state()
            if state.keys_of(peer).to_send_with:
                return False
            self._send_key(peer, state)
            return True

    def send_text(self, peer: ClientId, text: str) -> int:
        """Send a text.

        Raises:
            UsageError: no key is agreed yet, or a text that the protocol cannot carry.
        """
        key = self._key_with(peer)
        try:
            content = crypto.seal_text(key, text)
        except ValueError:
            raise UsageError("a text is valid Unicode without NUL", hint="send it as a file") from None
        if len(content) > MAX_TEXT:
            raise UsageError("a text has less than 1 MiB", hint="send it as a file")
        return self._client.send_message(self._me, peer, MessageType.TEXT, content)

    def send_file(
        self, peer: ClientId, file: BufferedIOBase, size: int, progress: Progress | None = None
    ) -> int:
        """Send the `size` bytes of a file, in constant memory.

        Raises:
            UsageError: no key is agreed yet, too large, or the file has another size.
        """
        pieces = crypto.seal_pieces(self._key_with(peer), _read(file, size, progress))
        kind, sealed = MessageType.FILE, crypto.sealed_size(size)
        return self._client.send_stream(self._me, peer, kind, sealed, pieces)

    def fetch(self, handle: Callable[[Received], None], progress: Progress | None = None) -> Summary:
        """Fetch what waits and give each message to `handle`, those first that an earlier run left.

        All is on disk before the server may forget it, and each message leaves the spool only when
        `handle` has returned. A message that the server shows again after an unclear end is dropped.

        Raises:
            Unreachable, ProtocolError: the answer was cut or damaged; what had come was handled before.
            HushpostError: the disk refuses. Nothing is lost: the next fetch goes on there.
        """
        with self._profile.locked():
            return Fetch(self._profile, self._client, self.identity, handle).run(progress)

    def open_kept(self, sender: ClientId, path: Path) -> Path:
        """Open a content that `fetch` has kept as `.sealed`, with the keys that the sender has given since.

        What comes out is a new file beside the received ones; of a text, too.

        Raises:
            Undecryptable: no key fits yet.
            UsageError: the file cannot be read.
        """
        try:
            with path.open("rb") as file, self._profile.locked():
                self._profile.check_received()
                keys = self._state().keys_of(sender).to_open_with
                file.seek(-min(2 * BLOCK, path.stat().st_size), os.SEEK_END)
                key = keyring.key_for(keys, file.read())
                file.seek(0)
                pieces = crypto.open_pieces(key, iter(lambda: file.read(PIECE), b""))
                opened = save_new(self._profile.received, path.stem, ".opened", pieces)
                sync_directory(opened.parent)
                return opened
        except OSError as error:
            if error.filename != str(path):
                raise
            raise UsageError(
                f"{path}: {error.strerror}", hint="give the path that `fetch` has named"
            ) from None

    def _state(self) -> State:
        return self._profile.state(self._me)

    def _key_with(self, peer: ClientId) -> PairKey:
        key = self._state().keys_of(peer).to_send_with
        if key is None:
            raise UsageError(
                "no key is agreed with this client yet",
                hint="send it one (send-key, 52 in the menu) or ask for one (request-key, 51)",
            )
        return key

    def _send_key(self, peer: ClientId, state: State) -> int:
        public_key = self.public_key(peer)
        pair = state.pair(peer)
        key = pair.offer()
        content = crypto.wrap(key, public_key)
        self._profile.save_state(state)
        message_id = self._client.send_message(self._me, peer, MessageType.KEY, content)
        pair.accepted(key)
        self._profile.save_state(state)
        return message_id


def _read(file: BufferedIOBase, size: int, progress: Progress | None) -> Iterator[memoryview]:
    """A file's content as views, each valid until the next.

    Raises:
        UsageError: it is not `size` bytes; padding would hide a small difference.
    """
    buffer, done = memoryview(bytearray(PIECE)), 0
    while count := file.readinto(buffer):
        done += count
        yield buffer[:count]
        if progress:
            progress(done, size)
    if done != size:
        raise UsageError("the file changed its size while it was being sent; nothing was sent")
