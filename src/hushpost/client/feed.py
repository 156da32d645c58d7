"""Events as an application gets them: in order, from where its handler stands, and on from there."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial

from hushpost.client import journal
from hushpost.client.context import Context
from hushpost.client.status import Phase
from hushpost.client.store import Tables
from hushpost.client.values import Event

PAGE = 100
"""Events that are read at once."""

Numbered = list[tuple[int, Event | None]]
"""With their numbers; None where what it was about is gone."""


async def feed(ctx: Context, handler: str, *, from_now: bool) -> AsyncGenerator[Event, None]:
    """See `Client.events`."""
    before, changed = ctx.status.now, ctx.status.next_change
    cursor, found = await ctx.db.transaction(partial(_begin, handler=handler, from_now=from_now))
    while True:
        for number, event in found:
            if event is not None:
                yield event
            cursor = number
            if number < found[-1][0]:
                await ctx.db.transaction(partial(advance, handler=handler, number=number))
        if found:
            before, changed = ctx.status.now, ctx.status.next_change
            found = await ctx.db.transaction(partial(_go_on, handler=handler, number=cursor))
            continue
        # What led there was told before: the state is older than what was read.
        if before.phase is Phase.STOPPED and before.reason is not None:
            raise before.reason
        await changed.wait()
        before, changed = ctx.status.now, ctx.status.next_change
        found = await ctx.db.reading(partial(events_after, number=cursor, limit=PAGE))


def events_after(t: Tables, number: int, limit: int) -> Numbered:
    """The oldest behind this one."""
    return [(stored.number, journal.read(t, stored)) for stored in t.events.after(number, limit)]


def advance(t: Tables, handler: str, number: int) -> None:
    """This handler is done with everything up to this event. It never goes back."""
    t.handlers.advance(handler, number)


def _begin(t: Tables, handler: str, *, from_now: bool) -> tuple[int, Numbered]:
    """Where this handler stands, and what is behind. It is made where there is none."""
    position = t.handlers.position(handler)
    if position is None:
        position = t.events.newest() if from_now else 0
        advance(t, handler, position)
    return position, events_after(t, position, PAGE)


def _go_on(t: Tables, handler: str, number: int) -> Numbered:
    advance(t, handler, number)
    return events_after(t, number, PAGE)
