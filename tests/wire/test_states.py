"""The table of states: whole, closed, and the same for both ends."""

from __future__ import annotations

import pytest

from hushpost.wire.messages import (
    ANSWERS,
    Authenticate,
    Authenticated,
    Error,
    GetUsage,
    Hello,
    Left,
    Message,
    Push,
    Register,
    RequestMessage,
    ResponseMessage,
    Stored,
    Subscribed,
    Taken,
)
from hushpost.wire.states import ENTERING, TRANSITIONS, Role, State, may_send
from tests.wire.strategies import MESSAGES

WAITING = (State.HELLO_SENT, State.REGISTERING, State.AUTHENTICATING)
SERVING = (State.READY, State.SUBSCRIBED)
OVER = (State.CLOSED, State.FAILED)


def allowed(state: State, kind: type[Message]) -> set[type[Message]]:
    return {message for message in TRANSITIONS[state] if issubclass(message, kind)}


def test_every_state_has_a_row_and_only_the_last_two_are_empty() -> None:
    assert set(TRANSITIONS) == set(State)
    assert [state for state in State if not TRANSITIONS[state]] == list(OVER)


def test_every_message_can_be_sent_somewhere() -> None:
    assert {message for row in TRANSITIONS.values() for message in row} == set(MESSAGES)


def test_every_state_but_failed_can_be_reached() -> None:
    reached, fresh = set[State](), {State.GREETING}
    while fresh:
        reached |= fresh
        fresh = {after for state in fresh for after in TRANSITIONS[state].values()} - reached
    assert reached == set(State) - {State.FAILED}


def test_before_authentication_one_request_at_a_time() -> None:
    for state in WAITING:
        assert allowed(state, RequestMessage) == set()
        assert Error in allowed(state, ResponseMessage)
    for state in (State.GREETING, State.GREETED):
        assert allowed(state, RequestMessage) <= set(ENTERING)
        assert all(TRANSITIONS[state][message] in WAITING for message in TRANSITIONS[state])


def test_a_waiting_state_is_left_by_its_own_answer_or_an_error() -> None:
    for state, row in TRANSITIONS.items():
        for message, waiting in row.items():
            if state in WAITING or waiting not in WAITING:
                continue
            answers = {answer for request, answer in ANSWERS.items() if request is message}
            assert allowed(waiting, Message) == {*answers, Error}


def test_after_authentication_everything_but_entering() -> None:
    for state in SERVING:
        assert allowed(state, RequestMessage) == set(ANSWERS) - set(ENTERING)
        answers = {answer for request, answer in ANSWERS.items() if request not in ENTERING}
        assert allowed(state, ResponseMessage) == {*answers, Error}


def test_nothing_is_served_before_authentication() -> None:
    assert {state for state, row in TRANSITIONS.items() if GetUsage in row} == set(SERVING)
    into_ready = {state for state, row in TRANSITIONS.items() if State.READY in row.values()}
    assert into_ready == {State.AUTHENTICATING, *SERVING}
    assert TRANSITIONS[State.AUTHENTICATING][Authenticated] is State.READY


def test_requests_do_not_move_a_served_connection() -> None:
    for state in SERVING:
        moving = {message: after for message, after in TRANSITIONS[state].items() if after is not state}
        own: tuple[type[Message], State] = (Taken, State.READY)
        if state is State.READY:
            own = (Subscribed, State.SUBSCRIBED)
        assert moving == dict([(Left, State.CLOSED), own])


def test_pushes_follow_a_subscription_only() -> None:
    for message in (Push, Taken):
        assert [state for state, row in TRANSITIONS.items() if message in row] == [State.SUBSCRIBED]


def test_a_refused_authentication_starts_over() -> None:
    """Its nonce is spent; what was proven of the server must be proven again."""
    assert TRANSITIONS[State.AUTHENTICATING][Error] is State.GREETING
    assert Register not in TRANSITIONS[State.GREETING]
    assert Authenticate not in TRANSITIONS[State.GREETING]


@pytest.mark.parametrize(
    ("role", "state", "message", "expected"),
    [
        (Role.CLIENT, State.GREETING, Hello, True),
        (Role.SERVER, State.GREETING, Hello, False),
        (Role.SERVER, State.READY, Stored, True),
        (Role.CLIENT, State.READY, Stored, False),
        (Role.SERVER, State.READY, Push, False),
        (Role.SERVER, State.SUBSCRIBED, Push, True),
        (Role.CLIENT, State.CLOSED, Hello, False),
    ],
)
def test_who_may_send_what(role: Role, state: State, message: type[Message], expected: bool) -> None:
    assert may_send(role, state, message) is expected
