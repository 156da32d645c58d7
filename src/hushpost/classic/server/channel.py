"""One accepted socket of the classic server: non-blocking calls, and waiting for the peer.

Readiness is watched only while somebody waits: most requests are read, answered and closed without the
loop ever watching their socket.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Callable

SIOCOUTQ = termios.TIOCOUTQ
"""Linux gives both the same number: bytes of a socket that its peer's kernel has not acknowledged."""

INT = struct.Struct("i")
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

READS_AT_ONCE = 16
"""2 MiB behind a request; then it is somebody else's turn."""

SCRATCH = memoryview(bytearray(128 * 1024))
"""Where every connection's small reads go: decoders copy what they keep before the next read."""


class Interrupted(Exception):
    """`Channel.interrupt` was called while, or before, somebody waited."""


class Channel:
    """A connected socket. After `close`, every call but `close` is an error."""

    __slots__ = ("_fd", "_interrupted", "_loop", "_reading", "_socket", "_waiter", "_writing")

    def __init__(self, loop: asyncio.AbstractEventLoop, accepted: socket.socket) -> None:
        self._loop = loop
        self._socket = accepted
        self._fd = accepted.fileno()
        self._reading = False
        self._writing = False
        self._waiter: asyncio.Future[None] | None = None
        self._interrupted = False

    def receive(self, buffer: memoryview) -> int | None:
        """Bytes received, 0 at the end of the peer's side, None where there is nothing yet.

        Raises:
            ConnectionError: the peer has reset the connection.
        """
        try:
            return self._socket.recv_into(buffer)
        except BlockingIOError:
            return None

    def send(self, data: bytes | memoryview) -> int:
        """Hand bytes to the kernel: how many it took.

        Raises:
            ConnectionError: the peer is gone.
        """
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def send_more(self, data: bytes) -> None:
        """Hand over the beginning of an answer; the kernel keeps it until more comes, or the end.

        Raises:
            OSError: as `send_last`.
        """
        if self._socket.send(data, socket.MSG_MORE) < len(data):
            raise BlockingIOError

    def send_last(self, data: bytes) -> None:
        """Hand over a small answer and end our side, in one segment.

        Ending our side sends it at once: a reset that `close` may cause for unread bytes comes later.

        Raises:
            OSError: the peer is gone, or its window, open for a new connection, has no room.
        """
        self.send_more(data)
        self.half_close()

    def at_end(self) -> bool:
        """Read away what the peer still sends; whether its side is known to have ended.

        Raises:
            ConnectionError: the peer has reset the connection.
        """
        for _ in range(READS_AT_ONCE):
            received = self.receive(SCRATCH)
            if received is None:
                return False
            if not received:
                return True
        return False

    def unsent(self) -> int:
        """Bytes that the peer's kernel has not acknowledged, the end of our side included."""
        raw = fcntl.ioctl(self._fd, SIOCOUTQ, bytes(INT.size))
        return int(INT.unpack(raw)[0])

    def check(self) -> None:
        """Raise what has happened to the connection meanwhile.

        Raises:
            ConnectionError: the peer has reset it.
            Interrupted: see `interrupt`.
        """
        self._raise_if_interrupted()
        self.check_reset()

    def check_reset(self) -> None:
        """Raises:
        ConnectionError: the peer has reset the connection.
        """
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise ConnectionResetError(error, "the peer has reset the connection")

    def wake_at(self, count: int) -> None:
        """Count as readable only with so many bytes, or the end: the kernel gathers, not we."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def watch(self, callback: Callable[[], None]) -> None:
        """Call back whenever there is something to receive, until `unwatch`."""
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._fd, callback)

    def unwatch(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    async def readable(self) -> None:
        """Wait until `receive` has something to say.

        Raises:
            Interrupted: see there.
        """
        waiter = self._wait()
        self.watch(self._wake)
        try:
            await waiter
        finally:
            self.unwatch()
            self._waiter = None
        self._raise_if_interrupted()

    async def writable(self) -> None:
        """Wait until `send` may take something.

        Raises:
            Interrupted: see there.
        """
        waiter = self._wait()
        self._writing = True
        self._loop.add_writer(self._fd, self._wake)
        try:
            await waiter
        finally:
            if self._writing:
                self._writing = False
                self._loop.remove_writer(self._fd)
            self._waiter = None
        self._raise_if_interrupted()

    async def send_all(self, data: bytes | memoryview) -> None:
        """Hand everything to the kernel.

        Raises:
            ConnectionError: the peer is gone.
            Interrupted: see there.
        """
        view = memoryview(data)
        while view:
            sent = self.send(view)
            view = view[sent:]
            if view:
                await self.writable()

    def interrupt(self) -> None:
        """Make the current and every later wait, and `check`, raise `Interrupted`."""
        self._interrupted = True
        self._wake()

    def half_close(self) -> None:
        """End our side; the peer's may go on.

        Raises:
            OSError: not connected any more.
        """
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Let go. Bytes that the peer sent and we did not read make the kernel send a reset."""
        self.unwatch()
        os.close(self._socket.detach())

    def abort(self) -> None:
        """Let go with a reset: the peer shall notice that its answer is incomplete."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.close()

    def _wait(self) -> asyncio.Future[None]:
        self._raise_if_interrupted()
        self._waiter = self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def _raise_if_interrupted(self) -> None:
        if self._interrupted:
            raise Interrupted
