"""asyncio on one side, `wire.ServerConnection` on the other: TLS, deadlines, backpressure, an orderly close.

All connections read into one buffer, and only the unfinished tail of a frame is copied. An answer that need
not wait is made by a plain function; the answers of one turn of the loop leave in one write. What a client
sends faster than it is worked off waits in its own socket.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, NamedTuple, cast

import structlog

from hushpost.errors import ProtocolError
from hushpost.server import net
from hushpost.server.handlers import begin, weight
from hushpost.server.identity import ALPN
from hushpost.server.office import Admission, Office, Pending
from hushpost.server.peer import Guest, Peer
from hushpost.server.push import POLL_SECONDS
from hushpost.server.refusals import BUSY_SECONDS, Refusal, refusal
from hushpost.wire.connection import BadRequest, ServerConnection
from hushpost.wire.frames import EndOfStream
from hushpost.wire.messages import (
    Acknowledge,
    Error,
    ErrorCode,
    EventMessage,
    RequestMessage,
    ResponseMessage,
)
from hushpost.wire.states import State

SHUTDOWN_SECONDS = 5.0
"""For the peer to answer our end of TLS."""

HIGH_WATER = 256 * 1024
"""Unsent bytes above which a connection is served no further until it has read them."""

NEVER = float("inf")

log = structlog.get_logger()


class Stage(Enum):
    """How far a connection is."""

    SHAKING = "TLS is not agreed yet"
    TALKING = "requests are served"
    STOPPING = "what was begun is answered, and nothing else"
    ENDING = "everything was said"


class Asked(NamedTuple):
    """A request that awaits its answer: since when (loop time), and its bytes in hand."""

    future: asyncio.Future[Any]
    since: float
    weight: int


class Connection(asyncio.BufferedProtocol):
    """One connection. See `server.net.Connection` for what the acceptor asks of it."""

    __slots__ = (
        "_accepted",
        "_backlog",
        "_frame_since",
        "_host",
        "_in_hand",
        "_office",
        "_open",
        "_out",
        "_out_size",
        "_party",
        "_paused",
        "_release",
        "_shaking",
        "_stage",
        "_transport",
        "_unsent",
        "_wire",
        "deadline",
        "writable",
    )

    def __init__(
        self, office: Office, accepted: socket.socket, release: Callable[[net.Connection], None]
    ) -> None:
        self._office = office
        self._accepted = accepted
        self._release: Callable[[net.Connection], None] | None = release
        self._wire = ServerConnection()
        self._host = net.peer_host(accepted)
        self._party: Guest | Peer = Guest(self, net.origin(self._host), office.identity.shown)
        self._stage = Stage.SHAKING
        self._open: dict[int, Asked] = {}
        self._backlog: list[RequestMessage] = []
        self._out: list[bytes] = []
        self._out_size = 0
        self._in_hand = 0
        self._paused = False
        self._frame_since = NEVER
        self._unsent = 0
        self.writable = True
        self.deadline = office.loop.time() + office.limits.entry_deadline

    # What the acceptor asks

    def start(self) -> None:
        if not self._is_welcome():
            self._accepted.close()
            self._end()
            return
        self._shaking = self._office.tasks.create_task(self._shake_hands())

    def _is_welcome(self) -> bool:
        """Unless too many come from its address: a handshake costs us more than them."""
        try:
            self._office.budgets.connections.take(net.origin(self._host))
        except Refusal:
            self._office.counts["connections-refused"] += 1
            return False
        return True

    def expire(self) -> None:
        if self._stage is Stage.SHAKING:
            self._shaking.cancel()
        elif self._stage is not Stage.TALKING or isinstance(self._party, Guest):
            self.abort()
        else:
            self._review(self._office.loop.time())

    def stop(self) -> None:
        if self._stage is Stage.SHAKING:
            self._shaking.cancel()
        elif self._stage is Stage.TALKING:
            self._stage = Stage.STOPPING
            self._pause_reading()
            self._proceed()

    # What asyncio tells

    async def _shake_hands(self) -> None:
        office = self._office
        try:
            await office.loop.connect_accepted_socket(
                lambda: self,
                self._accepted,
                ssl=office.identity.shown.context,
                ssl_handshake_timeout=office.limits.entry_deadline + net.SWEEP_SECONDS,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except OSError:  # garbage, another protocol, an older TLS, or gone: TLS errors are of this kind, too
            office.counts["handshakes-failed"] += 1
            self._end()
        except asyncio.CancelledError:
            self._end()
            raise

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._stage = Stage.TALKING
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() != ALPN:
            self._office.counts["handshakes-failed"] += 1
            self.abort()
            return
        self._transport.set_write_buffer_limits(HIGH_WATER)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._office.scratch

    def buffer_updated(self, nbytes: int) -> None:
        if self._stage is not Stage.TALKING:
            return
        wire = self._wire
        wire.receive_data(self._office.scratch[:nbytes])
        whole = False
        try:
            while (event := wire.next_event()) is not None and not isinstance(event, EndOfStream):
                whole = True
                if isinstance(event, RequestMessage | BadRequest):
                    self._take(event)
        except ProtocolError:
            self._office.counts["protocol-errors"] += 1
            self._finish()
            return
        if not wire.inside_frame:
            self._frame_since = NEVER
        elif whole or self._frame_since == NEVER:
            self._frame_since = self._office.loop.time()
            self.look_at(self._frame_since + self._office.request_deadline)
        if self._backlog:
            self._pause_reading()

    def pause_writing(self) -> None:
        self.writable = False
        self._unsent = self._transport.get_write_buffer_size()
        self.look_at(self._office.loop.time() + self._office.request_deadline)

    def resume_writing(self) -> None:
        self.writable = True
        self._proceed()
        if isinstance(self._party, Peer) and (mine := self._office.subscriptions.of(self._party)):
            mine.go()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    # Requests

    def _take(self, event: RequestMessage | BadRequest) -> None:
        if isinstance(event, BadRequest):
            self._answer(event.answer)
        elif self._backlog or self._is_busy():
            self._backlog.append(event)
        else:
            self._begin(event)

    def _is_busy(self) -> bool:
        return not self.writable or self._in_hand > self._office.limits.in_hand

    def _begin(self, request: RequestMessage) -> None:
        office = self._office
        number = request.number
        try:
            if office.in_hand > office.limits.in_hand_total and not isinstance(request, Acknowledge):
                raise Refusal(ErrorCode.UNAVAILABLE, retry_after=BUSY_SECONDS)
            outcome = begin(office, self._party, request)
        except Exception as error:
            outcome = refusal(number, error)
        if not isinstance(outcome, Pending):
            self._answer(outcome)
            return
        now = office.loop.time()
        if not self._open:
            self.look_at(now + office.request_deadline)
        asked = Asked(outcome.future, now, weight(request))
        self._open[number] = asked
        self._in_hand += asked.weight
        office.in_hand += asked.weight
        asked.future.add_done_callback(partial(self._done, number, outcome))

    def _done(self, number: int, pending: Pending[Any], future: asyncio.Future[Any]) -> None:
        asked = self._open.get(number)
        if asked is None or asked.future is not future:  # its deadline has passed, or the connection ended
            self._forget(future)
            return
        self._settle(number, asked)
        answer: ResponseMessage | Admission
        try:
            answer = pending.answer(future.result())
        except (Exception, asyncio.CancelledError) as error:
            answer = refusal(number, error)
        if isinstance(answer, Admission):
            self._party = answer.peer
            self.deadline = NEVER
            answer = answer.answer
        self._answer(answer)
        if self._wire.state is State.CLOSED:
            self._finish()
        elif self._backlog or self._stage is Stage.STOPPING:
            self._proceed()

    def _settle(self, number: int, asked: Asked) -> None:
        del self._open[number]
        self._in_hand -= asked.weight
        self._office.in_hand -= asked.weight

    def _forget(self, future: asyncio.Future[Any]) -> None:
        """Nobody waits for this result any more."""
        if future.cancelled() or future.exception() is not None:
            return
        if isinstance(late := future.result(), Admission):
            self._office.peers.remove(late.peer)

    def _proceed(self) -> None:
        """Go on with what had to wait; then, with what waits in the socket."""
        while self._backlog and not self._is_busy():
            self._begin(self._backlog.pop(0))
        if self._stage is Stage.STOPPING and not self._backlog and not self._open:
            self._finish()
        elif self._stage is Stage.TALKING and self._paused and not self._backlog:
            self._paused = False
            if self._frame_since != NEVER:
                self._frame_since = self._office.loop.time()
            self._transport.resume_reading()

    def _pause_reading(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    # Answers

    def _answer(self, answer: ResponseMessage) -> None:
        try:
            data = self._wire.send(answer)
        except Exception:  # of our own making: too large, or not an answer to this request
            log.exception("internal error")
            self.abort()
            return
        if isinstance(answer, Error):
            self._note(answer)
        self._send(data)

    def _note(self, refused: Error) -> None:
        office = self._office
        office.counts[f"refused-{refused.error}"] += 1
        if office.settings.log_addresses and isinstance(self._party, Guest):
            log.info("refused at the door", reason=refused.error, address=self._host)

    def tell(self, event: EventMessage) -> None:
        if self._stage is Stage.TALKING:
            self._send(self._wire.send(event))

    def _send(self, data: bytes) -> None:
        if not self._out:
            self._office.flush_later(self)
        self._out.append(data)
        self._out_size += len(data)
        if self._out_size > HIGH_WATER:  # so that `writable` tells what is true
            self.flush()

    def flush(self) -> None:
        """Write the answers and events of this turn."""
        out, self._out = self._out, []
        self._out_size = 0
        if self._release is not None and out:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    # Time

    def look_at(self, when: float) -> None:
        self.deadline = min(self.deadline, when)

    def _review(self, now: float) -> None:
        """Something may be overdue; what is not sets the next deadline."""
        office = self._office
        patience = office.request_deadline
        self.deadline = NEVER
        for number, asked in list(self._open.items()):
            if asked.since + patience > now:
                self.look_at(asked.since + patience)
                break
            self._settle(number, asked)
            self._answer(refusal(number, Refusal(ErrorCode.DEADLINE)))
        if self._frame_since != NEVER and not self._paused:
            if self._frame_since + patience <= now:
                self.abort()
                return
            self.look_at(self._frame_since + patience)
        if not self.writable:
            unsent = self._transport.get_write_buffer_size()
            if unsent >= self._unsent:
                self.abort()  # it has read nothing for a whole deadline, and holds our memory
                return
            self._unsent = unsent
            self.look_at(now + patience)
        if isinstance(self._party, Peer) and (mine := office.subscriptions.of(self._party)):
            mine.go()
            self.look_at(now + POLL_SECONDS)
        if self._backlog:
            self._proceed()

    # The end

    def _finish(self) -> None:
        """Send what was said, then close."""
        if self._stage is not Stage.ENDING:
            self._stage = Stage.ENDING
            self.deadline = self._office.loop.time() + SHUTDOWN_SECONDS
            self.flush()
            self._transport.close()

    def abort(self) -> None:
        self._stage = Stage.ENDING
        self._transport.abort()

    def _end(self) -> None:
        """The socket is closed."""
        self._stage = Stage.ENDING
        release, self._release = self._release, None
        if release is None:
            return
        self._office.in_hand -= self._in_hand
        self._in_hand = 0
        self._open.clear()
        self._backlog.clear()
        if isinstance(self._party, Peer):
            self._office.subscriptions.drop(self._party)
            self._office.peers.remove(self._party)
        release(self)
