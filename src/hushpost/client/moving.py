"""The same server at another address: only its identity decides, and it has to prove it there first."""

from __future__ import annotations

import dataclasses

from hushpost.client.context import Context, known_me
from hushpost.client.joining import meet
from hushpost.client.store import Home, Me
from hushpost.crypto.identity import Authority, parse_link
from hushpost.errors import LinkError, UsageError


async def move(ctx: Context, link: str) -> Me:
    """Take the address of any link to our server, from an invitation or a person. Repeating it is harmless.

    Whoever sends a link could send us to a dead address with it, but to no other server.

    Raises:
        LinkError: no link, or one of another server.
        UsageError: the server is known by its host's name, which the link does not have.
        Unreachable, ServerUntrusted: our server is not there; nothing was changed.
    """
    pasted, me = parse_link(link), await ctx.db.reading(known_me)
    if pasted.server != me.home.pin:
        raise LinkError("this link is of another server", hint="join that one with another --profile")
    if pasted.server is Authority.CA and pasted.host != me.home.host:
        raise UsageError("this server is known by its name only: another name would be another server")
    moved = dataclasses.replace(me, home=Home(pasted.host, pasted.port, pasted.server))
    there, _ = await meet(ctx.db, moved, ctx.clock)
    await there.close()
    await ctx.change(lambda t: t.me.moved(moved.home))
    return moved
