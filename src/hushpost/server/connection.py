"""asyncio on one side, `wire.ServerConnection` on the other: TLS, deadlines, backpressure, an orderly close.

All connections read into one buffer, and what comes of a part of a file is put where it will be written from;
of anything else, only the unfinished tail of a frame is copied. An answer that need not wait is made by a
plain function; the answers of one turn of the loop leave in one write. What a client sends faster than it is
worked off waits in its own socket.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, cast

import structlog

from hushpost.errors import ProtocolError
from hushpost.server import net
from hushpost.server.asked import OpenRequests
from hushpost.server.door import SHUTDOWN_SECONDS, TlsTransport, is_welcome, shake_hands
from hushpost.server.handlers import begin, weight
from hushpost.server.identity import ALPN
from hushpost.server.office import Admission, Office, Pending, Said
from hushpost.server.parts.outgoing import Delivery
from hushpost.server.parts.traffic import Traffic
from hushpost.server.peer import Guest, Peer
from hushpost.server.push import POLL_SECONDS
from hushpost.server.refusals import BUSY_SECONDS, Refusal, refusal
from hushpost.stores.base import Answer
from hushpost.wire.connection import BadRequest, ServerConnection
from hushpost.wire.frames import Chunk, EndOfStream, FrameEnd
from hushpost.wire.messages import (
    Acknowledge,
    Error,
    ErrorCode,
    EventMessage,
    PartContent,
    PutPart,
    RequestMessage,
    ResponseMessage,
)
from hushpost.wire.states import State

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


class Connection(asyncio.BufferedProtocol):
    """One connection. See `server.net.Connection` for what the acceptor asks of it."""

    __slots__ = (
        "_accepted",
        "_backlog",
        "_buffer",
        "_frame_due",
        "_held",
        "_host",
        "_office",
        "_open",
        "_out",
        "_out_size",
        "_party",
        "_paused",
        "_paused_since",
        "_release",
        "_shaking",
        "_stage",
        "_transport",
        "_unsent",
        "_wire",
        "deadline",
        "traffic",
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
        self._open = OpenRequests(office)
        self.traffic = Traffic(office.store.parts, office.shared, office.tasks, self)
        self._backlog: list[RequestMessage] = []
        self._buffer = office.scratch
        self._out: list[bytes] = []
        self._out_size = 0
        self._held: list[ResponseMessage | EventMessage] = []
        self._paused = False
        self._paused_since = NEVER
        self._frame_due = NEVER
        self._unsent = 0
        self.writable = True
        self.deadline = office.loop.time() + office.limits.entry_deadline

    # What the acceptor asks

    def start(self) -> None:
        if not is_welcome(self._office, self._host):
            self._accepted.close()
            self._end()
            return
        self._shaking = self._office.tasks.create_task(self._shake_hands())

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
            self.traffic.close()
            self.stop_reading()
            self.go_on()

    # What asyncio tells

    async def _shake_hands(self) -> None:
        try:
            if not await shake_hands(self._office, self._accepted, self):
                self._end()
        except asyncio.CancelledError:
            self._end()
            raise

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(TlsTransport, transport)
        self._stage = Stage.TALKING
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() != ALPN:
            self._office.counts["handshakes-failed"] += 1
            self.abort()
            return
        self._transport.set_write_buffer_limits(HIGH_WATER)

    def get_buffer(self, sizehint: int) -> memoryview:
        self._buffer = self.traffic.room() or self._office.scratch[: self.traffic.at_once]
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        source, self._buffer = self._buffer, self._office.scratch  # a part's is not ours to keep
        if self._stage is not Stage.TALKING:
            return
        wire = self._wire
        wire.receive_data(source[:nbytes])
        whole = False
        try:
            while (event := wire.next_event()) is not None and not isinstance(event, EndOfStream):
                if isinstance(event, Chunk):
                    self.traffic.take(event.data, source)
                    continue
                whole = True
                if isinstance(event, FrameEnd):
                    self.traffic.end()
                else:
                    self._take(event)
        except ProtocolError:
            self._office.counts["protocol-errors"] += 1
            self._finish()
            return
        if not wire.inside_frame:
            self._frame_due = NEVER
        elif whole or self._frame_due == NEVER:
            self._allow_frame(self._office.loop.time())
        if self._backlog or not self.traffic.may_read():
            self.stop_reading()

    def pause_writing(self) -> None:
        self.writable = False
        self._unsent = self._transport.get_write_buffer_size()
        self._paused_since = self._office.loop.time()
        self.look_at(self._paused_since + self._office.request_deadline)

    def resume_writing(self) -> None:
        self.writable = True
        self.go_on()
        self.traffic.go()
        if isinstance(self._party, Peer) and (mine := self._office.subscriptions.of(self._party)):
            mine.go()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    # Requests

    def _take(self, event: RequestMessage | BadRequest) -> None:
        if isinstance(event, BadRequest):
            self._answer(event.answer)
        elif (self._backlog or self._is_busy()) and not isinstance(event, PutPart):
            self._backlog.append(event)
        else:
            self._begin(event)

    def _is_busy(self) -> bool:
        return not self.writable or self._open.in_hand > self._office.limits.in_hand

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
        self.look_at(self._open.add(number, outcome, weight(request)))
        done = partial(self._done, number, outcome)
        if isinstance(outcome.future, Answer):
            outcome.future.tell(done)
        else:
            outcome.future.add_done_callback(done)

    def _done(self, number: int, pending: Pending[Any], future: asyncio.Future[Any]) -> None:
        if not self._open.settle(number, future):
            self._forget(future)
            return
        answer: Said
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
            self.go_on()

    def _forget(self, future: asyncio.Future[Any]) -> None:
        """Nobody waits for this result any more."""
        ended_well = not future.cancelled() and future.exception() is None
        if ended_well and isinstance(late := future.result(), Admission):
            self._office.peers.remove(late.peer)

    def go_on(self) -> None:
        """Go on with what had to wait; then, with what waits in the socket."""
        while self._backlog and not self._is_busy():
            self._begin(self._backlog.pop(0))
        if self._stage is Stage.STOPPING and not self._backlog and not self._open:
            self._finish()
        elif self._stage is not Stage.TALKING or not self._paused or self._backlog:
            return
        elif self._transport.is_closing():
            return  # `connection_lost` is on its way; until then there is nothing to read from
        elif self.traffic.may_read():
            self._paused = False
            if self._frame_due != NEVER:
                self._allow_frame(self._office.loop.time())
            self._transport.set_read_buffer_limits(self.traffic.undecrypted)
            self._transport.resume_reading()

    def stop_reading(self) -> None:
        self._buffer = self._office.scratch  # TLS may have asked for room, and told nothing yet
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    # Answers

    def _answer(self, answer: ResponseMessage | Delivery) -> None:
        if isinstance(answer, Delivery):
            return self.traffic.deliver(answer)
        if isinstance(answer, Error):
            self._note(answer)
        return self._say(answer)

    def _say(self, message: ResponseMessage | EventMessage) -> None:
        if self._wire.to_write:  # not between the pieces of a part
            self._held.append(message)
            return
        try:
            self._send(self._wire.send(message))
        except Exception:  # of our own making: too large, or not an answer to this request
            log.exception("internal error")
            self.abort()

    def _note(self, refused: Error) -> None:
        office = self._office
        office.counts[f"refused-{refused.error}"] += 1
        if office.settings.log_addresses and isinstance(self._party, Guest):
            log.info("refused at the door", reason=refused.error, address=self._host)

    def tell(self, event: EventMessage) -> None:
        if self._stage is Stage.TALKING:
            self._say(event)

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

    # Parts of files: see `server.parts.traffic.Outlet`

    @property
    def to_come(self) -> int:
        return self._wire.to_come

    def begin_data(self, head: PartContent, size: int) -> None:
        self._send(self._wire.send(head, size))

    def send_data(self, data: memoryview) -> None:
        self.flush()
        self._wire.wrote(len(data))
        self._transport.write(data)
        if not self._wire.to_write:
            held, self._held = self._held, []
            for each in held:
                self._say(each)

    # Time

    def _allow_frame(self, now: float) -> None:
        """From now on, the frame that is coming has as long as any; large data, longer."""
        limits = self._office.settings.listen_limits
        self._frame_due = now + limits.request_deadline + self._wire.to_come / limits.min_rate
        self.look_at(self._frame_due)

    def look_at(self, when: float) -> None:
        self.deadline = min(self.deadline, when)

    def _review(self, now: float) -> None:
        """Something may be overdue; what is not sets the next deadline."""
        office = self._office
        patience = office.request_deadline
        for number in self._open.take_overdue(now):
            self._answer(refusal(number, Refusal(ErrorCode.DEADLINE)))
        self.deadline = self._open.due
        if not self._paused:
            if self._frame_due <= now:
                self.abort()
                return
            self.look_at(self._frame_due)
        if not self.writable:
            unsent = self._transport.get_write_buffer_size()
            if now >= self._paused_since + patience:
                if unsent >= self._unsent:
                    self.abort()  # it has read nothing for a whole deadline, and holds our memory
                    return
                self._unsent, self._paused_since = unsent, now
            self.look_at(self._paused_since + patience)
        if isinstance(self._party, Peer) and (mine := office.subscriptions.of(self._party)):
            mine.go()
            self.look_at(now + POLL_SECONDS)
        if self._backlog:
            self.go_on()

    # The end

    def _finish(self) -> None:
        """Send what was said, then close."""
        self.traffic.close()
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
        self._open.clear()
        self._backlog.clear()
        if isinstance(self._party, Peer):
            self._office.subscriptions.drop(self._party)
            self._office.peers.remove(self._party)
        release(self)
        self.traffic.close()  # last: it gives others their turn
