"""What may come when: the states of a version-3 connection, as data.

Two rules complete the table:

1. A message that has no row in the present state is not allowed. The row of a request is taken when it is
   sent or arrives, that of a response or an event likewise, so both ends walk the same table.
2. `FAILED` is reached from everywhere by a breach of the protocol, `CLOSED` by the end of the stream;
   neither is ever left.

The diagram and the table of docs/spec/wire.md are made of this.
"""

from __future__ import annotations

from enum import Enum

from hushpost.wire.messages import (
    ANSWERS,
    Authenticate,
    Authenticated,
    Error,
    EventMessage,
    Hello,
    HelloAnswer,
    Left,
    Message,
    Push,
    Register,
    Registered,
    RequestMessage,
    ResponseMessage,
    Subscribed,
    Taken,
)


class Role(Enum):
    """Which end of the connection we are."""

    CLIENT = "client"
    SERVER = "server"


class State(Enum):
    """How far a connection has come."""

    GREETING = "greeting"  # nothing was proven yet
    HELLO_SENT = "hello-sent"
    GREETED = "greeted"  # the client knows the server; it may register, or prove who it is
    REGISTERING = "registering"
    AUTHENTICATING = "authenticating"
    READY = "ready"  # the server knows the device
    SUBSCRIBED = "subscribed"  # ready, and envelopes are pushed
    CLOSED = "closed"
    FAILED = "failed"


SENDS: dict[Role, tuple[type[Message], ...]] = {
    Role.CLIENT: (RequestMessage,),
    Role.SERVER: (ResponseMessage, EventMessage),
}
"""Who sends what kind."""

ENTERING = (Hello, Register, Authenticate)
"""The requests before authentication: one at a time, under the device id of 16 zeros."""

_SERVING: tuple[type[Message], ...] = tuple(
    each for request, answer in ANSWERS.items() if request not in ENTERING for each in (request, answer)
)
"""Everything that is asked and answered after authentication, in any order, without moving the state."""

_GREETED: dict[type[Message], State] = {
    Hello: State.HELLO_SENT,  # again: a nonce is good for one attempt and for 30 seconds
    Register: State.REGISTERING,
    Authenticate: State.AUTHENTICATING,
}

TRANSITIONS: dict[State, dict[type[Message], State]] = {
    State.GREETING: {Hello: State.HELLO_SENT},
    State.HELLO_SENT: {HelloAnswer: State.GREETED, Error: State.GREETING},
    State.GREETED: _GREETED,
    State.REGISTERING: {Registered: State.GREETED, Error: State.GREETED},
    # The nonce is spent, so whoever was refused begins with a hello.
    State.AUTHENTICATING: {Authenticated: State.READY, Error: State.GREETING},
    State.READY: {
        **dict.fromkeys((*_SERVING, Error), State.READY),
        Subscribed: State.SUBSCRIBED,
        Left: State.CLOSED,
    },
    State.SUBSCRIBED: {
        **dict.fromkeys((*_SERVING, Error, Push), State.SUBSCRIBED),
        Taken: State.READY,
        Left: State.CLOSED,
    },
    State.CLOSED: {},
    State.FAILED: {},
}
"""State -> message -> state."""


def may_send(role: Role, state: State, message: type[Message]) -> bool:
    """Whether this end may send such a message now; numbers and limits apart."""
    return issubclass(message, SENDS[role]) and message in TRANSITIONS[state]
