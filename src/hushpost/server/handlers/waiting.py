"""Handlers that are coroutines."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, TypeVar

from hushpost.server.office import Office, Pending, Said
from hushpost.server.peer import Guest, Peer
from hushpost.wire.messages import RequestMessage

P = TypeVar("P", Guest, Peer)
R = TypeVar("R", bound=RequestMessage)
A = TypeVar("A", bound=Said)


def waiting(
    handler: Callable[[Office, P, R], Coroutine[Any, Any, A]],
) -> Callable[[Office, P, R], Pending[Any]]:
    """A handler of a coroutine: its answer is pending until the coroutine ends."""

    @wraps(handler)
    def begin(office: Office, party: P, request: R) -> Pending[Any]:
        return office.run(request.number, handler(office, party, request))

    return begin
