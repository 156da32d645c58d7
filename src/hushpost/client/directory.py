"""Who is on the server, where it lets its members list each other. Normative text: docs/spec/wire.md, 101.

A name in there is a claim of the server, and a way to ask for somebody's keys; nothing of it is kept.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from hushpost.client.refusals import Denied
from hushpost.errors import ProtocolError, UsageError
from hushpost.ids import AccountId
from hushpost.names import check_name_part
from hushpost.wire.limits import MAX_DIRECTORY_PAGE
from hushpost.wire.messages import Accounts, ListAccounts

Ask = Callable[[ListAccounts], Awaitable[Accounts]]
"""Puts one question to the server."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One account of the directory."""

    account: AccountId
    name: str = field(repr=False)


async def listed(ask: Ask, prefix: str, after: str) -> AsyncIterator[list[Listed]]:
    """Page by page, those behind `after` whose names begin with `prefix`, by the bytes of their names.

    Raises:
        UsageError: no name is like that.
        Denied: the directory is closed.
        RetryLater: too many pages at once; those before are good.
        ProtocolError: the server lists what was not asked for, and might never come to an end.
    """
    for part in (prefix, after):
        _check_part(part)
    more = True
    while more:
        page = await _page(ask, prefix, after)
        names = [after, *(each.name for each in page.accounts)]
        in_order = all(a.encode() < b.encode() for a, b in itertools.pairwise(names))
        if not in_order or not all(name.startswith(prefix) for name in names[1:]):
            raise ProtocolError("the server's directory is not in order")
        if page.more and not page.accounts:
            raise ProtocolError("the server's directory does not end")
        yield [Listed(AccountId(each.account), each.name) for each in page.accounts]
        more, after = page.more, names[-1]


def _check_part(part: str) -> None:
    try:
        check_name_part(part)
    except ValueError as error:
        raise UsageError(f"nobody can be called so: {error}") from None


async def _page(ask: Ask, prefix: str, after: str) -> Accounts:
    try:
        return await ask(ListAccounts(0, prefix, after, MAX_DIRECTORY_PAGE))
    except Denied as denied:
        raise Denied(
            "this server's members cannot be listed", hint="ask people for their links, or exact names"
        ) from denied
