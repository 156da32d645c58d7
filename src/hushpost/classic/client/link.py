"""One TCP connection of a classic client: one request, one answer, then it is over.

The original's server sends its answer in several segments, closes first, and resets the connection
when it refuses a request that it has not read to the end; its answer can still be read then.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
import termios
import time
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Self

from hushpost.errors import Unreachable, UsageError
from hushpost.settings import parse_address, parse_port
from hushpost.wire.frames import EndOfStream, Event, Frame, FrameDecoder, FrameEnd, Limits, ResponseHeader

DEFAULT_HOST = "127.0.0.1"
DEFAULT_TIMEOUT = 30.0
"""Seconds. The original's server itself gives up after 10 of silence."""

MIN_PROGRESS = 4096
"""So many bytes must move in each timeout, so that a dripping server cannot hold us."""

RECEIVE = 1 << 20
_ABORT = struct.pack("ii", 1, 0)
_ORDERLY = struct.pack("ii", 0, 0)


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `HOST:PORT`, `[IPv6]:PORT`, or a port alone, which means this machine.

        Raises:
            UsageError: anything else. The original reads "127.0.0.1" as port 127; this does not.
        """
        text = text.strip()
        host, port = parse_address(text) if ":" in text else (DEFAULT_HOST, parse_port(text))
        if not port:  # a server may let the system choose one; a client has to know it
            raise UsageError(f"{text!r} is not an address", hint="write HOST:PORT, such as 127.0.0.1:1234")
        return cls(host, port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Link:
    """A context manager around the socket.

    Until `close_orderly`, whatever ends the connection resets it: an error, Ctrl-C, even a killed
    process. A server takes an orderly end after its answer for our word that we have the answer, and
    the kernel must not give that word for us.

    Raises:
        Unreachable: no connection; at any method: it broke, or nothing came in time.
    """

    def __init__(self, address: Address, timeout: float) -> None:
        self._timeout = timeout
        try:
            self._socket = socket.create_connection(address, timeout)
        except (OSError, UnicodeError) as error:
            raise Unreachable(
                f"no connection to {address}: {_reason(error)}",
                hint="is the server running, and is its address right?",
            ) from None
        self._sent = self._taken = 0
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes | memoryview) -> bool:
        """Send it all, however long that takes, as long as the server goes on taking it.

        False if the server has stopped listening: its answer may say why.
        """
        view = memoryview(data)
        self._socket.settimeout(self._timeout)
        while view:
            try:
                count = self._socket.send(view)
            except (BrokenPipeError, ConnectionResetError):
                return False
            except OSError as error:
                if isinstance(error, TimeoutError) and self._goes_on_taking():
                    continue
                raise _broken(error) from None
            self._sent += count
            view = view[count:]
        return True

    def answer(self, limits: Limits) -> Iterator[Event[ResponseHeader]]:
        """The events of the one response frame. Views are valid until the next event.

        Raises:
            ProtocolError: more than `limits` allow.
        """
        decoder = FrameDecoder(ResponseHeader, limits)
        for data in self._pieces():
            decoder.receive_data(data)
            while event := decoder.next_event():
                yield event
                if isinstance(event, Frame | FrameEnd | EndOfStream):
                    return
        raise Unreachable("the server closed the connection before its answer was complete")

    def close_orderly(self, *, after_the_server: bool = False) -> None:
        """End without a reset: the answer is ours. Optionally wait for the server to end first."""
        with contextlib.suppress(OSError):
            if after_the_server:
                self._socket.settimeout(self._timeout)
                self._socket.recv(1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ORDERLY)
        self._socket.close()

    def _pieces(self) -> Iterator[memoryview]:
        """What arrives, until the server ends its side."""
        buffer = memoryview(bytearray(RECEIVE))
        deadline, progress = time.monotonic() + self._timeout, 0
        while True:
            try:
                self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
                count = self._socket.recv_into(buffer)
            except OSError as error:
                if isinstance(error, TimeoutError) and self._goes_on_taking():
                    deadline = time.monotonic() + self._timeout
                    continue
                raise _broken(error) from None
            if not count:
                return
            progress += count
            yield buffer[:count]
            if progress >= MIN_PROGRESS:
                deadline, progress = time.monotonic() + self._timeout, 0

    def _goes_on_taking(self) -> bool:
        """Since the last call, the server has taken enough of what we sent.

        Over a slow line the kernel holds megabytes of it for many seconds, in which neither our sending
        goes on nor an answer comes.
        """
        held = int.from_bytes(fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        before, self._taken = self._taken, self._sent - held
        return self._taken - before >= MIN_PROGRESS


def _broken(error: OSError) -> Unreachable:
    return Unreachable(f"the connection broke before the answer was complete: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "nothing came in time"
    return (error.strerror if isinstance(error, OSError) else None) or "the address cannot be used"
